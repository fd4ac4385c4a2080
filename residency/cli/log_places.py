"""Where a log lies, as a command was told (a folder, file://, s3://, https://), in; readers of its files and of the
archive beside it out."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import typer

from residency.audit.archived import check_archived, is_archived
from residency.cli.log_folder import Read, reader, verifier_key_at
from residency.errors import UsageError

__all__ = ["archive_of", "around", "folder_of", "is_url", "name_of", "reader_of", "verifier_key_at"]

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.DOTALL)


def is_url(place: str) -> bool:
    """Whether `place` is a URL, and not a folder."""
    return _URL.fullmatch(place) is not None


def folder_of(place: str) -> Path | None:
    """The folder that `place` names, None where it lies over a network."""
    url = _URL.fullmatch(place)
    if url is None:
        return Path(place)
    return Path(url[2]) if url[1] == "file" else None


def name_of(place: str) -> str:
    """What `place` is called in a document that goes to others: a folder's own name, a URL without credentials."""
    folder = folder_of(place)
    if folder is not None:
        return folder.name
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def around(place: str) -> Path | None:
    """The folder that policies/ and facts/ lie in by default: the one above the log, or, where policies/ lie in the
    log's own folder alone, as in a mirror, that. None where the log lies over a network."""
    folder = folder_of(place)
    if folder is None:
        return None
    above = folder.absolute().parent
    return folder if (folder / "policies").is_dir() and not (above / "policies").is_dir() else above


def archive_of(place: str, given: Path | None, hint: str) -> Read:
    """A reader of the archive in the folder `given`, or of the one beside the log; over a network that lies with the
    log, and each file is what its digest names. Raises: BadParameter, naming `hint`."""
    folder = given if given is not None else around(place)
    if folder is not None:
        return reader(folder, hint)
    read = reader_of(place)

    def checked(path: str) -> bytes | None:
        data = read(path)
        if data is not None and is_archived(path):
            check_archived(path, data)
        return data

    return checked


def reader_of(place: str, hint: str = "DIR|URL") -> Read:
    """A reader of the log at `place`; one over a network fetches ahead, and keeps what it has in bounds.

    What it raises where the place cannot be reached is `Unavailable`: nothing is said of the log then.

    Raises: BadParameter, naming `hint`, where nothing can be read from such a place.
    """
    folder = folder_of(place)
    if folder is not None:
        return reader(folder, hint)
    from residency.adapters.read_ahead import ReadAhead

    try:
        return ReadAhead(_remote(urlsplit(place).scheme, place))
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
