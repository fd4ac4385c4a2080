"""`residency audit page`: a proof or receipt in, or nothing; one HTML file that checks it in a browser, out.

`verify.html` beside this module is the whole page: no server, no other file, nothing fetched (its own content security
policy forbids it). A document goes into it as data, never as markup.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer

from residency.cli.audit.written import write_out
from residency.errors import VerificationError

__all__ = ["document_in", "page", "page_with"]

_OPEN: Final = '<script type="application/json" id="document">'
_CLOSE: Final = "</script>"
_MARKUP: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})  # the same text, as JSON reads it


def page(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: standard output.")] = None,
) -> None:
    """Write the page that checks proofs and receipts in a browser: one file, no server, nothing is sent.

    Keep a copy of your own: a page that comes from the party you check can say anything.
    Exit 0 = written, 2 = wrong use.

    Example: residency audit page --out verify.html
    """
    write_out(page_with(None), out)


def page_with(document: str | None) -> str:
    """The page, carrying a proof or receipt (JSON text), or none."""
    empty = _OPEN + _CLOSE
    html = files(__package__).joinpath("verify.html").read_text(encoding="utf-8")
    return html if document is None else html.replace(empty, _OPEN + document.translate(_MARKUP) + _CLOSE, 1)


def document_in(data: bytes) -> bytes:
    """The document that a page carries; other bytes as they are. Raises: VerificationError where it carries none."""
    if not data[:64].lstrip().lower().startswith(b"<!doctype html"):
        return data
    _, found, rest = data.partition(_OPEN.encode())
    document, closed, _ = rest.partition(_CLOSE.encode())
    if not found or not closed or not document.strip():
        raise VerificationError("the page carries no proof or receipt")
    return document
