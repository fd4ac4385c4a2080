"""What a route does, what storage it uses, and who operates it: the static half of every decision."""

from __future__ import annotations

from collections.abc import Callable
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
    encoded slashes as they come (an explicit choice, off by default). `actions` are what laws gate by name, such as
    `livestream`; `fields` and `media` what a request carries. `since` (microseconds) is when the system behind it was
    put into use, None = not said. `stores` are those it uses, in the order of the file.
    """

    name: str
    method: str
    path: str
    subject: SubjectSource
    data: frozenset[str]
    operation: Operation
    purpose: str | None = None
    basis: str | None = None
    stores: tuple[str, ...] = ()
    ai: tuple[tuple[str, str], ...] = ()
    raw_paths: bool = False
    actions: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    media: frozenset[str] = frozenset()
    since: int | None = None

    @property
    def store(self) -> str | None:
        """The one store that it uses; None where it uses none or several."""
        return self.stores[0] if len(self.stores) == 1 else None

    @property
    def tokens(self) -> frozenset[str]:
        """What the activity itself proves to clauses: its basis, and what is on record of its AI system."""
        found = {f"basis:{self.basis}"} if self.basis is not None else set()
        for key, value in self.ai:
            if value not in ("false", "no", "none"):
                found |= {f"ai:{key}", f"ai:{key}.{value}"}
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs the API: where established, in which roles, on which service lines and in which sectors.

    `size` is `micro`, `small`, `medium` or `large`, None = not said; `critical` = an operator of critical
    infrastructure.
    """

    established_in: frozenset[str]
    roles: frozenset[str] = frozenset()
    service_lines: frozenset[str] = frozenset()
    public_body: bool = False
    sectors: frozenset[str] = frozenset()
    size: str | None = None
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Sink:
    """One physical backend, as the decision sees it: name, place of its region, country of provider and of keys.

    `encrypted` is at rest, `in_transit` on the way there. `scope` says which copy it is: `primary`, `replica`,
    `backup`, `log`, `index` or `cache`. `certified` are levels that somebody attested.

    The URL is not here: it is a secret of the rim.
    """

    name: str
    region: str
    place: str
    provider: str
    keys: str
    encrypted: bool
    in_transit: bool = True
    scope: str = "primary"
    certified: frozenset[str] = frozenset()

    @property
    def tokens(self) -> frozenset[str]:
        """What the sink itself proves to clauses, as `sink:encrypted` or `sink:keys.VN`."""
        found = {f"sink:scope.{self.scope}", f"sink:provider.{self.provider}", f"sink:keys.{self.keys}"}
        found |= {f"sink:place.{self.place}", f"sink:place.{self.place[:2]}"}
        found |= {f"sink:certified.{level}" for level in self.certified}
        found |= {word for word, holds in _PROTECTED if holds(self)}
        return frozenset(found)


_PROTECTED: tuple[tuple[str, Callable[[Sink], bool]], ...] = (
    ("sink:encrypted", lambda sink: sink.encrypted),
    ("sink:in_transit", lambda sink: sink.in_transit),
)
