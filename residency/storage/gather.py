"""A list over several sinks: each sink's own rows in order in; one page in that order, and where the next begins, out.

    here -> a Listing per sink (decided apart) -> rows after that sink's own place (at once) -> merged -> Page, cursor

A list is about everybody whose data lies in a sink, so each sink is judged as they would be: as people of the sink's
own place. What may not be read and what does not answer is missing, and the page says so. A cursor keeps a place in
each sink, not one in the merged list: where two databases sort a letter differently, rows may interleave otherwise and
none is lost or told twice. It is sealed, for sort keys are names, and opens for who got it and for the same list alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache, total_ordering
from heapq import merge
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload
from uuid import UUID
from weakref import WeakKeyDictionary

import anyio

from residency.enforcement.about import whereabouts
from residency.enforcement.context import enter, leave
from residency.enforcement.current import Current
from residency.enforcement.point import EnforcementPoint
from residency.errors import CallerError, Refused, ResidencyError, SealError, SinkUnavailable, SubjectMoving, UsageError
from residency.model import Anchor, Reason, Signal, Sink, Trust
from residency.storage.handle import StoreHandle
from residency.storage.routing import CHANGES
from residency.vault.seal import Sealer, unseal

__all__ = ["Fetch", "Found", "Gathering", "Listing", "Page", "SortKey"]

T = TypeVar("T")
_LIMIT: Final = 10_000
_CURSOR_LIMIT: Final = 16_384  # characters; longer ones are nobody's of ours
_KEY: Final = "\0residency: the key that cursors are sealed with"
_SOURCE: Final = "sink"
_ANCHORS: Final = (Anchor.TERRITORY, Anchor.RESIDENCE, Anchor.COLLECTION)


class SortKey(NamedTuple):
    """How one column of the order sorts; rows without a value come last unless `nulls_first`."""

    descending: bool = False
    nulls_first: bool = False


class Found(NamedTuple):
    """One row of one sink, and its values of the columns of the order."""

    item: Any
    key: tuple[Any, ...]


# To derive a sealer's key costs more than all it then seals, so each point keeps one; threads may share the point.
_sealers: WeakKeyDictionary[EnforcementPoint, Sealer] = WeakKeyDictionary()
_sealing: Final = threading.Lock()

Fetch = Callable[["Listing", tuple[Any, ...] | None, int], Awaitable[Sequence[Found]]]
"""Reads from a listing's sink, in order, so many rows that come after those values (None = from the first on)."""


