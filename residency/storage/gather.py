"""A list over several sinks: each sink's own rows in order in; one page in that order, and where the next begins, out.

    here -> a Listing per sink (decided apart) -> rows after that sink's own place (at once) -> merged -> Page, cursor

A list is about everybody whose data lies in a sink, so each sink is judged as they would be: as people of the sink's
own place. Each row is judged once more, for whose it is (`judged`). What may not be read and what does not answer is
missing, what may not be told of somebody is left out, and the page says so. A cursor keeps a place in
each sink, not one in the merged list: where two databases sort a letter differently, rows may interleave otherwise and
none is lost or told twice. It is sealed, for sort keys are names, and opens for who got it and for the same list alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, overload
from uuid import UUID
from weakref import WeakKeyDictionary

import anyio

from residency.enforcement.about import whereabouts
from residency.enforcement.admission import CHANGES
from residency.enforcement.context import enter, leave
from residency.enforcement.current import Current
from residency.enforcement.point import EnforcementPoint
from residency.enforcement.refusing import refuse
from residency.errors import CallerError, Refused, ResidencyError, SealError, SinkUnavailable, SubjectMoving, UsageError
from residency.model import Anchor, Reason, Signal, Sink, Trust
from residency.storage.handle import StoreHandle
from residency.storage.judged import Found, Lying
from residency.storage.listed import SortKey, Told, Wanted, Withheld
from residency.storage.under_way import is_under_way
from residency.vault.seal import Sealer, unseal

__all__ = ["Fetch", "Gathering", "Listing", "Page"]

T = TypeVar("T")
_LIMIT: Final = 10_000
_CURSOR_LIMIT: Final = 16_384  # characters; longer ones are nobody's of ours
_KEY: Final = "\0residency: the key that cursors are sealed with"
_SOURCE: Final = "sink"
_TURNS: Final = 16  # how often a sink is asked on for one page, for twice as many rows each time
_format: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ANCHORS: Final = (Anchor.TERRITORY, Anchor.RESIDENCE, Anchor.COLLECTION)


# To derive a sealer's key costs more than all it then seals, so each point keeps one; threads may share the point.
_sealers: WeakKeyDictionary[EnforcementPoint, Sealer] = WeakKeyDictionary()
_sealing: Final = threading.Lock()

Fetch = Callable[["Listing", tuple[Any, ...] | None, int], Awaitable[Sequence[Found]]]
"""Reads from a listing's sink, in order, so many rows that come after those values (None = from the first on)."""


