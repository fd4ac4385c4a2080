"""What is to be done with copies at one target in; recorded, decided on once more, marked at home, and done, out.

A mark that a key is sent is durable before the first byte of it goes. Then it is looked at what is there, and what is
somebody's own is never noted as a copy: a mover may be about to delete it, or have just put it there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from residency.errors import RecordConflict, SinkUnavailable, Unavailable
from residency.model import Operation, Sink
from residency.storage.copied import Held, Key
from residency.storage.outbox import CopyAct, Deciding, Owner, Permit, Round, Target, Wanted
from residency.storage.records import KeyedRecords, Record
from residency.storage.sent import Sent

__all__ = ["Carrier", "Plan"]


@dataclass(slots=True)
class Plan:
    """What is to be done at a target, by subject; a put with what was found there, None = nothing, or nobody looked."""

    puts: dict[str, list[tuple[Record, Held | None, Permit]]] = field(default_factory=dict)
    drops: dict[str | None, list[Held]] = field(default_factory=dict)


class Carrier:
    """Carries out what a copier of one home plans. `keep` answers whether the outbox is still ours."""

    __slots__ = ("_deciding", "_home", "_records", "_sent", "keep")

    def __init__(self, home: Sink, records: KeyedRecords, sent: Sent, deciding: Deciding) -> None:
        self._home = home
        self._records = records
        self._sent = sent
        self._deciding = deciding
        self.keep: Callable[[], Awaitable[bool]] | None = None

    async def carry_out(
        self, target: Target, plan: Plan, owners: Mapping[str, Owner], version: object, held: dict[Key, str],
        done: Round,
    ) -> set[Key]:  # fmt: skip
        """Do it; those keys of which nothing is there now. `version` is what was decided by; `held` is told why one
        has to wait. Raises: SinkUnavailable, and as `Deciding`."""
        gone: set[Key] = set()
        await self._unchanged(target, plan)
        wanted = [
            Wanted(
                target.sink, Operation.WRITE, owners[subject], changes[0][2],
                f"copy of {len(changes)} records from {self._home.name}",
            )
            for subject, changes in plan.puts.items()
        ] + [
            Wanted(
                target.sink, Operation.ERASE, None if subject is None else owners[subject], None,
                f"copy withdrawn, {len(some)} records that {self._home.name} has no more or that may not be there",
            )
            for subject, some in plan.drops.items()
        ]  # fmt: skip
        if not wanted:
            return gone
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
            gone |= await self._drop(target, plan.drops, drops, held, done)
            gone |= await self._put(target, plan.puts, puts, held, done)
            await self._deciding.settled()
        except BaseException:
            with suppress(Unavailable):  # an intent that stays open says as much
                for act in acts:
                    act.told("unknown", "copy, nobody knows what came of it")
            raise
        return gone

    async def _unchanged(self, target: Target, plan: Plan) -> None:
        """Take out of `plan` copies that are there as they should be."""
        for subject, changes in list(plan.puts.items()):
            left = []
            for record, there, permit in changes:
                if there is None or there.digest != await target.copied.digest(self._records, record):
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
    ) -> set[Key]:  # fmt: skip
        gone: set[Key] = set()
        for subject, some in drops.items():
            count = await target.copied.drop(some)
            done.deleted += count
            keys = {(each.record.name, each.record.key) for each in some}
            if count < len(some):  # changed meanwhile, or something there refers to it
                left = await target.copied.held(keys)
                held |= {key: held.get(key, "refused_there") for key, each in left.items() if each.ours}
                keys -= left.keys()
            gone |= keys
            acts[subject].told("committed" if count or not some else "failed", f"copy, {count} records deleted")
        return gone

    async def _put(
        self,
        target: Target,
        puts: Mapping[str, list[tuple[Record, Held | None, Permit]]],
        acts: Mapping[str, CopyAct],
        held: dict[Key, str],
        done: Round,
    ) -> set[Key]:
        changes = [(record, there) for some in puts.values() for record, there, _ in some]
        if not changes:
            return set()
        new = [_key(record) for record, there in changes if there is None]
        await self._sent.mark(target.sink.name, new)
        # A look before anything is noted: what lies there of somebody who was moved away is theirs until the mover has
        # deleted it, and would pass for a copy while it is noted as one.
        found = await target.copied.held(new) if new else {}
        refused = {key: "not_a_copy" for key, each in found.items() if not each.ours}
        changes = [(record, there or found.get(_key(record))) for record, there in changes]
        free = [(record, there) for record, there in changes if _key(record) not in refused]
        gone: set[Key] = set()
        try:
            if free:
                await target.copied.put(free, self._records)
        except (RecordConflict, SinkUnavailable) as error:
            # A sink that is away is away here, too; one that answers refuses one of them, which holds up no other.
            doubt = isinstance(error, SinkUnavailable)
            found = await target.copied.held([_key(record) for record, there in free if there is None or doubt])
            for record, there in free:  # in their order: what others refer to came first
                key = _key(record)
                reason = await self._put_one(target, record, found.get(key) if doubt else there or found.get(key))
                if reason is not None:
                    refused[key] = reason
                    gone |= {key} if there is None and key not in found else set()
        held |= refused
        done.copied += len(changes) - len(refused)
        for subject, some in puts.items():
            made = sum(_key(record) not in refused for record, _, _ in some)
            acts[subject].told("committed" if made else "failed", f"copy, {made} records")
        return gone

    async def _put_one(self, target: Target, record: Record, there: Held | None) -> str | None:
        """Why it cannot be put; None = it is there."""
        if there is not None and not there.ours:
            return "not_a_copy"
        if there is not None and there.digest == await target.copied.digest(self._records, record):
            return None
        try:
            await target.copied.put([(record, there)], self._records)
        except RecordConflict:
            return "refused_there"
        except SinkUnavailable:
            await target.copied.held([_key(record)])
            return "refused_there"
        return None


def _key(record: Record) -> Key:
    return record.name, record.key
