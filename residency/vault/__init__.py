"""Sealing and digests of subjects: bytes and keys in, bytes out."""
