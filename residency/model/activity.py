"""What a route does, what storage it uses, and who operates it: the static half of every decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Activity", "Operation", "Operator", "Sink", "SubjectSource"]


class Operation(StrEnum):
    """What an activity does with data."""

    READ = "read"
    WRITE = "write"
    PROCESS = "process"
    ERASE = "erase"
    POST = "post"


@dataclass(frozen=True, slots=True)
class SubjectSource:
    """Where an activity's subject comes from: kind `jwt`, `path`, `header`, `user`, `app` or `none`, and a name."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Activity:
    """One classified route. `method` is upper-case, "WS" for WebSocket or "ANY"; `path` is the route's template.

    `data` holds categories as written in the file; `raw_paths` = the activity takes dot segments, doubles and
    encoded slashes as they come (an explicit choice, off by default).
    """

    name: str
    method: str
    path: str
    subject: SubjectSource
    data: frozenset[str]
    operation: Operation
    purpose: str | None = None
    basis: str | None = None
    store: str | None = None
    ai: tuple[tuple[str, str], ...] = ()
    raw_paths: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs the API: where established, in which roles, on which service lines (LAW.md section 11.6)."""

    established_in: frozenset[str]
    roles: frozenset[str] = frozenset()
    service_lines: frozenset[str] = frozenset()
    public_body: bool = False


@dataclass(frozen=True, slots=True)
class Sink:
    """One physical backend, as the decision sees it: name, place of its region, country of provider and of keys.

    The URL is not here: it is a secret of the rim.
    """

    name: str
    region: str
    place: str
    provider: str
    keys: str
    encrypted: bool
