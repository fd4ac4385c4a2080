"""Whose data, not who asks: subjects or rows in; decisions on each of them out, one, or many in groups for each sink.

Only a subject's own pin speaks here: the caller's address and claims say nothing of somebody else. Each subject leaves
entries of their own, in a batch too, because a person who asks what was done with their data is answered from entries
that name them; and a decision is the same for all who are found alike, so it is made once and costs a look-up each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Token
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import anyio
import anyio.lowlevel

from residency.enforcement.acts import Act
from residency.enforcement.context import check_holder, enter, leave
from residency.enforcement.current import Current
from residency.errors import NotFound, Refused, Unavailable, UsageError
from residency.model import Anchor, Effect, Operation, Reason, SinkVerdict, SubjectId, Trust
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
_AT_ONCE: Final = 32  # pins asked for at the same time
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

    Raises: as that, NotFound where nobody has it, UsageError, UnknownStore, SinkUnavailable where the locator does not
    answer.
    """
    (owner,) = await here.point.stores.owners(_store_of(here, store), [row_of(row)])
    if owner is None:
        raise NotFound("no row of this key is known")
    return await _judge(here, Whose(owner), collected)


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
        raise other.refused(counted=True)
    note = other.noted(other.note or "about")
    point.recorder.decision(other.decision, other.alias, other.detail, other.basis, note)
    other.recorded()


def _store_of(here: Current, store: str | None) -> str:
    if store is not None:
        here._check_store(store)
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

    People in one group share sink, home and decision.

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
    owners = await here.point.stores.owners(name, [row_of(row) for row in rows]) if rows else ()
    for row, owner in zip(rows, owners, strict=True):
        if owner is None:
            unknown.append(row)
            continue
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
            sink = _routed(other, name)
        except Refused as error:
            refused += [(each, error) for each in asked[other.subject_digest or ""]]
            continue
        # The decision's identity: one that is the same for two people is the same object. It is held by them.
        groups.setdefault((sink, id(other.decision), _home(other)), []).append(other)
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
    left = iter(away)
    failed: list[Unavailable] = []

    async def fetch() -> None:
        for other in left:
            if failed:
                return
            try:
                point.remember(other, await point.homes.fetch(other.subject_digest))
            except Unavailable as error:
                failed.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(_AT_ONCE, len(away))):
            tasks.start_soon(fetch)
    if failed:
        raise failed[0]


def _routed(other: Current, store: str) -> str:
    """The sink that `other`'s acts on `store` go to. Raises: Refused, which is recorded."""
    verdict = other.store(store).route()
    if other.decision.mode != "observe" and verdict.effect is not Effect.PERMIT:
        reason = verdict.reason or Reason.INTERNAL
        rules = verdict.rules or other.decision.rules
        raise other.refuse(
            reason, f"sink {verdict.sink.name!r} may not take this data", sink=verdict.sink.name, rules=rules
        )
    return str(verdict.sink.name)


def _home(other: Current) -> str | None:
    return None if other.pin is None else other.pin.home


class Group(Current):
    """People whose data lies in one sink and who share a decision. Within `async with group:` it is what `current()`
    answers, and each act on its store is one act for every member: each leaves an intent and an outcome."""

    of_many = True
    __slots__ = ("_homes", "_tokens", "asked", "members", "sink")

    def __init__(self, sink: str, members: Sequence[Current], asked: dict[str, list[object]]) -> None:
        first = members[0]
        super().__init__(
            first.point, first.activity, first.params, None, (), frozenset(), {}, first.trail,
            requested=first.requested, collected=first.collected,
        )  # fmt: skip
        self.sink = sink
        self.members = tuple(members)
        self.asked = tuple(each for member in members for each in asked[member.subject_digest or ""])
        """What was asked about and lies here: subjects' ids, and rows as they were given."""
        self.decision, self.decided_at = first.decision, first.decided_at
        self.pin, self.note, self.readers = first.pin, first.note, first.readers
        self._homes = tuple(map(_home, members))
        self._tokens: list[Token[Current | None]] = []

    async def __aenter__(self) -> Group:
        check_holder()
        self._tokens.append(enter(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._tokens.pop())

    async def identify(self, *_: Any, **__: Any) -> None:
        """Raises: UsageError: a group is of several people."""
        raise UsageError("a group is of several people: identify() is for the one that a request is about")

    def changes(self, sink: str) -> bool:
        """Whether an act that changes data on `sink` is confirmed and has not told its outcome yet."""
        return any(member.changes(sink) for member in self.members)

    def begin(
        self,
        store: str,
        sink: str,
        *,
        operation: Operation | None = None,
        named: bool = False,
        fresh: SinkVerdict | None = None,
    ) -> Act:
        """Start one act for every member, each decided anew. Raises: as `Current.begin`, for the first of them that
        may not; then nothing was done, and the intents of those before end as `failed`."""
        acts: list[Act] = []
        try:
            for member, home in zip(self.members, self._homes, strict=True):
                act = member.begin(store, sink, operation=operation, named=named)
                acts.append(act)
                verdict = member.decision.sink(sink)
                # A home that they got here meanwhile, by the group's own first write, is this one.
                here = (home, None if verdict is None else verdict.sink.place)
                if _home(member) not in here and self.decision.mode != "observe":
                    message = "a subject was given another home at the same time; try again"
                    raise member.refuse(Reason.FACTS_MOVED, message, sink=sink, rules=())
        except BaseException:
            _each(acts, lambda act: act.outcome("failed"))
            raise
        return _Together(self, acts)


class _Together(Act):
    """One unit of work on one sink for several people: theirs are confirmed and told as one."""

    __slots__ = ("_acts",)

    def __init__(self, group: Group, acts: Sequence[Act]) -> None:
        last = acts[-1]  # once its intent is durable so are those before it
        super().__init__(group, last._seq, last.sink, last.operation, last.changes, last._verdict)
        self._acts = tuple(acts)

    def confirm_now(self) -> bool:
        """As `Act.confirm_now`, of all or of none."""
        try:
            return all(act.confirm_now() for act in self._acts)
        except BaseException:
            _each(self._acts, lambda act: act.outcome("failed"))
            raise

    async def confirm(self) -> None:
        """As `Act.confirm`, of all or of none."""
        try:
            for act in self._acts:
                await act.confirm()
        except BaseException:
            _each(self._acts, lambda act: act.outcome("failed"))
            raise

    def outcome(self, how: str) -> None:
        """As `Act.outcome`, of each."""
        for act in self._acts:
            act.outcome(how)

    def is_settled(self) -> bool:
        """As `Act.is_settled`, of all."""
        return all(act.is_settled() for act in self._acts)

    async def settled(self) -> None:
        """As `Act.settled`, of all."""
        for act in self._acts:
            await act.settled()


def _each(acts: Sequence[Act], tell: Callable[[Act], None]) -> None:
    # Where not even this can be written intents stay open, and the first error is the one to tell.
    with suppress(Unavailable):
        for act in acts:
            tell(act)