@dataclass(frozen=True, slots=True)
class Page(Sequence[T], Generic[T]):
    """Some rows in order. `cursor` asks for those behind them, None = the sinks that answered have none; `missing` are
    sinks whose rows are not among them, each with the reason's code. A sink that answers again by a later page tells
    its rows there, wherever they would have stood. `repeats` = some rows may be told twice: they may lie in two sinks
    now, and the list does not tell whose they are. `withheld` = how many rows that belong here were left out, by the
    reason's code: their subjects' law does not let them be read there, or by who asks.
    """

    items: tuple[T, ...]
    cursor: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    repeats: bool = False
    withheld: Mapping[str, int] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether rows may be missing that belong here."""
        return bool(self.missing or self.withheld)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]


class Listing(Current):
    """What is decided of reading one sink's rows, whosever they are: as of people of that sink's place."""

    of_many = True
    __slots__ = ("place", "sink")

    def __init__(self, here: Current, sink: Sink) -> None:
        signals = _signals_of(sink.place)
        super().__init__(
            here.point, here.activity, here.params, None, signals, frozenset(), dict(here.detail), here.trail,
            requested=here.requested,
        )  # fmt: skip
        self.sink = sink.name
        self.place = sink.place
        self.readers = whereabouts(here)
        here.point.decide(self)
        here.point.metrics.decided(self.decision)


@lru_cache(maxsize=1024)  # the same tuple each time, by which its finding is known too
def _signals_of(place: str) -> tuple[Signal, ...]:
    return tuple(Signal(anchor, place, Trust.DECLARED, _SOURCE) for anchor in _ANCHORS)


class Gathering:
    """Lists over one store under one request's decision."""

    __slots__ = ("_here", "_later", "_listings", "store", "wait")

    def __init__(self, here: Current, store: str, *, wait: float | None = 10.0, moved: bool = False) -> None:
        """`wait` = seconds for each sink, None = as long as it takes; `moved` = people were moved between its sinks.

        Raises: UsageError where the activity is not declared to read, UnknownStore.
        """
        if here.operation in CHANGES:
            raise UsageError(f"a list is read, and activity {here.activity.name!r} is declared `{here.operation}`")
        handle = here.store(store)
        if not isinstance(handle, StoreHandle):
            raise UsageError(f"store {store!r} has no sinks that could be listed")
        self._here = here
        self.store = store
        self.wait = wait
        # Observing, the app's data stays where it was until it is moved, and other sinks may be empty or not even made.
        order = handle.order[:1] if here.decision.mode == "observe" and not moved else handle.order
        self._later = handle.order[len(order) :]
        sinks = {verdict.sink.name: verdict.sink for verdict in here.decision.sinks}
        self._listings = tuple(Listing(here, sinks[name]) for name in order if name in sinks)

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks that are asked, in the deployment's order."""
        return tuple(listing.sink for listing in self._listings)

    @property
    def here(self) -> Current:
        """Whose list it is."""
        return self._here

    async def may_repeat(self) -> bool:
        """Whether a row may lie in two of the sinks now: copies are kept of the store, or somebody is being moved.

        Raises: PinsUnavailable.
        """
        if len(self._listings) < 2:
            return False
        point = self._here.point
        return self.store in point.policy.deployment.copies or await is_under_way(point.homes, point.perception.digest)

    async def page(
        self,
        fetch: Fetch,
        order: Sequence[SortKey],
        about: str,
        *,
        limit: int,
        cursor: str | None = None,
        judged: bool = False,
        whose: bool = False,
        twice: bool = False,
    ) -> Page[Any]:
        """The next `limit` rows (at most 10,000) after `cursor` (None = the first). `about` tells this list from any
        other; a cursor of another is refused. `judged` = the rows are people's, and each is told if its subject's law
        lets it; `whose` = `fetch` tells whose each is; `twice` = one may lie in two sinks.

        Raises: UsageError, CallerError for a cursor that is not of this list, Unavailable where nothing can be
        recorded or no pins or facts be had; where no sink at all may be read or answers, the first one's Refused or
        SinkUnavailable.
        """
        if not 0 < limit <= _LIMIT:
            raise UsageError(f"a page has 1 to {_LIMIT} rows")
        at = _Place() if cursor is None else self._open(cursor, about)
        by_name = {listing.sink: listing for listing in self._listings}
        places = {listing.sink: listing.place for listing in self._listings}
        lies = (judged and self._here.decision.mode != "observe") or (whose and twice)
        lying = Lying(self._here, places, judged=judged, twice=whose and twice) if lies else None
        told = Told(order, limit, lying, floors=at.floors)
        failed: dict[str, ResidencyError] = {}
        wanted = {name: Wanted(at.after.get(name), limit + 1) for name in by_name if name not in at.ended}
        trail = self._here.trail
        before = trail.refusal
        for _ in range(_TURNS):
            with trail:
                await self._ask(fetch, {by_name[name]: each for name, each in wanted.items()}, told, failed)
                if failed and not told.rows:
                    raise next(iter(failed.values()))
                await told.look()
            try:
                wanted = told.short(at.after)
            except TypeError:
                raise _unsorted() from None
            if not wanted:
                break
        try:
            taken, passed, ended, more = told.page(self.sinks, at.after)
        except TypeError:
            raise _unsorted() from None
        # What does not answer is asked again with each page, but nobody who pages to the end waits for it for ever.
        # Who is moved by the next page to a sink that was not asked yet is not told again.
        floors = {**told.floors, **(dict.fromkeys(self._later, taken[-1].key) if taken else {})}
        following = self._seal(_Place({**at.after, **passed}, at.ended | ended, floors), about) if more else None
        missing = {name: _why(error) for name, error in failed.items()}
        withheld = _withheld(told.withheld.values())
        trail.refusal = before  # what does not answer, or may not be read, the page tells; the request goes on
        return Page(tuple(found.item for found in taken), following, missing, twice and not whose, withheld)

    async def _ask(
        self, fetch: Fetch, asked: Mapping[Listing, Wanted], told: Told, failed: dict[str, ResidencyError]
    ) -> None:
        """Read what is wanted of these sinks, at once."""
        if not asked:
            return
        broken: list[Exception] = []
        waiting = set(asked)

        async def ask(listing: Listing, wanted: Wanted) -> None:
            token = enter(listing)
            try:
                told.take(listing.sink, wanted, await fetch(listing, wanted.after, wanted.size))
            except (Refused, SinkUnavailable, SubjectMoving) as error:
                failed[listing.sink] = error
            except TimeoutError:  # of its driver's own
                failed[listing.sink] = _silent(listing)
            except Exception as error:  # noqa: BLE001 - raised below as it is, not in a group
                broken.append(error)
            finally:
                leave(token)
            waiting.remove(listing)

        # All begin at once, so that one deadline is each one's; the last is asked by this task itself.
        *others, last = asked.items()
        with anyio.move_on_after(self.wait):
            if others:
                async with anyio.create_task_group() as tasks:
                    for each in others:
                        tasks.start_soon(ask, *each)
                    await ask(*last)
            else:
                await ask(*last)
        if broken:
            raise broken[0]
        for listing in waiting:
            failed[listing.sink] = _silent(listing)
        for sink in failed:
            told.drop(sink)

    # -- cursors -----------------------------------------------------------------------------------------------

    def _seal(self, place: _Place, about: str) -> str:
        point = self._here.point
        after, floors = (
            {name: [_plain(value) for value in key] for name, key in keys.items()}
            for keys in (place.after, place.floors)
        )
        text = _format([after, sorted(place.ended), floors])
        context = self._context(about)
        with _sealing:
            sealer = _sealers.get(point)
            if sealer is None:
                homes = point.homes
                sealer = Sealer(self._key(), lambda size: bytes.fromhex(homes.new_alias())[:size])
                _sealers[point] = sealer
            sealed = sealer.seal(text.encode(), context)
        cursor = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        if len(cursor) > _CURSOR_LIMIT:
            raise UsageError(
                f"a cursor would be longer than {_CURSOR_LIMIT:,} characters: sort by something shorter, such as the "
                "first letters of a text"
            )
        return cursor

    def _open(self, cursor: str, about: str) -> _Place:
        try:
            if len(cursor) > _CURSOR_LIMIT:
                raise ValueError
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            after, ended, floors = json.loads(unseal(self._key(), sealed, self._context(about)))
        except (SealError, ValueError, binascii.Error):
            raise CallerError("this cursor was not given for this list, or not to who brings it") from None
        after, floors = (
            {name: tuple(_value(each) for each in key) for name, key in keys.items()} for keys in (after, floors)
        )
        return _Place(after, frozenset(ended), floors)

    def _key(self) -> bytes:
        return bytes.fromhex(self._here.point.perception.digest(_KEY))

    def _context(self, about: str) -> bytes:
        who = self._here.who or ""
        return json.dumps(["cursor 2", self.store, self._here.activity.name, who, about]).encode()


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a list was told: by sink, the key of its last row, and the sinks that have no more; `floors` as in
    `Told`."""

    after: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    floors: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


def _withheld(left_out: Iterable[Withheld]) -> dict[str, int]:
    """Record that these were left out; how many by the reason's code. Raises: JournalFull, JournalFailed."""
    told: Counter[str] = Counter()
    for each in left_out:
        verdict = each.here.decision.sink(each.sink)
        own = None if verdict is None or verdict.reason is not each.reason else verdict.rules
        message = f"rows of sink {each.sink!r} were left out of a list"
        refuse(each.here, each.reason, message, sink=each.sink, rules=own or None)
        told[each.reason.value] += each.rows
    return dict(told)


