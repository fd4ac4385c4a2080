"""Notes of what changed at home in; copies abroad as the decision of now permits them, and no others, out.

A note says "this key changed", and stands beside the data in the same transaction. The copier reads what the key holds
now, decides, and makes the copy the same; only then the note goes. So whatever is killed wherever: a note that is
worked off twice does nothing the second time.

| step | what happens                                    | a crash after it leaves                          |
|------|-------------------------------------------------|--------------------------------------------------|
| 1    | notes read, then what their keys hold at home   | nothing                                          |
| 2    | decided for each; intents durable               | open intents                                     |
| 3    | pins and facts reread; copies noted in the ledger | open intents, a note of a copy that is not there |
| 4    | copies written or deleted                       | open intents, the copies                         |
| 5    | outcomes durable                                | the copies, and notes that are found to be done  |
| 6    | exactly those notes deleted                     | nothing                                          |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from residency.errors import RecordConflict, SinkUnavailable, Unavailable
from residency.model import Operation, Sink
from residency.storage.copied import Held, Key
from residency.storage.outbox import CopyAct, Deciding, Note, Outbox, Owner, Permit, Round, Target, Wanted
from residency.storage.records import KeyedRecords, Record
from residency.storage.transforms import treated

__all__ = ["Copier"]

_SOON: Final = 1.0  # seconds
_LATER: Final = 600.0
_ALL: Final = 1_000_000


@dataclass(slots=True)
class _Plan:
    """What is to be done at one target."""

    puts: dict[str, list[tuple[Record, Held | None, Permit]]] = field(default_factory=dict)
    drops: dict[str | None, list[Held]] = field(default_factory=dict)


class Copier:
    """Works off the outbox of one store in one sink, its home. `others` are the store's other sinks that may be
    somebody's home, by place; `keep` answers whether the outbox is still ours."""

    __slots__ = ("_deciding", "_own", "home", "keep", "others", "outbox", "records", "targets")

    def __init__(
        self,
        home: Sink,
        records: KeyedRecords,
        outbox: Outbox,
        targets: Sequence[Target],
        deciding: Deciding,
        *,
        others: Mapping[str, KeyedRecords] | None = None,
        keep: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.home = home
        self.records = records
        self.outbox = outbox
        self._own = next((target.copied for target in targets if target.sink.name == home.name), None)
        self.targets = tuple(target for target in targets if target.sink.name != home.name)
        self.others = dict(others or {})
        self.keep = keep
        self._deciding = deciding

    async def once(self, limit: int = 200) -> Round:
        """One look at the notes whose time has come. Raises: SinkUnavailable where home is away, and as `Deciding`."""
        notes = await self.outbox.take(limit)
        done = Round(len(notes))
        if not notes:
            return done
        keys = list(dict.fromkeys((note.name, note.key) for note in notes))
        here = await self.records.get(keys)
        held: dict[Key, str] = {}
        for target in self.targets:
            try:
                await self._sync(target, keys, here, held, done)
            except SinkUnavailable:
                held |= dict.fromkeys(keys, "unreachable")
        await self.outbox.done([note for note in notes if (note.name, note.key) not in held])
        by: dict[tuple[str, float], list[Note]] = {}
        for note in notes:
            reason = held.get((note.name, note.key))
            if reason is not None:
                by.setdefault((reason, _patience(reason, note.tries)), []).append(note)
        for (reason, seconds), some in by.items():
            await self.outbox.hold(some, reason, seconds)
            done.held[reason] = done.held.get(reason, 0) + len(some)
        return done

    async def settle(self, keys: Collection[Key]) -> int:
        """Have no copy, and no note, of those of these that home has no more, nor of any that is noted and gone, for
        nobody can say whose that was; how many copies and notes there were.

        Raises: as `once`, SinkUnavailable too where a target is away.
        """
        await self.outbox.release()
        noted = {(note.name, note.key) for note in await self.outbox.take(_ALL)}
        here = await self.records.get(keys := {*keys, *noted})
        gone = [key for key in sorted(keys) if key not in here]
        held: dict[Key, str] = {}
        done = Round()
        for target in self.targets:
            await self._sync(target, gone, {}, held, done)
        clear = [key for key in gone if key not in held]
        for target in self.targets:
            await target.copied.forget(clear)
        return done.deleted + await self.outbox.forget(clear)

    async def _sync(
        self, target: Target, keys: Sequence[Key], here: Mapping[Key, Record], held: dict[Key, str], done: Round
    ) -> None:
        version = self._deciding.version()
        there = await target.copied.held(keys)
        subjects = {each.subject for each in here.values()} | {each.record.subject for each in there.values()}
        owners = await self._deciding.owners({each for each in subjects if each is not None})
        plan = _Plan()
        gone = [key for key in keys if key not in here and key in there and there[key].ours]
        copies = await self._copies_here(here, owners)
        elsewhere = await self._elsewhere(gone, target)
        for key in keys:
            reason = self._plan(target, here.get(key), there.get(key), owners, copies, elsewhere, plan)
            if reason is not None:
                held[key] = reason
        await self._carry_out(target, plan, owners, version, held, done)

    def _plan(
        self,
        target: Target,
        record: Record | None,
        there: Held | None,
        owners: Mapping[str, Owner],
        copies: Collection[Key],
        elsewhere: Collection[Key],
        plan: _Plan,
    ) -> str | None:
        """Put into `plan` what is to be done with one key; why it has to wait, None = it has not."""
        ours = there is not None and there.ours
        if record is None or record.subject is None:
            if there is None or not ours:
                return None
            subject = there.record.subject
            pin = None if subject is None else owners[subject].pin
            if pin is not None and pin.moving is not None:
                return "subject_moving"
            lives_there = pin is not None and pin.home == target.sink.place
            if lives_there or (there.record.name, there.record.key) in elsewhere:
                return None  # it is at home there, or where another outbox tells of it
            plan.drops.setdefault(subject, []).append(there)
            return None
        owner = owners[record.subject]
        pin = owner.pin
        if pin is not None and pin.moving is not None:
            return "subject_moving"
        if pin is not None and pin.home != self.home.place:
            # Nothing goes abroad from here. What is no copy is on its way here, or away, or lies wrong.
            return None if (record.name, record.key) in copies else "not_at_home"
        permit = self._deciding.judge(record, owner, target.sink, self.home)
        wanted = treated(record, permit.asked, self._deciding.key) if permit.reason is None else None
        if wanted is None:
            if ours and there is not None and target.withdraw:
                plan.drops.setdefault(record.subject, []).append(there)
            return permit.reason or "cannot_be_treated"
        if there is not None and not ours:
            return "not_a_copy"
        plan.puts.setdefault(record.subject, []).append((wanted, there, permit))
        return None

    async def _copies_here(self, here: Mapping[Key, Record], owners: Mapping[str, Owner]) -> set[Key]:
        """Those that are copies themselves, of somebody whose home is another sink."""
        if self._own is None:
            return set()
        guests = []
        for record in here.values():
            pin = None if record.subject is None else owners[record.subject].pin
            if pin is not None and pin.home != self.home.place:
                guests.append(record)
        return {key for key, held in (await self._own.of(guests)).items() if held.ours}

    async def _elsewhere(self, keys: Sequence[Key], target: Target) -> set[Key]:
        """Those of these that another sink than `target` has, which may be their home now."""
        found: set[Key] = set()
        for records in self.others.values():
            if keys and records.sink != target.sink.name:
                found |= set(await records.get(keys))
        return found

    async def _carry_out(
        self,
        target: Target,
        plan: _Plan,
        owners: Mapping[str, Owner],
        version: object,
        held: dict[Key, str],
        done: Round,
    ) -> None:
        await self._unchanged(target, plan)
        wanted = [
            Wanted(
                target.sink, Operation.WRITE, owners[subject], changes[0][2],
                f"copy of {len(changes)} records from {self.home.name}",
            )
            for subject, changes in plan.puts.items()
        ] + [
            Wanted(
                target.sink, Operation.ERASE, None if subject is None else owners[subject], None,
                f"copy withdrawn, {len(some)} records that {self.home.name} has no more or that may not be there",
            )
            for subject, some in plan.drops.items()
        ]  # fmt: skip
        if not wanted:
            return
        acts = await self._deciding.begin(wanted)
        puts = dict(zip(plan.puts, acts[: len(plan.puts)], strict=True))
        drops = dict(zip(plan.drops, acts[len(plan.puts) :], strict=True))
        try:
            stale = await self._changed(owners, [*plan.puts, *plan.drops], version)
            for subject, act in [(each, puts[each]) for each in puts if each in stale]:
                held |= {(record.name, record.key): "changed" for record, _, _ in plan.puts.pop(subject)}
                act.told("failed", "copy, what was decided on changed meanwhile")
            for maybe, act in [(each, drops[each]) for each in drops if each in stale]:
                held |= {(each.record.name, each.record.key): "changed" for each in plan.drops.pop(maybe)}
                act.told("failed", "copy, what was decided on changed meanwhile")
            await self._drop(target, plan.drops, drops, held, done)
            await self._put(target, plan.puts, puts, held, done)
            await self._deciding.settled()
        except BaseException:
            with suppress(Unavailable):  # an intent that stays open says as much
                for act in acts:
                    act.told("unknown", "copy, nobody knows what came of it")
            raise

    async def _unchanged(self, target: Target, plan: _Plan) -> None:
        """Take out of `plan` copies that are there as they should be."""
        for subject, changes in list(plan.puts.items()):
            left = []
            for record, there, permit in changes:
                if there is None or there.digest != await target.copied.digest(self.records, record):
                    left.append((record, there, permit))
            if left:
                plan.puts[subject] = left
            else:
                del plan.puts[subject]

    async def _changed(
        self, before: Mapping[str, Owner], subjects: Iterable[str | None], version: object
    ) -> set[str | None]:
        """Those of whom something was decided that may no more be so."""
        known = list(subjects)
        if self._deciding.version() != version or (self.keep is not None and not await self.keep()):
            return set(known)
        now = await self._deciding.owners({each for each in known if each is not None})
        return {each for each in known if each is not None and now[each].pin != before[each].pin}

    async def _drop(
        self, target: Target, drops: Mapping[str | None, list[Held]], acts: Mapping[str | None, CopyAct],
        held: dict[Key, str], done: Round,
    ) -> None:  # fmt: skip
        for subject, some in drops.items():
            gone = await target.copied.drop(some)
            done.deleted += gone
            if gone < len(some):  # changed meanwhile, or something there refers to it
                left = await target.copied.held([(each.record.name, each.record.key) for each in some])
                held |= {key: held.get(key, "refused_there") for key, each in left.items() if each.ours}
            acts[subject].told("committed" if gone or not some else "failed", f"copy, {gone} records deleted")

    async def _put(
        self,
        target: Target,
        puts: Mapping[str, list[tuple[Record, Held | None, Permit]]],
        acts: Mapping[str, CopyAct],
        held: dict[Key, str],
        done: Round,
    ) -> None:
        changes = [(record, there) for some in puts.values() for record, there, _ in some]
        if not changes:
            return
        refused: set[Key] = set()
        try:
            await target.copied.put(changes, self.records)
        except RecordConflict:
            for change in changes:  # in their order: what others refer to came first
                try:
                    await target.copied.put([change], self.records)
                except RecordConflict:
                    refused.add((change[0].name, change[0].key))
        held |= dict.fromkeys(refused, "refused_there")
        done.copied += len(changes) - len(refused)
        for subject, some in puts.items():
            made = sum((record.name, record.key) not in refused for record, _, _ in some)
            acts[subject].told("committed" if made else "failed", f"copy, {made} records")


def _patience(reason: str, tries: int) -> float:
    """Seconds until a note that is held is looked at again. What the law forbids is looked at when policy or facts
    change, and now and then; what does not answer, more and more seldom."""
    if reason in ("changed", "subject_moving"):
        return _SOON
    if reason in ("unreachable", "refused_there", "not_a_copy", "not_at_home"):
        return min(_SOON * (1 << min(tries, 10)), _LATER)
    return _LATER
