"""Data residency for Python ASGI APIs."""

__version__ = "0.1.0"
