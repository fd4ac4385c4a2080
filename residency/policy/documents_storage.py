"""The shape of what a deployment says of where data rests, for pydantic: plain values in, checked models out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from residency.policy.documents_signals import Strict
from residency.policy.words import BARE_TO, BARE_URL, ONE_OR_MANY, Categories, Place, Plain, Scope, Wait, Word, Words

__all__ = [
    "Copies",
    "CopiesFile",
    "HandOver",
    "HandOvers",
    "Location",
    "Locators",
    "Member",
    "Offices",
    "RecordFile",
    "Records",
    "SinkFile",
]


class Member(Strict):
    """A further way to the same data, which the backend keeps the same: tried when those before do not answer."""

    region: Plain
    url: Plain


class SinkFile(Strict):
    """One physical backend."""

    region: Plain
    provider: Place
    keys: Place
    encrypted: bool
    in_transit: bool = True
    scope: Scope = "primary"
    certified: list[Word] = Field(default_factory=list)
    url: Plain
    members: list[Member] = Field(default_factory=list)
    allow_private: bool | None = None


class RecordFile(Strict):
    """How the rows of one table, or the objects and keys of one pattern, tell whose they are and what they hold.

    `subject` is the column with the subject's id; `via` names a column and the table whose key it holds, where the
    subject is that row's. `times` names the columns of the events that retention counts from.
    """

    subject: Plain | None = None
    via: dict[Plain, Plain] = Field(default_factory=dict, max_length=1)
    data: Categories
    times: dict[Word, Plain] = Field(default_factory=dict)


class HandOver(Strict):
    """The instance that serves a place's people where this one may not; a bare word is its URL."""

    url: Plain
    how: Literal["redirect", "proxy"] = "redirect"


class CopiesFile(Strict):
    """The sinks that get copies of a store's records; a bare word or list is these. `withdraw`: copies that may no more
    be there are deleted."""

    to: Words
    withdraw: bool = False


class Location(Strict):
    """How often it is looked whether sinks are where they say, and what becomes of one that is not."""

    every: Wait = "5 min"
    drift: Literal["warn", "refuse"] = "warn"


Locators = dict[Place, Plain]
Offices = dict[Place, Annotated[list[Plain], *ONE_OR_MANY, Field(min_length=1)]]
Copies = dict[Plain, Annotated[CopiesFile, BARE_TO]]
Records = dict[Plain, dict[Plain, RecordFile]]
HandOvers = dict[Place, Annotated[HandOver, BARE_URL]]
