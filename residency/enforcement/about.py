"""Whose data, not who asks: subjects or rows in; decisions on each of them out, one, or many in groups for each sink.

Only a subject's own pin speaks here: the caller's address and claims say nothing of somebody else. Each subject leaves
entries of their own, in a batch too, because a person who asks what was done with their data is answered from entries
that name them; and a decision is the same for all who are found alike, so it is made once and costs a look-up each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import anyio.lowlevel

from residency.enforcement.admission import check_store, follows
from residency.enforcement.current import Current
from residency.enforcement.groups import Group, home_of
from residency.enforcement.moving import FOLLOWED
from residency.enforcement.refusing import refuse, refuse_activity
from residency.errors import NotFound, RecordConflict, Refused, UsageError
from residency.model import Anchor, Effect, Reason, SubjectId, Trust
from residency.policy.parsed_reading import office_of

if TYPE_CHECKING:
    from residency.enforcement.point import EnforcementPoint

__all__ = [
    "Group", "Many", "Whose", "judge_many", "judge_row", "judge_subject", "key_text", "row_of",
    "whereabouts",
]  # fmt: skip

_UNKNOWN: Final = "ZZ"  # ISO 3166 leaves it to users; here: a place that nobody knows
_NO_KEY: Final = "a row's key is of text, whole numbers and UUIDs; of several columns, a mapping of their names"
# Databases without a type for UUIDs hold them as text, in one of these forms.
_UUID: Final = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BREATH: Final = 200  # people judged before other requests have their turn


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose data it is: the keyed digest (hex) of the subject's id, and the id where it is known."""

    digest: str
    subject: SubjectId | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """What became of many subjects or rows. What was asked about stands in the order in which it was asked.

    `refused` = (what was asked about, the refusal, which is recorded); `unknown` are rows that nobody has.
    """

    groups: tuple[Group, ...]
    refused: tuple[tuple[object, Refused], ...] = ()
    unknown: tuple[object, ...] = ()


# -- one -------------------------------------------------------------------------------------------------------


async def judge_subject(here: Current, subject: SubjectId, collected: int | None = None) -> Current:
    """A Current for another subject under the activity of `here`, judged by that subject's pin alone; `collected` in
    microseconds.

    Raises: Refused where the decision forbids it, PinsUnavailable, FactsUnavailable, JournalFull, JournalFailed.
    """
    return await _judge(here, Whose(here.point.digest(subject), subject), collected)


async def judge_row(here: Current, row: object, store: str | None = None, collected: int | None = None) -> Current:
    """As `judge_subject`, of whoever's `row` of `store` is: (record, key), or an instance of a mapped class.

    Where people in two countries have rows of one key it is that of the person whom `here` is about, or who asks.

    Raises: as that, NotFound where nobody has it, RecordConflict where two other people do, UsageError, UnknownStore,
    SinkUnavailable where the locator does not answer.
    """
    name = _store_of(here, store)
    (owners,) = await here.point.stores.claimants(name, [row_of(row)])
    if not owners:
        raise NotFound("no row of this key is known")
    # A key may be of one person's row in one country and of another's in the next. Whoever asks for their own finds it.
    own = [each for each in owners if each == here.subject_digest] or [each for each in owners if each == here.who]
    if len(own or owners) > 1:
        raise RecordConflict(
            f"a key of store {name!r} is of rows of two people in two places: about_many() answers both"
        )
    return await _judge(here, Whose((own or owners)[0]), collected)


async def _judge(here: Current, whose: Whose, collected: int | None) -> Current:
    other = _other(here, whose, collected)
    point = here.point
    point.remember(other, await point.homes.fetch(whose.digest))
    await _decide(point, other)
    return other


def row_of(row: object) -> tuple[str, str]:
    """(record, text of its key) of (record, key) or of a stored instance of a mapped class; a key of several columns is
    a mapping of their names. Raises: UsageError."""
    if isinstance(row, tuple) and len(row) == 2 and isinstance(row[0], str):
        return row[0], key_text(row[1])
    mapper: Any = getattr(type(row), "__mapper__", None)
    if mapper is None:
        raise UsageError("a row is (record, key) or an instance of a mapped class")
    # Asked of the instance's state: its attributes may have to be read from the database first.
    identity = getattr(getattr(row, "_sa_instance_state", None), "identity", None)
    if identity is None:
        raise UsageError("an instance that is not stored yet has no owner to look for")
    # Of joined tables the first is the one that says whose a row is.
    mapper = mapper if mapper.concrete else mapper.base_mapper
    names = [column.name for column in mapper.primary_key]
    return str(mapper.local_table.name), key_text(dict(zip(names, identity, strict=True)))


def key_text(key: object) -> str:
    """The text of a record's key, the same whether it came from a column, from a path or from another database.

    Raises: UsageError for a key that is not of text, whole numbers and UUIDs.
    """
    values = [key[name] for name in sorted(key)] if isinstance(key, Mapping) else [key]
    return json.dumps([_text(value) for value in values], ensure_ascii=False, separators=(",", ":"))


def _text(value: object) -> str:
    match value:
        case str():
            return str(UUID(value)) if _UUID.fullmatch(value) is not None else value
        case bool():
            raise UsageError(_NO_KEY)
        case int() | UUID():
            return str(value)
        case _:
            raise UsageError(_NO_KEY)


