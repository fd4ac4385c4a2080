"""In: nothing. Out: people with homes in VN, JP and SG, copies in SG, all in memory, and the plug pulled at any change.

The app writes as it would into a database with triggers: the record and its note are one change. What a `Plug` pulls is
gone as a process is; what had been changed stays, as on disk.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from residency.adapters.outbox_memory import LedgerMemory, MarksMemory, OutboxMemory
from residency.adapters.records_memory import RecordsMemory
from residency.adapters.sink_memory import MemorySink
from residency.enforcement.upkeep import Upkeep, UpkeepAct
from residency.model import Anchor, Pin, Region, SubjectId, Trust
from residency.policy.compiler import Policy
from residency.storage.copied import Copied, Key, originals
from residency.storage.copies import Copier
from residency.storage.outbox import Note, Target, Wanted
from residency.storage.records import Change, Record
from residency.storage.sent import Elsewhere, Sent
from residency.storage.withdrawal import Home, Homes, withdraw
from residency.wiring.deciding import CopyDeciding
from tests.move_world import Plug, run
from tests.world import Deployed, load_policy, write_deployment

KEYS = [("people", f"{who}{number}") for who in ("", "an", "binh", "carol") for number in "123456789"]
PLACES = {"vn": "VN", "jp": "JP", "sg": "SG"}
TEXT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  jp: {region: jp, provider: JP, keys: JP, encrypted: true, url: "memory:"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [vn, jp, sg]}
records:
  people:
    people: {subject: id, data: [personal]}
copies: {people: {to: [sg], withdraw: true}}
activities:
  - {name: people, route: "POST /people", subject: app, data: [personal], store: people}
"""
LAW = """
  - id: test.first
    article: art. 1
    text: Personal data is recorded in Vietnam first.
    applies: {anchor: territory, data: [personal]}
    duty: {first_write: VN}
"""
REGIONS = ("sg: {country: SG}}", "sg: {country: SG}, jp: {country: JP}}")


@functools.cache
def policy_of(law: str = LAW, text: str = TEXT) -> Policy:
    """The policy, compiled once."""
    with tempfile.TemporaryDirectory() as folder:
        return load_policy(write_deployment(Path(folder), text, [law], [REGIONS]))


