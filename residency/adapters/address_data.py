"""Address data that is watched: the tables of one configuration in, the signals of an address out, always at once.

A thread looks every `check_every` at the source files. A change is read when it has held still for two looks, and
comes into force whole, in one assignment, only if

1. every source parses whole                                            else: unreadable, torn
2. each mmdb that differs was built later than the one in force         else: older
3. the count of Vietnamese addresses, of IPv4 addresses as of IPv6 /64s and by each country database, moved by less
   than `max_change`                                                    else: moved_too_much

Otherwise the old data stays, a counter and one log line say why, once per content of the files. What is in force is
remembered beside the compiled tables, so that a worker that starts later judges the files as its neighbours did. No
request waits, fails or restarts for any of it.

Data older than `max_age` gives hints, or is refused (`stale`), whatever the files do meanwhile.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Generic, Protocol, TypeVar

from residency.errors import AddressDataUnavailable
from residency.model.finding import Signal, Trust
from residency.signals.inet import read
from residency.signals.network import signals_by_row
from residency.signals.peer import Answer, ClientAddress, client_at
from residency.signals.table import AddressTable
from residency.signals.table_sources import date_text, judge

__all__ = ["OUTCOMES", "AddressData", "Content", "Tables"]

_log = logging.getLogger("residency")
_SECOND: Final = 1_000_000
_AHEAD: Final = 86_400 * _SECOND  # how far a build date may lie in the future before no age can be told from it
_PATIENCE: Final = 5.0  # seconds that `close` waits for a look that is under way

OUTCOMES: Final = ("taken", "torn", "older", "moved_too_much", "unreadable")
"""What became of a change to the source files."""


class Content(Protocol):
    """The sources as they were at one moment."""

    @property
    def digest(self) -> str:
        """Equal for equal sources."""


C = TypeVar("C", bound=Content)
Allow = Callable[[Mapping[str, Any], Mapping[str, Any] | None], bool]


class Tables(Protocol[C]):
    """Where tables come from; `residency.adapters.address_tables.AddressTables` has the contract."""

    def stamp(self) -> Hashable:
        """Equal as long as no source was touched; never raises."""

    def read(self) -> C:
        """Every source, whole. Raises AddressDataUnavailable for a file that cannot be read."""

    def in_force(self) -> AddressTable | None:
        """The table that was last in force on this machine, if any."""

    def prepare(self, content: C, allow: Allow, *, apart: bool = False) -> AddressTable | None:
        """The table of `content`, in force if it is already or if `allow(its meta, the meta in force)`, else None.
        `apart`: a server serves, and must not be kept waiting.

        Raises AddressDataUnavailable for what does not parse whole.
        """


class _Answers:
    """What each row of one table says in one state of age, None where that is refused; replaced whole, never changed.

    `mark` tells the answers of one from those of another, and keeps no table alive where an answer is remembered.
    """

    __slots__ = ("by_row", "lookup", "mark")

    def __init__(self, table: AddressTable, by_row: Iterable[tuple[Signal, ...] | None]) -> None:
        self.lookup = table.lookup_packed
        self.mark = mark = object()
        self.by_row: tuple[Answer | None, ...] = tuple(None if said is None else (mark, said) for said in by_row)


class AddressData(Generic[C]):
    """What the network says of an address. `open` makes it answer (the first question does too), `start` watches.

    Times are in microseconds, `max_change` is a share from 0 to 1. A forked child keeps what is in force and calls
    `start` to watch it, for threads do not survive a fork.
    """

    def __init__(
        self,
        tables: Tables[C],
        *,
        now: Callable[[], int],
        max_age: int,
        stale: str = "hint",
        max_change: float = 0.10,
        check_every: int = 30 * _SECOND,
    ) -> None:
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        """How often a change to the source files was taken, or was not and why, since this process began."""
        self._tables = tables
        self._now = now
        self._max_age = max_age
        self._stale_is = stale
        self._max_change = max_change
        self._check_every = check_every
        self._table: AddressTable | None = None
        self._answers: _Answers | None = None
        self._is_stale = False
        self._seen: Hashable = None  # the sources' stamp at the last look
        self._judged: Hashable = None  # their stamp when they were last read
        self._refused: Hashable = None  # the content that was last not taken
        _alive.add(self)
        self._fresh_threads()

    def _fresh_threads(self) -> None:
        self._lock = threading.RLock()  # held while the disk is read and tables are compiled
        self._swap = threading.Lock()  # held for an assignment
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- answers -----------------------------------------------------------------------------------------------

    def signals_of(self, client: ClientAddress) -> tuple[Signal, ...]:
        """The signals of a client's address; `residency.signals.network.NetworkSource` has the contract. The answer is
        remembered on `client`, and counts for as long as the same data is in force in the same state of age.

        Raises AddressDataUnavailable where the data is older than `max_age` and `stale` is `refuse`.
        """
        answers, known = self._answers, client.answer
        if known is not None and answers is not None and known[0] is answers.mark:
            return known[1]
        packed = client.packed
        if packed is None:
            if client.either:
                told = (signal for each in client.either for signal in self.signals_of(each))
                return tuple(dict.fromkeys(replace(signal, trust=Trust.HINT) for signal in told))
            return self.signals(client.address)
        if answers is None:
            answers = self._opened()
        said = answers.by_row[answers.lookup(packed)]
        if said is None:
            raise AddressDataUnavailable("the address data is older than the deployment allows")
        client.answer = said
        return said[1]

    def signals(self, address: str | None) -> tuple[Signal, ...]:
        """The same of an address in any spelling, () for what is none. Raises AddressDataUnavailable likewise."""
        found = None if address is None else read(address)
        return () if found is None else self.signals_of(client_at(found, ""))

    def _opened(self) -> _Answers:
        self.open()
        if self._answers is None:
            raise AddressDataUnavailable("the address data could not be opened")
        return self._answers

    @property
    def table(self) -> AddressTable:
        """The table in force. Read it once per piece of work. Raises AddressDataUnavailable at the first opening."""
        if self._table is None:
            self.open()
        table = self._table
        if table is None:
            raise AddressDataUnavailable("the address data could not be opened")
        return table

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the table in force says of itself: `source`, `sha256`, `built_at` (seconds UTC), `sources`,
        `vn_addresses`."""
        return self.table.meta

    @property
    def built_at(self) -> int:
        """When the country database in force was built, in seconds since the epoch, UTC."""
        return int(self.meta["built_at"])

    def age_seconds(self) -> float:
        """How old the country database in force is. Asked at a scrape, it also sees to it that age has its effect."""
        self._weigh()
        return self._now() / _SECOND - self.built_at

    @property
    def is_stale(self) -> bool:
        """Whether the data is older than `max_age`, as of the last look or scrape."""
        return self._is_stale

    # -- life --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make it answer: map the prepared table, or compile it. Blocks on the disk; idempotent; from any thread.

        Raises: AddressDataUnavailable where the sources cannot be used and none were in force before.
        """
        with self._lock:
            if self._table is None:
                self._seen = self._tables.stamp()
                self._judge(self._seen)

    def start(self) -> None:
        """Open, and watch from now on. Idempotent. Raises AddressDataUnavailable as `open`."""
        with self._lock:
            self.open()
            if self._thread is None or not self._thread.is_alive():
                self._stop.clear()
                self._thread = threading.Thread(target=self._watch, name="residency-address-data", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop watching; what is in force goes on answering. Idempotent; `start` watches again."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join(_PATIENCE)

    def look(self) -> None:
        """One look at age and files, as the thread takes it: what has changed and held still since the last look is
        judged. Never raises for what the files hold."""
        with self._lock:
            self.open()
            self._weigh()
            stamp = self._tables.stamp()
            held, self._seen = stamp == self._seen, stamp
            if held and stamp != self._judged:
                self._judge(stamp)

    # -- inside ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stop.wait(self._check_every / _SECOND):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - whatever a file does, the watch goes on; what is in force stays
                _log.exception("address data: a look at the source files failed")

    def _judge(self, stamp: Hashable) -> None:
        """Read the sources as they are now, and take them or say why not.

        Raises: AddressDataUnavailable where there is nothing else to answer from.
        """
        outcome, why, content = "taken", "", None
        role = None

        def allow(new: Mapping[str, Any], in_force: Mapping[str, Any] | None) -> bool:
            nonlocal outcome, why
            old = in_force if in_force is not None else None if self._table is None else self._table.meta
            outcome, why = judge(old, new, self._max_change) if old is not None else ("taken", "")
            return outcome == "taken"

        table = None
        try:
            content = self._tables.read()
            if content.digest == self._refused:
                self._judged = stamp  # touched, and the same as before
                return
            table = self._tables.prepare(content, allow, apart=self._thread is not None)
        except AddressDataUnavailable as error:
            outcome, why = "torn" if content is not None else "unreadable", str(error)
            role = error.role
        if table is not None:
            self._judged, self._refused = stamp, None
            self._take(table)
            return
        # Not taken. Another worker may have brought a newer table into force than the one we hold.
        in_force = self._tables.in_force()
        if in_force is not None:
            self._take(in_force)
        elif self._table is None:
            raise AddressDataUnavailable(why, role)
        if self._tables.stamp() != stamp:
            return  # it was being written: the next looks judge what it becomes
        self._judged = stamp
        self._refused = content.digest if content is not None else None
        self.outcomes[outcome] += 1
        _log.warning("address data: a change was not taken (%s): %s; what was in force stays", outcome, why)

    def _take(self, table: AddressTable) -> None:
        """Bring `table` into force, where it is another one."""
        old = self._table
        if old is not None and old.meta == table.meta:
            return
        with self._swap:
            was_stale = self._is_stale
            self._table = table
            self._is_stale = self._too_old(table)
            self._answers = self._answering(table)
        if old is not None:
            self.outcomes["taken"] += 1
            _log.info("address data: `%s`, built %s, is in force", table.meta["source"], date_text(self.built_at))
        if self._is_stale:
            self._say_stale()
        elif was_stale:
            self._say_fresh()

    def _weigh(self) -> None:
        """Let age have its effect."""
        with self._swap:
            table = self._table
            if table is not None and self._too_old(table) is not self._is_stale:
                self._is_stale = not self._is_stale
                self._answers = self._answering(table)
                if self._is_stale:
                    self._say_stale()
                else:
                    self._say_fresh()

    def _say_fresh(self) -> None:
        # As loud as what it ends: who was called by the one must hear the other.
        _log.warning("address data: what was built %s is young enough, and counts in full again", self._built())

    def _say_stale(self) -> None:
        why = "too old" if self._now() > self.built_at * _SECOND else "dated in the future"
        what = "is refused" if self._stale_is == "refuse" else "gives hints only"
        _log.warning("address data: what was built %s is %s, and %s", self._built(), why, what)

    def _built(self) -> str:
        return date_text(self.built_at)

    def _too_old(self, table: AddressTable) -> bool:
        age = self._now() - _built_at(table.meta) * _SECOND
        return not -_AHEAD <= age <= self._max_age

    def _answering(self, table: AddressTable) -> _Answers:
        if self._is_stale and self._stale_is == "refuse":  # special-purpose addresses do not age
            return _Answers(table, (() if row.network == "special" else None for row in table.rows))
        two = bool(table.meta.get("second"))
        return _Answers(table, signals_by_row(table.rows, second=two, stale=self._is_stale))


def _built_at(meta: Mapping[str, Any]) -> int:
    return int(meta["built_at"])


_alive: weakref.WeakSet[AddressData[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for data in list(_alive):
        data._fresh_threads()


os.register_at_fork(after_in_child=_after_fork)
