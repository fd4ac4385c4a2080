"""What a deployment says of where data rests, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from residency.model.activity import Sink
from residency.model.place import Region
from residency.policy.parsed_signals import Secret

__all__ = ["CopiesDoc", "HandOverDoc", "LocationDoc", "MemberDoc", "RecordDoc", "SinkDoc"]


@dataclass(frozen=True, slots=True)
class MemberDoc:
    """A further way to a sink's data: where its bytes rest, and the secret that connects to it."""

    region: Region
    url: Secret


@dataclass(frozen=True, slots=True)
class SinkDoc:
    """A sink as the decision sees it, the secret that connects to it, and its further members in order.

    `allow_private` says whether a service's name may have addresses that the internet does not route; None = not said.
    """

    sink: Sink
    url: Secret
    members: tuple[MemberDoc, ...] = ()
    allow_private: bool | None = None


@dataclass(frozen=True, slots=True)
class RecordDoc:
    """How one table of a store, or one pattern of its objects or keys, tells whose they are.

    `name` is the table, or a pattern such as `users/{subject}/`. `subject` is the column with the subject's id; `via`
    = (column, table whose key it holds), where the subject is that row's; both None = the pattern tells, or nobody's.
    `data` are categories; `times` the columns of the events (`created` ...) that retention counts from.
    """

    name: str
    subject: str | None
    via: tuple[str, str] | None
    data: frozenset[str]
    times: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CopiesDoc:
    """The sinks of a store that get copies after the write at home; `withdraw` = one that may no more be there goes."""

    to: tuple[str, ...]
    withdraw: bool = False


@dataclass(frozen=True, slots=True)
class HandOverDoc:
    """The instance that serves the people of a place: its URL, and whether requests are `redirect`ed or `proxy`ed."""

    url: str
    how: str = "redirect"


@dataclass(frozen=True, slots=True)
class LocationDoc:
    """How often (microseconds) it is looked whether sinks are where they say; `drift` is `warn` or `refuse`."""

    every: int = 300_000_000
    drift: str = "warn"