@functools.cache
def digest_of(*parts: str) -> str:
    """As ledgers and marks have a key."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Watch:
    """Hears each key that a copier asks a sink for, and knows by itself whether it may.

    A key may be told to the sink abroad while its copy may be made there, if it was marked as sent when it might, or if
    the sink told it first.
    """

    def __init__(self) -> None:
        self.working: str | None = None
        """The home that a copier works for, or "walk"; what others do is theirs."""
        self.told: set[Key] = set()
        self.permitted: Callable[[str, Key], bool] = lambda home, key: True
        self.lives: Callable[[Key], str | None] = lambda key: None
        self.abroad: Mapping[Key, Record] = {}
        self.sent: set[Key] = set()
        self.asked: set[Key] = set()

    def ask(self, sink: str, keys: Collection[Key]) -> None:
        """A sink is asked for these."""
        if self.working in (None, sink):
            return
        for key in keys:
            if sink != "sg":
                assert self.lives(key) == PLACES[sink], f"{sink} is asked for {key}, which is nobody's there"
                continue
            self.asked.add(key)
            known = key in self.told or key in self.sent
            assert known or self.permitted(self.working or "", key), f"abroad is asked for {key}"

    def ask_for(self, sink: str, subjects: Collection[str]) -> None:
        """A sink is asked for what these people have there."""
        if self.working not in (None, sink):
            assert set(subjects) <= {record.subject for record in self.abroad.values()}

    def mark(self, home: str, keys: Collection[Key]) -> None:
        """These are marked as sent."""
        for key in keys:
            allowed = key in self.sent or key in self.told or self.permitted(home, key)
            assert allowed, f"{key} is marked, and was never permitted"
            self.sent.add(key)


class _Records(RecordsMemory):
    """Records each of whose changes may be the last, and each of which is noted where there is an outbox."""

    def __init__(self, sink: str, plug: Plug, outbox: OutboxMemory | None, watch: Watch) -> None:
        super().__init__(sink)
        self._plug = plug
        self._outbox = outbox
        self._watch = watch

    async def get(self, keys: Collection[Key]) -> Mapping[Key, Record]:
        """As the port says."""
        self._watch.ask(self.sink, keys)
        return await super().get(keys)

    async def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """As the port says."""
        self._watch.ask_for(self.sink, subjects)
        async for record in super().read(subjects):
            if self.sink == "sg":
                self._watch.told.add((record.name, record.key))
            yield record

    def _noted(self, records: Sequence[Record], before: Mapping[Key, Record]) -> None:
        for record in records:
            key = (record.name, record.key)
            if self._outbox is not None and self.held.get(key) != before.get(key):
                self._outbox.noted(key)

    async def write(self, records: Sequence[Record]) -> int:
        """As the port says."""
        self._watch.ask(self.sink, [(record.name, record.key) for record in records])
        self._plug()
        before = dict(self.held)
        done = await super().write(records)
        self._noted(records, before)
        self._plug()
        return done

    async def replace(self, changes: Sequence[Change]) -> None:
        """As the port says."""
        self._watch.ask(self.sink, [(record.name, record.key) for record, _ in changes])
        self._plug()
        before = dict(self.held)
        await super().replace(changes)
        self._noted([record for record, _ in changes], before)
        self._plug()

    async def delete(self, records: Sequence[Record]) -> int:
        """One by one."""
        self._watch.ask(self.sink, [(record.name, record.key) for record in records])
        gone = 0
        for record in records:
            self._plug()
            before = dict(self.held)
            gone += await super().delete([record])
            self._noted([record], before)
        self._plug()
        return gone


class _Outbox(OutboxMemory):
    """An outbox each of whose changes may be the last."""

    plug: Plug

    async def done(self, notes: Sequence[Note]) -> None:
        """As the port says."""
        self.plug()
        await super().done(notes)
        self.plug()

    async def hold(self, notes: Sequence[Note], reason: str, seconds: float) -> None:
        """As the port says."""
        self.plug()
        await super().hold(notes, reason, seconds)
        self.plug()


class _Ledger(LedgerMemory):
    """A ledger each of whose changes may be the last."""

    plug: Plug
    watch: Watch

    def _asked(self, ids: Collection[str]) -> None:
        self.watch.ask("sg", [key for key in KEYS if digest_of("people", *key) in ids])

    async def read(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """As the port says."""
        self._asked(ids)
        return await super().read(ids)

    async def write(self, digests: Mapping[str, frozenset[str]]) -> None:
        """As the port says."""
        self._asked(digests)
        self.plug()
        await super().write(digests)
        self.plug()

    async def forget(self, ids: Collection[str]) -> None:
        """As the port says."""
        self._asked(ids)
        self.plug()
        await super().forget(ids)
        self.plug()


class _Marks(MarksMemory):
    """Marks each of whose changes may be the last."""

    plug: Plug
    watch: Watch
    home: str

    async def write(self, ids: Collection[str]) -> None:
        """As the port says."""
        self.watch.mark(self.home, self.of(ids))
        self.plug()
        await super().write(ids)
        self.plug()

    async def forget(self, ids: Collection[str]) -> None:
        """As the port says."""
        self.plug()
        await super().forget(ids)
        self.plug()

    def of(self, ids: Collection[str]) -> list[Key]:
        """The keys that these are marks of."""
        return [key for key in KEYS if digest_of("sent", "people", "sg", *key) in ids]


class _Deciding(CopyDeciding):
    """Acts each of whose entries may be the last. Nothing waits for a disk here, for there is none."""

    plug: Plug

    async def begin(self, acts: Sequence[Wanted]) -> Sequence[UpkeepAct]:
        """As the port says."""
        self.plug()
        begun = [self._begun(Upkeep(self._point()), wanted) for wanted in acts]
        self.plug()
        return begun

    async def settled(self) -> None:
        """As the port says."""
        self.plug()


class CopiesWorld:
    """The sinks, what the app has written, and copiers that can be killed."""

    def __init__(self, *, law: str = LAW, text: str = TEXT) -> None:
        self.plug = Plug()
        self.watch = Watch()
        policy = policy_of(law, text)
        sinks = [MemorySink(name, Region(name, place)) for name, place in PLACES.items()]
        self.deployed = Deployed(policy, sinks)
        self.now = self.deployed.clock.now
        self.outboxes: dict[str, Any] = {}
        self.at: dict[str, _Records] = {}
        for name in PLACES:
            outbox = None
            if name != "sg":
                outbox = self.outboxes[name] = _Outbox(name, self.now)
                outbox.plug = self.plug
            self.at[name] = _Records(name, self.plug, outbox, self.watch)
        self.watch.abroad = self.at["sg"].held
        self.watch.lives = self._lives
        self.ledger = _Ledger()
        self.ledger.plug, self.ledger.watch = self.plug, self.watch
        deciding = _Deciding("people", lambda: self.deployed.point, b"k" * 32)
        deciding.plug = self.plug
        self.deciding = deciding
        self.copied = Copied("people", self.at["sg"], self.ledger)
        told = policy.deployment.sinks
        self.target = Target(told["sg"].sink, self.copied, policy.deployment.copies["people"].withdraw)
        self.marks: dict[str, _Marks] = {}
        for name in self.outboxes:
            self.marks[name] = _Marks()
            self.marks[name].plug, self.marks[name].watch, self.marks[name].home = self.plug, self.watch, name
        kept = {
            name: Elsewhere(self.at[name], self.outboxes[name], Sent("people", self.marks[name]))
            for name in self.outboxes
        }
        self.sent = {name: each.sent for name, each in kept.items()}
        self.copiers = {
            name: Copier(
                told[name].sink, *kept[name], [self.target], deciding,
                others={PLACES[other]: each for other, each in kept.items() if other != name},
            )
            for name in self.outboxes
        }  # fmt: skip
        self.homes: Homes = {PLACES[name]: [Home(told[name].sink, each)] for name, each in kept.items()}

    async def settle(self, who: str, home: str | None, *, moving: str | None = None, covered: bool = True) -> None:
        """Pin somebody; None = forget the pin."""
        digest = self.deployed.point.digest(SubjectId(who))
        old = await self.deployed.pins.get(digest)
        if home is None:
            if old is not None:
                await self.deployed.pins.forget(digest, old.version)
            return
        anchors = ((Anchor.TERRITORY, "VN", Trust.VERIFIED),) if covered else ()
        version = 1 if old is None else old.version + 1
        alias = f"{sum(who.encode()):032x}" if old is None else old.alias
        pin = Pin(digest, home, anchors, alias, "move", "0" * 64, 1, version, moving)
        await self.deployed.pins.put(pin)

    def pinned(self, who: str) -> tuple[str | None, str | None]:
        """Where somebody's pin says that they live, and from where they are being moved."""
        pin = run(self.deployed.pins.get(self.deployed.point.digest(SubjectId(who))))
        return (None, None) if pin is None else (pin.home, pin.moving)

    def _lives(self, key: Key) -> str | None:
        """Where the subject of what lies in SG under this key lives."""
        found = self.at["sg"].held.get(key)
        return None if found is None or found.subject is None else self.pinned(found.subject)[0]

    def lose(self, sink: str, key: str) -> None:
        """A home loses a record and nobody notes it: its partition was dropped."""
        self.at[sink].held.pop(("people", key), None)

    def write(self, sink: str, who: str, key: str, value: bytes | None) -> None:
        """What the app has committed; None = deleted."""
        held, place = self.at[sink].held, ("people", key)
        if value is None:
            held.pop(place, None)
        else:
            held[place] = Record("people", key, who, frozenset({"personal"}), value)
        if sink in self.outboxes:
            self.outboxes[sink].noted(place)

    def lies(self, sink: str, who: str | None = None) -> dict[str, bytes | None]:
        """What a sink has (of somebody), by key."""
        return {key: r.value for (_, key), r in self.at[sink].held.items() if who is None or r.subject == who}

    async def copy(self) -> None:
        """Every outbox is looked at until nothing is due. Raises: PulledError."""
        for name, copier in self.copiers.items():
            with self.heard(name):
                while (await copier.once(limit=3)).notes:
                    pass

    async def walk(self) -> None:
        """What may no more be there is withdrawn. Raises: PulledError."""
        with self.heard("walk"):
            await withdraw(self.target, self.homes, self.deciding, page=2)

    @contextmanager
    def heard(self, working: str) -> Iterator[None]:
        """What is asked for inside is asked by a copier of this home, or by who withdraws ("walk")."""
        self.watch.working, self.watch.told = working, set()
        try:
            yield
        finally:
            self.watch.working = None

    async def move(self, who: str, source: str, target: str, *, covered: bool, between: Any = None) -> None:
        """Somebody's data goes from sink to sink, step by step, with copiers at work in between."""
        here, there = (originals(self.copied) if name == "sg" else self.at[name] for name in (source, target))
        between = between or self.copy
        records = [record async for record in here.read((who,))]
        if target != "sg":
            await there.write(records)  # copied ahead, while it is served
            await between()
        await self.settle(who, PLACES[target], moving=PLACES[source], covered=covered)
        await between()
        await there.write([record async for record in here.read((who,))])
        await between()
        await self.settle(who, PLACES[target], covered=covered)
        await between()
        await here.delete([record async for record in here.read((who,))])
        await between()

    async def erase(self, who: str) -> None:
        """Everything of somebody goes, copies and notes too."""
        found = [record for name in self.outboxes async for record in self.at[name].read((who,))]
        keys = {(record.name, record.key) for record in found}
        for at in self.at.values():
            await at.delete([record async for record in at.read((who,))])
        for name, copier in self.copiers.items():
            with self.heard(name):
                await copier.settle(keys)
        await self.settle(who, None)


__all__ = ["LAW", "PLACES", "TEXT", "CopiesWorld", "policy_of", "run"]