@dataclass(frozen=True, slots=True)
class Page(Sequence[T], Generic[T]):
    """Some rows in order. `cursor` asks for those behind them, None = the sinks that answered have none; `missing` are
    sinks whose rows are not among them, each with the reason's code. A sink that answers again by a later page tells
    its rows there, wherever they would have stood.
    """

    items: tuple[T, ...]
    cursor: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether rows may be missing that belong here."""
        return bool(self.missing)

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
    __slots__ = ("sink",)

    def __init__(self, here: Current, sink: Sink) -> None:
        signals = _signals_of(sink.place)
        super().__init__(
            here.point, here.activity, here.params, None, signals, frozenset(), dict(here.detail), here.trail,
            requested=here.requested,
        )  # fmt: skip
        self.sink = sink.name
        self.readers = whereabouts(here)
        here.point.decide(self)
        here.point.metrics.decided(self.decision)


@lru_cache(maxsize=1024)  # the same tuple each time, by which its finding is known too
def _signals_of(place: str) -> tuple[Signal, ...]:
    return tuple(Signal(anchor, place, Trust.DECLARED, _SOURCE) for anchor in _ANCHORS)


class Gathering:
    """Lists over one store under one request's decision."""

    __slots__ = ("_here", "_listings", "store", "wait")

    def __init__(self, here: Current, store: str, *, wait: float | None = 10.0) -> None:
        """`wait` = seconds for each sink, None = as long as it takes.

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
        # Observing, the app's data stays where it was, and the other sinks may be empty or not even made.
        order = handle.order[:1] if here.decision.mode == "observe" else handle.order
        sinks = {verdict.sink.name: verdict.sink for verdict in here.decision.sinks}
        self._listings = tuple(Listing(here, sinks[name]) for name in order if name in sinks)

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks that are asked, in the deployment's order."""
        return tuple(listing.sink for listing in self._listings)

    async def page(
        self, fetch: Fetch, order: Sequence[SortKey], about: str, *, limit: int, cursor: str | None = None
    ) -> Page[Any]:
        """The next `limit` rows (at most 10,000) after `cursor` (None = the first). `about` tells this list from any
        other; a cursor of another is refused.

        Raises: UsageError, CallerError for a cursor that is not of this list, Unavailable where nothing can be
        recorded; where no sink at all may be read or answers, the first one's Refused or SinkUnavailable.
        """
        if not 0 < limit <= _LIMIT:
            raise UsageError(f"a page has 1 to {_LIMIT} rows")
        at = _Place() if cursor is None else self._open(cursor, about)
        asked = [listing for listing in self._listings if listing.sink not in at.ended]
        told: dict[str, Sequence[Found]] = {}
        failed: dict[str, ResidencyError] = {}
        broken: list[Exception] = []

        async def ask(listing: Listing) -> None:
            token = enter(listing)
            try:
                with anyio.fail_after(self.wait):
                    told[listing.sink] = await fetch(listing, at.after.get(listing.sink), limit + 1)
            except (Refused, SinkUnavailable, SubjectMoving) as error:
                failed[listing.sink] = error
            except TimeoutError:
                failed[listing.sink] = SinkUnavailable(f"sink {listing.sink!r} did not answer in time")
            except Exception as error:  # noqa: BLE001 - raised below as it is, not in a group
                broken.append(error)
            finally:
                leave(token)

        if len(asked) == 1:
            await ask(asked[0])
        else:
            async with anyio.create_task_group() as tasks:
                for listing in asked:
                    tasks.start_soon(ask, listing)
        if broken:
            raise broken[0]
        if failed and not told:
            raise next(iter(failed.values()))
        streams = [[(name, found) for found in told[name]] for name in self.sinks if name in told]
        try:
            taken = list(islice(merge(*streams, key=lambda each: _rank(each[1].key, order)), limit))
        except TypeError:
            raise UsageError("a list over several sinks cannot be sorted by values of this kind") from None
        behind, ended = dict(at.after), set(at.ended)
        for name, found in taken:
            behind[name] = found.key
        for name, rows in told.items():
            # One row more than fits on a page was asked for, so where all are taken there are no more.
            if sum(each == name for each, _ in taken) == len(rows):
                ended.add(name)
        # What does not answer is asked again with each page, but nobody who pages to the end waits for it for ever.
        more = told.keys() - ended
        following = self._seal(_Place(behind, frozenset(ended)), about) if more else None
        return Page(tuple(found.item for _, found in taken), following, {name: _why(e) for name, e in failed.items()})

    # -- cursors -----------------------------------------------------------------------------------------------

    def _seal(self, place: _Place, about: str) -> str:
        point = self._here.point
        after = {name: [_plain(value) for value in key] for name, key in place.after.items()}
        text = json.dumps([after, sorted(place.ended)], ensure_ascii=False, separators=(",", ":"))
        context = self._context(about)
        with _sealing:
            sealer = _sealers.get(point)
            if sealer is None:
                homes = point.homes
                sealer = Sealer(self._key(), lambda size: bytes.fromhex(homes.new_alias())[:size])
                _sealers[point] = sealer
            sealed = sealer.seal(text.encode(), context)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _open(self, cursor: str, about: str) -> _Place:
        try:
            if len(cursor) > _CURSOR_LIMIT:
                raise ValueError
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            after, ended = json.loads(unseal(self._key(), sealed, self._context(about)))
        except (SealError, ValueError, binascii.Error):
            raise CallerError("this cursor was not given for this list, or not to who brings it") from None
        return _Place({name: tuple(_value(each) for each in key) for name, key in after.items()}, frozenset(ended))

    def _key(self) -> bytes:
        return bytes.fromhex(self._here.point.perception.digest(_KEY))

    def _context(self, about: str) -> bytes:
        who = self._here.who or ""
        return json.dumps(["cursor 1", self.store, self._here.activity.name, who, about]).encode()


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a list was told: by sink, the key of its last row, and the sinks that have no more."""

    after: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()


@total_ordering
class _Down:
    """A value that sorts the other way."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and bool(self.value == other.value)

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value < self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def _rank(key: tuple[Any, ...], order: Sequence[SortKey]) -> tuple[Any, ...]:
    """What Python sorts a row by as its sink does."""
    ranks: list[Any] = []
    for value, how in zip(key, order, strict=True):
        if value is None:
            ranks += (-1 if how.nulls_first else 1, 0)
        else:
            ranks += (0, _Down(value) if how.descending else value)
    return tuple(ranks)


def _why(error: ResidencyError) -> str:
    if isinstance(error, Refused):
        return error.reason
    return Reason.SUBJECT_MOVING.value if isinstance(error, SubjectMoving) else Reason.SINK_UNAVAILABLE.value


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
    raise UsageError("a list over several sinks cannot be sorted by values of this kind")


def _value(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    word, text = plain
    return next(read(text) for each, _, _, read in _KINDS if each == word)
