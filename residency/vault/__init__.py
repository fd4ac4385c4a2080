"""Sealing and stand-ins: bytes in, bytes out; keys and nonces come in as values."""
