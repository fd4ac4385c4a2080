"""Whose data it is: SubjectId, Pin, and the caller. An id never prints itself."""

from __future__ import annotations

from dataclasses import dataclass

from residency.model.finding import Anchor, Trust

__all__ = ["Pin", "SubjectId"]


@dataclass(frozen=True, slots=True, repr=False)
class SubjectId:
    """The app's own id of a person or organisation, kept out of every message, label and entry."""

    value: str

    def __post_init__(self) -> None:
        if not self.value or len(self.value) > 512:
            raise ValueError("a subject id has 1 to 512 characters")

    def __repr__(self) -> str:
        return "SubjectId(…)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Pin:
    """A subject's remembered home.

    `subject` is a keyed digest (hex), never the id. `home` is the sink region's place where the subject's data lies.
    `anchors` remembers which places covered the subject and how far that was trusted; a hint there is a place under
    whose law something was written, which covers since and excludes nobody (ADR 0026). `alias` is random (hex) and
    stands for the subject in the log; destroying it unlinks. `version` counts from 1 and never goes backwards.
    `at` is in microseconds since the epoch, UTC. `moving` is the place where the data still lies while it is moved to
    `home`; None = it lies at home.
    """

    subject: str
    home: str
    anchors: tuple[tuple[Anchor, str, Trust], ...]
    alias: str
    set_by: str
    policy: str
    at: int
    version: int = 1
    moving: str | None = None