def whereabouts(here: Current) -> tuple[str, ...]:
    """The places that data of somebody else than the caller of `here` goes to by being read under it."""
    client = here.client
    if client is None:  # itself about somebody else, and it knows
        return here.readers
    point = here.point
    assumed = point.policy.deployment.assume
    if assumed is not None:
        return (*point.readers, assumed)
    office = office_of(point.policy.deployment.offices, client.address)
    if office is not None and not client.strategy.startswith("unsafe_"):
        return (*point.readers, office)
    told = [s for s in point.perception.network.signals_of(client) if s.anchor is Anchor.TERRITORY]
    best = max(told, key=lambda signal: signal.trust, default=None)
    return (*point.readers, _UNKNOWN if best is None or best.trust is Trust.HINT else best.place)


def _other(here: Current, whose: Whose, collected: int | None) -> Current:
    account = None if whose.subject is None else whose.subject.value
    other = Current(
        here.point, here.activity, here.params, whose.subject, (), frozenset(), {**here.detail, "account": account},
        here.trail, requested=here.requested, collected=collected, digest=whose.digest,
    )  # fmt: skip
    other.readers = whereabouts(here)
    return other


async def _decide(point: EnforcementPoint, other: Current) -> None:
    """Decide `other` by the pin that it has, record and count it. Raises: as `judge_subject`."""
    point.decide(other)
    await point.begin(other)
    point.metrics.decided(other.decision)
    if other.forbidden is not None:
        raise refuse_activity(other, counted=True)
    note = other.noted(other.note or "about")
    point.recorder.decision(other.decision, other.alias, other.detail, other.basis, note)
    other.recorded()


def _store_of(here: Current, store: str | None) -> str:
    if store is not None:
        check_store(here, store)
        return store
    if here.activity.store is None:
        raise UsageError(f"activity {here.activity.name!r} uses no store or several: say which, as store=…")
    return here.activity.store


# -- many ------------------------------------------------------------------------------------------------------


async def judge_many(
    here: Current,
    subjects: Sequence[SubjectId] = (),
    rows: Sequence[object] = (),
    store: str | None = None,
    collected: int | None = None,
) -> Many:
    """Judge every subject and every row's subject, and group them by the sink of `store` that their acts use.

    People in one group share sink, home and decision. A row whose key two people have in two places is asked of both.

    Raises: as `judge_subject`, but that who is refused is told and not raised; as `judge_row`, but that what is unknown
    is told.
    """
    name = _store_of(here, store)
    asked: dict[str, list[object]] = {}
    known: dict[str, Whose] = {}
    for subject in subjects:
        digest = here.point.digest(subject)
        known[digest] = Whose(digest, subject)
        asked.setdefault(digest, []).append(subject.value)
    unknown = []
    found = await here.point.stores.claimants(name, [row_of(row) for row in rows]) if rows else ()
    for row, owners in zip(rows, found, strict=True):
        if not owners:
            unknown.append(row)
        for owner in owners:  # each is decided apart and reads at home: no row is taken for another's
            known.setdefault(owner, Whose(owner))
            asked.setdefault(owner, []).append(row)
    others = [_other(here, whose, collected) for whose in known.values()]
    await _fetch_pins(here.point, others)
    refused: list[tuple[object, Refused]] = []
    groups: dict[tuple[str, int, str | None], list[Current]] = {}
    for number, other in enumerate(others):
        if number % _BREATH == _BREATH - 1:
            await anyio.lowlevel.checkpoint()
        try:
            await _decide(here.point, other)
            await other.store(name).learn()
            sink = _routed(other, name)
        except Refused as error:
            refused += [(each, error) for each in asked[other.subject_digest or ""]]
            continue
        # The decision's identity: one that is the same for two people is the same object. It is held by them.
        groups.setdefault((sink, id(other.decision), home_of(other)), []).append(other)
    made = (Group(sink, members, asked) for (sink, _, _), members in groups.items())
    return Many(tuple(made), tuple(refused), tuple(unknown))


async def _fetch_pins(point: EnforcementPoint, others: Sequence[Current]) -> None:
    """Take in the pins of all; those that are not held here are asked for at the same time. Raises: PinsUnavailable."""
    away = []
    for other in others:
        pin, known = point.homes.peek(other.subject_digest or "")
        if known:
            point.remember(other, pin)
        else:
            away.append(other)
    if away:
        pins = await point.homes.fetch_all([other.subject_digest for other in away])
        for other, pin in zip(away, pins, strict=True):
            point.remember(other, pin)


def _routed(other: Current, store: str) -> str:
    """The sink that `other`'s acts on `store` go to. Raises: Refused, which is recorded."""
    verdict = other.store(store).route()
    # Who is being moved is read where their data still lies, in a batch as alone.
    lies_there = verdict.reason in FOLLOWED and follows(other, verdict, other.operation)
    if other.decision.mode != "observe" and verdict.effect is not Effect.PERMIT and not lies_there:
        reason = verdict.reason or Reason.INTERNAL
        rules = verdict.rules or other.decision.rules
        raise refuse(
            other, reason, f"sink {verdict.sink.name!r} may not take this data", sink=verdict.sink.name, rules=rules
        )
    return str(verdict.sink.name)
