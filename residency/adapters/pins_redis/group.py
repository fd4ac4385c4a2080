"""All primaries of one store: who they are, what is wrong with them, and what each of them must be told again.

A thread watches Sentinel or the Cluster; a single server needs none. Whenever the primaries or their shares change, the
local copy is emptied, for a change at a new primary was told to nobody before it is tracked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.crc import key_slot

from residency.adapters.pins_redis.exchange import FAILURES, Wire
from residency.adapters.pins_redis.marks import SLOTS, Marks
from residency.adapters.pins_redis.mirror import Counters, Mirror
from residency.adapters.pins_redis.primary import Identity, Primary, Settings
from residency.adapters.pins_redis.recent import Recent
from residency.adapters.pins_redis.scripts import REPLAY
from residency.adapters.pins_redis.topology import Range, cluster_shares, own_share, sentinel_shares
from residency.adapters.pins_redis.urls import Node
from residency.errors import PinsUnavailable

__all__ = ["AWAY", "CLOSED", "Primaries"]

AWAY: Final = "the pins' server cannot be reached"
_log = logging.getLogger("residency")
CLOSED: Final = "pins are closed"
_UNTOLD: Final = object()


class Primaries:
    """Every primary of one store, each with its thread, and a thread that watches who they are."""

    def __init__(
        self, settings: Settings, mirror: Mirror, counters: Counters, marks: Marks, recent: Recent, replay_ms: int
    ) -> None:
        self.mirror, self.counters, self.marks, self.recent = mirror, counters, marks, recent
        self.replay_ms = replay_ms
        self.closed = False
        self._settings = settings
        self._changed = threading.Condition()
        self._shares: Mapping[Node | None, tuple[Range, ...]] = {}
        self._named = float("-inf")
        self._primaries: dict[Node | None, Primary] = {}
        self._owners: list[Primary] = []
        self._identities: set[Identity] = set()
        self._troubles: dict[Primary, tuple[PinsUnavailable, bool] | None] = {}
        self._served = False
        """Whether all was well once: what is wrong before is told by not starting."""
        self._out: str | None = None
        """What was logged as wrong; None while nothing is."""
        self._look = threading.Event()
        self._silent: set[Node] = set()  # sentinels that did not answer lately
        self._watcher: threading.Thread | None = None

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect to every primary. Raises: PinsUnavailable where one cannot be reached in time, or be trusted."""
        place = self._settings.place
        if place.kind == "single":
            self._set({place.nodes[0] if place.nodes else None: ()})
        else:
            self._watcher = threading.Thread(target=self._watch, name="residency-pins-watch", daemon=True)
            self._watcher.start()
        end = time.monotonic() + 2 * self._settings.timeout + 1
        with self._changed:
            while not self._all_well():
                told = [trouble for trouble in self._troubles.values() if trouble is not None]
                if any(lasting for _, lasting in told) or time.monotonic() >= end:
                    raise max(told, key=lambda trouble: trouble[1], default=(PinsUnavailable(AWAY), False))[0]
                self._changed.wait(max(0.0, end - time.monotonic()))

    def close(self) -> None:
        """End all threads and connections; idempotent. Takes two timeouts at most."""
        with self._changed:
            if self.closed:
                return
            self.closed = True
            primaries = self.all()
        self.mirror.refuse(CLOSED)
        self._look.set()
        for primary in primaries:
            primary.stop()
        if self._watcher is not None:
            self._watcher.join()
        for primary in primaries:
            primary.join()

    def all(self) -> list[Primary]:
        """The primaries there are now."""
        return list(self._primaries.values())

    def at(self, node: Node) -> Primary | None:
        """The primary at `node`, if it is one."""
        return self._primaries.get(node)

    def owner(self, key: bytes) -> Primary:
        """Who holds `key`. Raises: PinsUnavailable where nobody may be asked."""
        if self.closed:
            raise PinsUnavailable(CLOSED)
        if self.mirror.refusal is not None:
            raise PinsUnavailable(self.mirror.refusal)
        owners = self._owners
        if not owners:
            raise PinsUnavailable(AWAY)
        return owners[key_slot(key)] if len(owners) > 1 else owners[0]

    def look(self) -> None:
        """See soon whether the primaries have changed."""
        self._look.set()

    # -- what a primary asks -----------------------------------------------------------------------------------

    def owned(self, primary: Primary) -> Callable[[int], bool]:
        """Which hash slots `primary` holds."""
        if self._settings.place.kind != "cluster":
            return lambda slot: True
        ranges = self._shares.get(primary.node, ())
        return lambda slot: any(first <= slot <= last for first, last in ranges)

    def attached(self, primary: Primary, identity: Identity) -> None:
        """Put back what another primary may have lost, then begin with an empty copy. Raises: FAILURES."""
        if identity not in self._identities:
            self.recent.relied(self.mirror.pins())
            self._put_back(primary)
            self._identities.add(identity)
        self.mirror.clear()

    def judged(self, primary: Primary, trouble: PinsUnavailable | None, *, lasting: bool = False) -> None:
        """Refuse everything while a primary has a `lasting` trouble; wake who waits for the start."""
        with self._changed:
            if self._primaries.get(primary.node) is not primary:
                return
            before = self._troubles.get(primary)
            self._troubles[primary] = None if trouble is None else (trouble, lasting)
            if lasting and not (before is not None and before[1]):
                self.counters.count("distrusted")
            self._refuse()
            self._tell(trouble, lasting)
            self._changed.notify_all()

    def confirmed(self, primary: Primary, sent: float, nodes: bytes | None) -> float | None:
        """`sent` where the server's own word is enough; else not after the sentinels last named it."""
        match self._settings.place.kind:
            case "single":
                return sent
            case "sentinel":
                return min(sent, self._named) if self._primaries.get(primary.node) is primary else None
            case "cluster":
                if own_share(nodes or b"") == self._shares.get(primary.node):
                    return sent
                self.look()
                return None

    def _put_back(self, primary: Primary) -> None:
        prefix, owned = self._settings.prefix, self.owned(primary)
        keyed = [(prefix + subject.encode(), stored, gone) for subject, stored, gone in self.recent.changes()]
        changes = [change for change in keyed if owned(key_slot(change[0]))]

        def put_back(wire: Wire) -> None:
            for key, stored, gone in changes:
                match wire.run(REPLAY, key, (stored, self.replay_ms if gone else 0))[0]:
                    case 1:
                        self.counters.count("replayed")
                    case 2:
                        self.counters.count("conflicts")
                    case _:
                        pass  # known there

        if changes:
            primary.exchange(put_back)

    def _refuse(self) -> None:
        lasting = [trouble[0] for trouble in self._troubles.values() if trouble is not None and trouble[1]]
        why = str(lasting[0]) if lasting else None
        if not self.closed and why != self.mirror.refusal:
            self.mirror.refuse(why)

    def _tell(self, trouble: PinsUnavailable | None, lasting: bool) -> None:
        """Log the beginning and the end of an outage, once each."""
        if trouble is None:
            if (self._out is not None or not self._served) and self._all_well():
                if self._out is not None:
                    _log.warning("the pins' store is heard of again: pins are served")
                self._out, self._served = None, True
        elif self._served and not self.closed and str(trouble) != self._out:
            self._out = str(trouble)
            effect = (
                "requests are refused" if lasting else "what is held here serves for a while, then requests are refused"
            )
            _log.warning("%s; %s", trouble, effect)

    def _all_well(self) -> bool:
        primaries = self.all()
        return bool(primaries) and all(self._troubles.get(primary, _UNTOLD) is None for primary in primaries)

    # -- which primaries there are -----------------------------------------------------------------------------

    def _watch(self) -> None:
        place, timeout = self._settings.place, self._settings.timeout
        while not self.closed:
            began = time.monotonic()
            shares: Mapping[Any, tuple[Range, ...]] | None = None
            try:
                if place.kind == "sentinel":
                    shares = sentinel_shares(place, timeout, self._silent)
                else:
                    shares = cluster_shares(place, [node for node in self._shares if node is not None], timeout)
            except FAILURES:
                pass  # leases run on from when the primaries were last named, and no further
            if shares == self._shares:
                self._named = began
            elif shares is not None:
                self._set(shares, began)
            self._look.wait(self._settings.beat)
            self._look.clear()

    def _set(self, shares: Mapping[Node | None, tuple[Range, ...]], named: float = float("-inf")) -> None:
        self.recent.relied(self.mirror.pins())
        with self._changed:
            if self.closed:
                return
            before, self._shares, self._named = self._primaries, shares, named
            after = {node: before.get(node) or Primary(node, self._settings, self) for node in shares}
            owners = list(after.values())[:1]
            if self._settings.place.kind == "cluster":
                owners = owners * SLOTS
                for node, ranges in shares.items():
                    for first, last in ranges:
                        owners[first : last + 1] = [after[node]] * (last - first + 1)
            self._primaries, self._owners = after, owners
            gone = [primary for node, primary in before.items() if node not in after]
            for primary in gone:
                self._troubles.pop(primary, None)
            self._refuse()
            for node, primary in after.items():
                if node not in before:
                    primary.start()
        if before:
            self.mirror.clear()
        for primary in before.values():
            primary.nudge()
        for primary in gone:
            primary.stop()
            threading.Thread(target=primary.join, name="residency-pins-end", daemon=True).start()
