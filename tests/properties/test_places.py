"""Whatever people, stores and operators do in whatever order: no byte of people at home lies abroad, and nothing that
was acknowledged is lost, or answered as if it were not there.

Three places: VN and KR may hold what is kept of people at home, SG may not. The log is public, and counts as abroad.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from starlette.authentication import SimpleUser

from residency.adapters.cache_memory import CacheMemory
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.records_objects import ObjectRecords
from residency.adapters.service_client import open_client
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_service_memory import ServiceMemory
from residency.enforcement.context import about, current
from residency.enforcement.moving import GRACE
from residency.enforcement.point import Request
from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectSink, SinkPort, nothing
from residency.enforcement.upkeep import Upkeep, UpkeepAct
from residency.errors import ResidencyError
from residency.model import Anchor, Finding, Operation, Pin, Region, SubjectId, Trust
from residency.policy.compiler import Policy
from residency.storage import erasure
from residency.storage.move import Going, Leg, Mover
from residency.storage.parcels import RecordParcels
from residency.storage.records import Record, Records
from residency.storage.retention import Copy, Person, Terms
from tests.move_world import Journal, Plug, PulledError
from tests.service_world import Endpoint, asks, whole
from tests.world import HANOI, SG, SINGAPORE, VN, Deployed, handling, load_policy, write_deployment

PLACES: Final = {"SG": SG, "VN": VN, "KR": Region("kr", "KR")}
LAW = """
  - id: test.home
    article: art. 1
    text: At home only.
    applies: {anchor: territory, data: [personal]}
    duty: {only: [VN, KR]}
"""
_SINKS = "".join(
    f"  {store}-{place.lower()}: {{region: {region.name}, provider: {place}, keys: {place}, encrypted: true, "
    f'url: "memory:"{more}}}\n'
    for store, more in (("files", ""), ("cache", ", scope: cache"), ("jobs", ""), ("llm", ""))
    for place, region in PLACES.items()
)
DEPLOYMENT = f"""
sinks:
{_SINKS}
stores:
  files: [files-sg, files-vn, files-kr]
  cache: [cache-sg, cache-vn, cache-kr]
  jobs: [jobs-sg, jobs-vn, jobs-kr]
  one: [cache-vn]
  llm: [llm-sg, llm-vn, llm-kr]
records:
  files: {{"users/{{subject}}/": {{data: [personal]}}}}
activities:
  - {{route: "GET /me", subject: user, data: [personal], store: [files, cache, jobs, one, llm]}}
  - {{route: "POST /me", subject: user, data: [personal], store: [files, cache, jobs, one, llm]}}
  - {{route: "DELETE /me", subject: user, data: [personal], store: [files, cache, jobs, one, llm]}}
"""
CANARY: Final = b"canary"
AN, BINH, CHI, MAI, TAN = "canary-an", "canary-binh", "chi", "mai", "tan"
"""Two who live at home, whose very ids are canaries; one who lives there, too, and whose data lies abroad from before;
one who settled abroad and may come home; one who is abroad."""
PEOPLE: Final = (AN, BINH, CHI, MAI, TAN)
COVERED: Final = (AN, BINH, CHI)


def _policy() -> Policy:
    with tempfile.TemporaryDirectory() as name:
        more = [("sg: {country: SG}}", "sg: {country: SG}, kr: {country: KR}}")]
        return load_policy(write_deployment(Path(name), DEPLOYMENT, (LAW,), more))


POLICY: Final = _policy()
people, places, keys = st.sampled_from(PEOPLE), st.sampled_from(sorted(PLACES)), st.sampled_from("ab")
stores = st.sampled_from(["files", "cache", "jobs", "llm"])


class SlowSink(MemorySink):
    """Objects in memory, of which those in `slow` lie there only once `let_go` is called: a disk that takes its time.

    What it held once it holds still: `ever` are all bytes that ever came to it, as free pages and write-ahead logs do.
    """

    __slots__ = ("_lets", "ever", "slow", "waiting")

    def __init__(self, name: str, region: Region) -> None:
        super().__init__(name, region)
        self.ever = bytearray()
        self.slow: set[bytes] = set()
        self.waiting = 0
        self._lets = asyncio.Event()

    def let_go(self) -> None:
        """All that waits lies there now."""
        self.slow.clear()
        self._lets.set()

    def _store(self, key: str, value: bytes, content_type: str) -> ObjectMeta:
        self.ever += key.encode() + b"\0" + value + b"\0"
        return super()._store(key, value, content_type)

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """As the port says, later."""
        self.ever += key.encode() + b"\0" + bytes(value) + b"\0"
        while value in self.slow:
            self._lets.clear()
            self.waiting += 1
            try:
                await self._lets.wait()
            finally:
                self.waiting -= 1
        return await super().put(key, value, content_type, done=done)


class PluggedObjects(ObjectRecords):
    """Records each of whose changes may be the mover's last."""

    __slots__ = ("_plug",)

    def __init__(self, sink: ObjectSink, plug: Plug) -> None:
        super().__init__(sink, POLICY.deployment.records["files"])
        self._plug = plug

    async def write(self, records: Sequence[Record]) -> int:
        """As the port says; the plug may go before it or after."""
        self._plug()
        new = await super().write(records)
        self._plug()
        return new

    async def delete(self, records: Sequence[Record]) -> int:
        """One by one."""
        gone = 0
        for record in records:
            self._plug()
            gone += await super().delete([record])
        self._plug()
        return gone


