"""As `test_places`, with copies abroad wanted of all files: those that the law lets go are made, and go again.

A copier, which may be killed at each of its steps, a walk that withdraws, and orders that end what was permitted come
between all that people and operators do. Of people at home nothing is ever abroad; of others, what they once had.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from residency.adapters.outbox_objects import NotedObjects, ObjectLedger, ObjectMarks, ObjectOutbox
from residency.adapters.records_objects import ObjectRecords
from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectSink, SinkPort, nothing
from residency.errors import ResidencyError
from residency.policy.compiler import Policy
from residency.storage.copied import Copied, originals
from residency.storage.copies import Copier
from residency.storage.outbox import Target
from residency.storage.records import Records
from residency.storage.sent import Elsewhere, Sent
from residency.storage.withdrawal import Home, Homes, withdraw
from residency.wiring.deciding import CopyDeciding
from tests.move_world import Plug, PulledError
from tests.properties.test_places import COVERED, DEPLOYMENT, LAW, PEOPLE, Places, PluggedObjects, SlowSink
from tests.world import load_policy, write_deployment

_WANTED: Final = "copies: {files: {to: [files-sg], withdraw: true}}\n"
_QUARTER: Final = 901_000_000  # microseconds after which a change that was begun is known to be made, or not


def _policy() -> Policy:
    with tempfile.TemporaryDirectory() as name:
        more = [("sg: {country: SG}}", "sg: {country: SG}, kr: {country: KR}}")]
        return load_policy(write_deployment(Path(name), DEPLOYMENT + _WANTED, (LAW,), more))


class Plugged:
    """A sink of objects each of whose changes may be the copier's last."""

    def __init__(self, sink: SlowSink, plug: Plug) -> None:
        self._sink = sink
        self._plug = plug

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """As the port says."""
        self._plug()
        return await self._sink.put(key, value, content_type, done=done)

    async def delete(self, key: str, *, done: Callable[[], object] = nothing) -> bool:
        """As the port says."""
        self._plug()
        return await self._sink.delete(key, done=done)


class Copying(Places):
    """People, stores, operators, and copiers."""

    policy = _policy()

    def __init__(self) -> None:
        self.tokens = itertools.count()
        super().__init__()
        self.cut = Plug()
        told = self.policy.deployment
        deciding = CopyDeciding("files", lambda: self.world.point, b"k" * 32)
        plugged: dict[str, Any] = {place: Plugged(sink, self.cut) for place, sink in self.files.items()}
        records = {place: ObjectRecords(sink, told.records["files"]) for place, sink in plugged.items()}
        self.deciding = deciding
        self.ledger = ObjectLedger(plugged["SG"])
        self.target = Target(told.sinks["files-sg"].sink, Copied("files", records["SG"], self.ledger), True)
        homes = {
            place: Elsewhere(
                records[place],
                ObjectOutbox("files", plugged[place], records[place].name_of, now=self.world.clock.now),
                Sent("files", ObjectMarks(plugged[place])),
            )
            for place in ("VN", "KR")
        }
        self.copiers = {
            place: Copier(
                told.sinks[f"files-{place.lower()}"].sink,
                *homes[place],
                [self.target],
                deciding,
                others={other: each for other, each in homes.items() if other != place},
            )
            for place in ("VN", "KR")
        }
        self.past: set[tuple[str, bytes]] = set()

    def noting(self) -> dict[str, SinkPort]:
        """Files at home are noted when they change."""
        docs = self.policy.deployment.records["files"]
        self.noted: dict[str, Any] = {
            place: NotedObjects(
                sink,
                {"files": ObjectRecords(sink, docs).name_of} if place != "SG" else {},
                now=lambda: self.world.clock.now(),
                token=lambda size: next(self.tokens).to_bytes(size, "big"),
            )
            for place, sink in self.files.items()
        }
        return {sink.name: sink for sink in self.noted.values()}

    def at_home(self, who: str) -> bool:
        """The law says nothing of the others, wherever they live."""
        return who in COVERED

    def records(self, place: str) -> ObjectRecords:
        """The records of a place."""
        sink: ObjectSink = self.noted[place]
        return PluggedObjects(sink, self.plug)

    def moved(self, place: str) -> Records:
        """Copies are no part of what is moved."""
        if place != "SG":
            return self.records(place)
        return originals(Copied("files", self.records(place), ObjectLedger(self.files["SG"])))

    def lying(self, place: str, who: str) -> list[str]:
        """Their own files; copies are none."""
        keys = super().lying(place, who)
        return keys if place != "SG" else [key for key in keys if key not in self.copies_of(who)]

    def copies_of(self, who: str) -> Mapping[str, bytes]:
        """What lies abroad of somebody as a copy."""
        wanted = [("users/{subject}/", key) for key in super().lying("SG", who)]
        there = self.files["SG"]
        was, there._open = there._open, True  # even while nobody reaches it
        try:
            held = self.run(self.target.copied.held(wanted)) if wanted else {}
        finally:
            there._open = was
        return {key: there._values[key][1] for (_, key), each in held.items() if each.ours}

    # -- copiers -------------------------------------------------------------------------------------------------

    def killed(self, work: Callable[[], Coroutine[Any, Any, Any]], at: int | None) -> None:
        """The process that does `work` is killed at the `at`-th change."""
        self.cut.calls, self.cut.at = 0, at
        try:
            with suppress(PulledError, ResidencyError):
                self.run(work())
        finally:
            self.cut.at = None

    async def copy(self) -> None:
        """All outboxes are worked off."""
        for copier in self.copiers.values():
            while (await copier.once(limit=3)).notes:
                pass

    async def walk(self) -> None:
        """What may no more be abroad is deleted there."""
        homes: Homes = {
            place: [Home(copier.home, Elsewhere(copier.records, copier.outbox, copier.sent))]
            for place, copier in self.copiers.items()
        }
        await withdraw(self.target, homes, self.deciding, page=2)

    @rule(at=st.none() | st.integers(1, 30))
    def copies(self, at: int | None) -> None:
        """A copier works, and may be killed."""
        self.killed(self.copy, at)

    @rule(at=st.none() | st.integers(1, 12))
    def walks(self, at: int | None) -> None:
        """So may be who withdraws."""
        self.killed(self.walk, at)

    @rule(stopped=st.booleans())
    def orders(self, stopped: bool) -> None:
        """An order against the sink abroad, or none any more."""
        self.world.stop(*(["files-sg"] if stopped else []))

    @rule()
    def in_the_end(self) -> None:
        """Left alone, copies are what they should be."""
        self.revive_all()
        self.finish_late()
        for _ in range(8):
            self.world.clock.advance(_QUARTER)
            self.run(self.copy())
            self.run(self.walk())
        stopped = bool(self.world.facts.current().stop_orders)
        for who in PEOPLE:
            pin = self.pin(who)
            if pin is None or pin.moving is not None or "SG" in (pin.home, pin.moving) or self.lying("SG", who):
                continue  # their own lies there, or may
            home = {key: self.files[pin.home]._values[key][1] for key in super().lying(pin.home, who)}
            assert self.copies_of(who) == ({} if stopped or self.at_home(who) else home), who

    @invariant()
    def what_is_abroad_was_once_theirs(self) -> None:
        """Nothing is made up, and nobody has another's."""
        for place, sink in self.files.items():
            found = {(key, value) for key, (_, value, *_) in sink._values.items() if key.startswith("users/")}
            if place != "SG":
                self.past |= found
        for who in PEOPLE:
            assert set(self.copies_of(who).items()) <= self.past


TestPlacesCopies = Copying.TestCase
TestPlacesCopies.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