def _silent(listing: Listing) -> SinkUnavailable:
    return SinkUnavailable(f"sink {listing.sink!r} did not answer in time")


def _why(error: ResidencyError) -> str:
    if isinstance(error, Refused):
        return error.reason
    return Reason.SUBJECT_MOVING.value if isinstance(error, SubjectMoving) else Reason.SINK_UNAVAILABLE.value


def _unsorted() -> UsageError:
    return UsageError("a list over several sinks cannot be sorted by values of this kind")


_KINDS: Final[tuple[tuple[str, type, Callable[[Any], str], Callable[[str], Any]], ...]] = (
    ("datetime", datetime, datetime.isoformat, datetime.fromisoformat),  # before date, which it is too
    ("date", date, date.isoformat, date.fromisoformat),
    ("decimal", Decimal, str, Decimal),
    ("uuid", UUID, str, UUID),
    ("bytes", bytes, bytes.hex, bytes.fromhex),
)


def _plain(value: Any) -> Any:
    """A value of a sort key as JSON holds it. Raises: UsageError."""
    if value is None or isinstance(value, str | int | float):
        return value
    for word, kind, write, _ in _KINDS:
        if isinstance(value, kind):
            return [word, write(value)]
    raise _unsorted()


def _value(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    word, text = plain
    return next(read(text) for each, _, _, read in _KINDS if each == word)