@dataclass
class Kept:
    """What somebody has by key: all that it may be now, None = nothing. One value where an answer came."""

    may: dict[str, set[bytes | None]] = field(default_factory=dict)

    def of(self, key: str) -> set[bytes | None]:
        """What may be under a key."""
        return self.may.get(key, {None})


@dataclass
class Late:
    """A request under way: `go` lets its sender end, `told` is how many others wrote the same key before it began."""

    task: asyncio.Task[Any]
    go: asyncio.Event
    who: str
    key: str
    value: bytes
    told: int


class Places(RuleBasedStateMachine):
    """Requests of several people, some at the same time, with stores that die and come back, and an operator."""

    policy = POLICY

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.files = {place: SlowSink(f"files-{place.lower()}", region) for place, region in PLACES.items()}
        self.caches = {
            (store, place): CacheMemory(f"{store}-{place.lower()}", region)
            for store in ("cache", "jobs")
            for place, region in PLACES.items()
        }
        self.heard = {place: Endpoint() for place in PLACES}
        models = [
            ServiceMemory(f"llm-{place.lower()}", region, self.heard[place], open_client)
            for place, region in PLACES.items()
        ]
        every: list[SinkPort] = [*self.files.values(), *self.caches.values(), *models]
        self.sinks = {sink.name: sink for sink in every}
        self.sinks |= self.noting()
        self.world = Deployed(
            self.policy, list(self.sinks.values()), journal=JournalMemory(headroom=1 << 20, capacity=1 << 30)
        )
        self.plug = Plug()
        self.journal = Journal(self.plug)
        self.kept = {person: Kept() for person in PEOPLE}
        self.dead: set[str] = set()
        self.late: list[Late] = []
        self.hung_up: defaultdict[tuple[str, str], set[bytes | None]] = defaultdict(set)
        """Values of those who hung up while they were kept: what is under way comes, sooner or later than others."""
        self.told: Counter[tuple[str, str]] = Counter()
        self.number = 0
        self.last: tuple[str, str, bytes] | None = None

    def teardown(self) -> None:
        """Let everything end; then what is there is what was acknowledged, once more."""
        try:
            self.revive_all()
            self.finish_late()
            self.nothing_of_people_at_home_lies_abroad()
            self.what_was_acknowledged_is_there()
        finally:
            self.loop.close()

    # -- helpers -------------------------------------------------------------------------------------------------

    def noting(self) -> dict[str, SinkPort]:
        """Sinks by name that stand before those of the same name."""
        return {}

    def lying(self, place: str, who: str) -> list[str]:
        """Keys of somebody's files in a place."""
        return [key for key in self.files[place]._values if f"/{who}/" in key]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What it comes to."""
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def tick(self) -> None:
        """Let tasks go on as far as they can."""
        for _ in range(8):
            self.loop.run_until_complete(asyncio.sleep(0))

    def digest(self, who: str) -> str:
        """What pins know somebody by."""
        return self.world.point.digest(SubjectId(who))

    def pin(self, who: str) -> Pin | None:
        """Somebody's home."""
        return self.world.pins.peek(self.digest(who))[0]

    def at_home(self, who: str) -> bool:
        """Whether nothing of theirs may be abroad from now on."""
        pin = self.pin(who)
        return who in COVERED or (who == MAI and pin is not None and pin.home != "SG")

    def value(self, who: str) -> bytes:
        """Something new of theirs."""
        self.number += 1
        return (b"canary-of-" if self.at_home(who) else b"said-by-") + f"{who}-{self.number}".encode()

    async def asked(self, who: str, method: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """A request of theirs, whose handler does this."""
        address = HANOI if who in COVERED else SINGAPORE
        point = self.world.point
        here = point.admit(Request(method, "/me", b"/me", (), (address, 5), SimpleUser(who)))
        with handling(here) as entered:
            try:
                return await work()
            finally:
                point.close(entered)

    def tries(self, work: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        """(whether it went through, its answer); an error of ours is an answer, any other fails the run."""
        try:
            return True, self.run(work)
        except ResidencyError as error:
            return False, error

    def put(self, who: str, key: str, value: bytes) -> Coroutine[Any, Any, Any]:
        """A request that keeps a file."""
        return self.asked(who, "POST", lambda: current().store("files").put(f"users/{who}/{key}", value))

    def acknowledged(self, who: str, key: str, value: bytes | None) -> None:
        """It is there, unless one who is still under way comes later."""
        self.told[who, key] += 1
        late: set[bytes | None] = {each.value for each in self.late if (each.who, each.key) == (who, key)}
        self.kept[who].may[key] = {value} | late | self.hung_up[who, key]

    # -- what people do ------------------------------------------------------------------------------------------

    @initialize()
    def settle(self) -> None:
        """Some have accounts already."""
        for who in (MAI, TAN):
            self.write(who, "a")
        before = b"of-before"
        self.run(self.files["SG"].put(f"users/{CHI}/a", before))
        told = ((Anchor.TERRITORY, "VN", Trust.NETWORK), (Anchor.COLLECTION, "VN", Trust.NETWORK))
        self.run(self.world.pins.put(Pin(self.digest(CHI), "SG", told, "c" * 32, "write", "p", 1)))
        self.acknowledged(CHI, "a", before)

    @rule(who=people, key=keys)
    def write(self, who: str, key: str) -> None:
        """Keep a file."""
        if self.is_moving(who):
            return
        value = self.value(who)
        self.last = (who, key, value)
        done, _ = self.tries(self.put(who, key, value))
        if done:
            self.acknowledged(who, key, value)

    @precondition(lambda self: self.last is not None)
    @rule()
    def retry(self) -> None:
        """The same request, which may have come before."""
        assert self.last is not None
        who, key, value = self.last
        if self.is_moving(who) or (self.at_home(who) and CANARY not in value):
            return
        done, _ = self.tries(self.put(who, key, value))
        if done:
            self.acknowledged(who, key, value)

    @rule(who=people, key=keys, ticks=st.integers(0, 3), whole=st.booleans())
    def write_late(self, who: str, key: str, ticks: int, whole: bool) -> None:
        """Begin to keep a file, which ends in a later step: the disk, or who sends it, takes its time."""
        if self.is_moving(who) or len(self.late) > 3:
            return
        value = self.value(who)
        gate = asyncio.Event()
        for sink in self.files.values():
            sink.slow.add(value)

        async def pieces() -> AsyncIterator[bytes]:
            yield value[:5]
            await gate.wait()
            yield value[5:]

        async def send() -> None:
            await current().store("files").put(f"users/{who}/{key}", value if whole else pieces())

        task = self.loop.create_task(self.asked(who, "POST", send))
        self.late.append(Late(task, gate, who, key, value, self.told[who, key]))
        self.kept[who].may[key] = self.kept[who].of(key) | {value}
        for _ in range(ticks):
            self.loop.run_until_complete(asyncio.sleep(0))

    @precondition(lambda self: self.late)
    @rule(data=st.data(), how=st.sampled_from(["cancel", "end"]))
    def end_late(self, data: st.DataObject, how: str) -> None:
        """One who waited hangs up, or all come to their end."""
        if how == "end":
            self.finish_late()
            return
        late = data.draw(st.sampled_from(self.late))
        self.late.remove(late)
        self.hung_up[late.who, late.key].add(late.value)
        late.task.cancel()
        self.finish([late.task])  # whether it came to its end before is not known to who hung up

    def finish_late(self) -> None:
        """All who began come to their end."""
        ended, self.late = self.late, []
        for sink in self.files.values():
            sink.let_go()
        for late in ended:
            late.go.set()
        self.finish([late.task for late in ended])
        kept = {(late.who, late.key): set[bytes | None]() for late in ended}
        for late in ended:
            alone = self.told[late.who, late.key] == late.told
            if late.task.exception() is None and alone:
                kept[late.who, late.key].add(late.value)
        for (who, key), values in kept.items():
            if values:
                others = {late.value for late in ended if (late.who, late.key) == (who, key)}
                self.kept[who].may[key] = values | others | self.hung_up[who, key]

    def finish(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Wait for these; what is no error of ours fails the run."""
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=30))
        for task in tasks:
            assert task.done()
            if not task.cancelled() and task.exception() is not None:
                assert isinstance(task.exception(), ResidencyError), task.exception()

    @rule(who=people, key=keys)
    def read(self, who: str, key: str) -> None:
        """What may be there is there, and nothing else; a refusal is an answer, emptiness is none."""

        async def look() -> tuple[bytes | None, list[str]]:
            store = current().store("files")
            name = f"users/{who}/{key}"
            return await store.get(name), [each async for each in store.keys(f"users/{who}/")]

        done, answer = self.tries(self.asked(who, "GET", look))
        if done:
            value, listed = answer
            assert value in self.kept[who].of(key)
            sure = {each for each, may in self.kept[who].may.items() if None not in may}
            assert {f"users/{who}/{each}" for each in sure} <= set(listed)

    @rule(who=people, key=keys)
    def remove(self, who: str, key: str) -> None:
        """Take a file away."""
        if self.is_moving(who) or self.late:
            return
        done, _ = self.tries(self.asked(who, "DELETE", lambda: current().store("files").delete(f"users/{who}/{key}")))
        if done:
            self.acknowledged(who, key, None)

    @rule(caller=people, who=people, key=keys, writes=st.booleans())
    def colleague(self, caller: str, who: str, key: str, writes: bool) -> None:
        """Somebody works on somebody else's record, from wherever they are."""
        if self.is_moving(who):
            return
        value, name = self.value(who), f"users/{who}/{key}"

        async def work() -> bytes | None:
            async with about(who) as here:
                if writes:
                    await here.store("files").put(name, value)
                    await here.store("cache").set(key, value)
                    return value
                found: bytes | None = await here.store("files").get(name)
                return found

        known = self.pin(who) is not None
        if not known:
            return  # presumption decides of whom nobody knows anything, and here it presumes nothing
        done, answer = self.tries(self.asked(caller, "POST" if writes else "GET", work))
        if done and writes:
            self.acknowledged(who, key, value)
        elif done:
            assert answer in self.kept[who].of(key)

    @rule(who=people, store=st.sampled_from(["cache", "jobs", "one"]), key=keys, shared=st.booleans())
    def remember(self, who: str, store: str, key: str, shared: bool) -> None:
        """A cache entry, a session and a job."""
        value = self.value(who)

        async def work() -> None:
            handle = current().store(store)
            found = await handle.get(f"{key}{shared}", shared=shared)
            assert found is None or shared or found.endswith(b"=" + who.encode())
            if found is not None and CANARY in found:
                assert self.at_home(who), "of somebody at home, to somebody abroad"
            await handle.set(f"{key}{shared}", value + b"=" + who.encode(), shared=shared)
            if store == "jobs":
                await handle.push("q", value)

        self.tries(self.asked(who, "POST", work))

    @rule(who=people, place=st.none() | places)
    def ask(self, who: str, place: str | None) -> None:
        """A question to a model, which is nobody's home: who is not covered asks the first that there is, or another
        that the app names."""
        value = self.value(who) if who in COVERED else b"a question"
        sink = None if place is None else f"llm-{place.lower()}"

        async def work() -> None:
            await whole(await current().http("llm").send(asks(body=value, headers=((b"x-of", value),)), sink=sink))

        self.tries(self.asked(who, "POST", work))

    # -- what stores do ------------------------------------------------------------------------------------------

    @rule(store=stores, place=places)
    def die(self, store: str, place: str) -> None:
        """A store cannot be reached."""
        name = f"{store}-{place.lower()}"
        self.dead.add(name)
        self.run(self.sinks[name].aclose())

    @precondition(lambda self: self.dead)
    @rule()
    def revive_all(self) -> None:
        """All can be reached again."""
        for name in sorted(self.dead):
            self.run(self.sinks[name].start())
        self.dead.clear()

    # -- what operators do ---------------------------------------------------------------------------------------

    def is_moving(self, who: str) -> bool:
        """Whether writes must wait."""
        pin = self.pin(who)
        return pin is not None and pin.moving is not None

    def records(self, place: str) -> ObjectRecords:
        """The records of a place."""
        return PluggedObjects(self.files[place], self.plug)

    def moved(self, place: str) -> Records:
        """The records of a place that are moved."""
        return self.records(place)

    @rule(
        who=people,
        to=places,
        kill=st.none() | st.integers(1, 24) | st.integers(11, 15),  # often about when the pin turns
        late=st.none() | st.tuples(keys, st.booleans()),
        between=st.none() | st.tuples(keys, st.booleans()),
    )
    def move(
        self, who: str, to: str, kill: int | None, late: tuple[str, bool] | None, between: tuple[str, bool] | None
    ) -> None:
        """Somebody is moved, while a request of theirs is under way; the mover may be killed at any of its steps, and
        is then run again, after they changed or removed something."""
        pin = self.pin(who)
        if pin is None or (to == "SG" and who != TAN and (who != MAI or self.at_home(who))):
            return  # the law forbids it
        source = pin.moving or pin.home
        if source == to:  # a mover that was killed after the pin turned left something somewhere
            left = [place for place in self.files if self.lying(place, who)]
            source = next((place for place in left if place != to), to)
        if source == to:
            return
        if late is not None:
            self.write_late(who, late[0], 3, whole=late[1])
        if self.moves(who, source, to, kill) or between is None:
            return
        self.finish_late()
        key, removes = between
        if removes:
            self.remove(who, key)
        else:
            self.write(who, key)
        self.moves(who, source, to, None)

    def moves(self, who: str, source: str, to: str, kill: int | None) -> bool:
        """Run the mover for one subject; False = it was killed."""

        async def wait(_: float) -> None:
            for sink in self.files.values():  # writers who had begun are given time; those who send go on sending
                sink.let_go()
            for _ in range(20):
                await asyncio.sleep(0)
            assert not any(sink.waiting for sink in self.files.values())
            self.world.clock.advance(GRACE)
            here = await self.world.pins.get(self.digest(who))
            if here is not None and here.moving is not None:
                await self.look_while_moving(who)
            self.plug()

        mover = Mover(self.world.point.homes, self.journal, wait)
        ends = [RecordParcels(self.moved(place)) for place in (source, to)]
        self.plug.at, self.plug.calls = kill, 0
        going = Going(who, self.digest(who), self.pin(who))
        try:
            done, moved = self.tries(mover.move([Leg("files", ends[0], ends[1])], source, to, [going]))
        except PulledError:
            return False
        finally:
            self.plug.at = None
        if done and going.digest in moved.home:
            assert not self.lying(source, who), "home, and still there"
        return True

    async def look_while_moving(self, who: str) -> None:
        """Meanwhile what they have is there."""

        async def look() -> dict[str, bytes | None]:
            store = current().store("files")
            return {key: await store.get(f"users/{who}/{key}") for key in "ab"}

        try:
            found = await self.asked(who, "GET", look)
        except ResidencyError:
            return
        for key, value in found.items():
            assert value in self.kept[who].of(key)

    @rule(who=people)
    def erase(self, who: str) -> None:
        """Somebody is forgotten in all places."""
        if self.is_moving(who) or self.late:
            return
        copies = [
            Copy("files", POLICY.deployment.sinks[sink.name].sink, self.records(place))
            for place, sink in self.files.items()
        ]
        upkeep = Upkeep(self.world.point)

        async def begin(copy: Copy, why: str, rules: tuple[str, ...]) -> UpkeepAct:
            return await upkeep.begin(copy.store, copy.sink, Operation.ERASE, why, rules=rules)

        terms = Terms(POLICY, self.world.facts.current(), self.world.clock.now())
        person = Person(self.digest(who), None, Finding(), {})
        done, answer = self.tries(erasure.erase(copies, terms, who, person, begin=begin))
        for key in self.kept[who].may:
            if done and answer.complete:
                self.acknowledged(who, key, None)
            else:
                self.kept[who].may[key] |= {None}

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def nothing_of_people_at_home_lies_abroad(self) -> None:
        """Not in a store, a cache, a queue, a request, a log, or a metric."""
        abroad: dict[str, bytes] = {"files": bytes(self.files["SG"].ever)}
        for (store, place), sink in self.caches.items():
            if place == "SG":
                held = [key + value for key, (value, _) in sink._values.items()]
                jobs = [job for queue in sink._queues.values() for job, _, _ in queue.values()]
                abroad[store] = b"\0".join([*held, *jobs])
        abroad["llm"] = b"\0".join(repr(request).encode() + body for request, body in self.heard["SG"].sent)
        abroad["log"] = b"\0".join(self.world.journal.records)
        abroad["metrics"] = repr(self.world.metrics).encode()
        assert [where for where, data in abroad.items() if CANARY in data] == []

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        """At the place that the pin names, and nothing else."""
        for who in PEOPLE:
            pin = self.pin(who)
            if pin is None:
                assert all(None in may for may in self.kept[who].may.values())
                continue
            values = self.files[pin.moving or pin.home]._values
            for key in "ab":
                found = values.get(f"users/{who}/{key}")
                assert (None if found is None else found[1]) in self.kept[who].of(key), (who, key)


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=settings().max_examples, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("removes", [True, False])
@pytest.mark.parametrize("late", [None, True, False])
def test_wherever_a_mover_is_killed_the_next_run_brings_nothing_back_and_loses_nothing(
    removes: bool, late: bool | None
) -> None:
    ended = False
    for kill in range(1, 30):
        world = Places()
        world.settle()
        if late is not None:
            world.write_late(MAI, "b", 3, whole=late)
        ended = world.moves(MAI, "SG", "VN", kill)
        world.finish_late()
        if removes:
            world.remove(MAI, "a")
        else:
            world.write(MAI, "a")
        world.moves(MAI, "SG", "VN", None)
        world.teardown()
        if ended:
            break
    assert ended, "it was killed at each of its steps"


@pytest.mark.parametrize(("who", "third"), [(MAI, "KR"), (TAN, "KR"), (TAN, "SG")])
@pytest.mark.parametrize("removes", [True, False])
def test_what_a_killed_mover_left_behind_never_becomes_anybodys_data_again(who: str, third: str, removes: bool) -> None:
    """Who has moved on, or back, finds nothing old: not what they have removed or changed since."""
    ended = False
    for kill in range(1, 30):
        world = Places()
        world.settle()
        ended = world.moves(who, "SG", "VN", kill)
        world.remove(who, "a") if removes else world.write(who, "a")
        pin = world.pin(who)
        if pin is not None and (pin.home, pin.moving) == ("VN", None):
            for _ in range(2):  # then what lies where nobody lives any more
                world.move(who, third, None, None, None)
                world.what_was_acknowledged_is_there()
        world.teardown()
        if ended:
            break
    assert ended, "it was killed at each of its steps"
