"""Where a log lies, as a command was told (a folder, file://, s3://, https://), in; a reader of its files out."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from residency.cli.log_folder import Read, reader, verifier_key_at
from residency.errors import Unavailable, UsageError, VerificationError

__all__ = ["is_url", "reader_of", "verifier_key_at"]

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.DOTALL)


def is_url(place: str) -> bool:
    """Whether `place` is a URL, and not a folder."""
    return _URL.fullmatch(place) is not None


def reader_of(place: str, hint: str = "DIR|URL") -> Read:
    """A reader of the log at `place`; one over a network fetches ahead, and keeps what it has in bounds.

    Raises: BadParameter, naming `hint`, where nothing can be read from such a place.
    """
    url = _URL.fullmatch(place)
    if url is None:
        return reader(Path(place), hint)
    if url[1] == "file":
        return reader(Path(url[2]), hint)
    from residency.adapters.read_ahead import ReadAhead

    try:
        return ReadAhead(_told(_remote(url[1], place)))
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None


def _remote(scheme: str, place: str) -> Read:
    """Raises: UsageError."""
    if scheme == "s3":
        from residency.adapters.log_objects import LogObjects

        return LogObjects(place).read
    if scheme in ("http", "https"):
        from residency.adapters.log_web import LogWeb

        return LogWeb(place).read
    raise UsageError("expected a folder, s3://BUCKET/PREFIX, https://HOST/PATH or file:///PATH")


def _told(read: Read) -> Read:
    """A place that cannot be read does not hold: what is not seen is not verified."""

    def told(path: str) -> bytes | None:
        try:
            return read(path)
        except Unavailable as error:
            raise VerificationError(str(error)) from None

    return told
