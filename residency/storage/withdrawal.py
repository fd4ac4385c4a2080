"""A sink with copies in; those that may no more be there deleted, and told, out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from residency.errors import Unavailable
from residency.model import Operation, Sink
from residency.storage.copied import Held
from residency.storage.outbox import WAITING, Deciding, Outbox, Owner, Permit, Round, Target, Wanted

__all__ = ["withdraw"]


async def withdraw(
    target: Target,
    homes: Mapping[str, tuple[Sink, Outbox]],
    deciding: Deciding,
    *,
    go: bool = True,
    page: int = 200,
) -> Round:
    """Go through all copies in `target`, and delete those that may no more be there (`go` False = only count them).

    `homes` by place: the sink and the outbox of those whose home it is, where a note stays so that a copy is made anew
    once it may be. Killed, it is simply begun again. Raises: SinkUnavailable, and as `Deciding`.
    """
    done = Round()
    after = ""
    while subjects := await target.copied.records.subjects(after=after, limit=page):
        after = subjects[-1]
        owners = await deciding.owners(subjects)
        there = await target.copied.of([each async for each in target.copied.records.read(subjects)])
        done.notes += sum(each.ours for each in there.values())
        ended: dict[str, list[tuple[Held, Permit]]] = {}
        for each in there.values():
            subject = each.record.subject
            pin = None if subject is None else owners[subject].pin
            if subject is None or not each.ours or pin is None or pin.moving is not None:
                continue
            if pin.home not in homes or pin.home == target.sink.place:
                continue
            permit = deciding.judge(each.record, owners[subject], target.sink, homes[pin.home][0])
            if permit.reason is not None and permit.reason not in WAITING:
                done.held[permit.reason] = done.held.get(permit.reason, 0) + 1
                ended.setdefault(subject, []).append((each, permit))
        if go and ended:
            done.deleted += await _withdraw(target, ended, owners, homes, deciding)
    return done


async def _withdraw(
    target: Target,
    ended: Mapping[str, list[tuple[Held, Permit]]],
    owners: Mapping[str, Owner],
    homes: Mapping[str, tuple[Sink, Outbox]],
    deciding: Deciding,
) -> int:
    wanted = []
    for subject, some in ended.items():
        pin = owners[subject].pin
        if pin is not None:
            await homes[pin.home][1].note([(each.record.name, each.record.key) for each, _ in some])
        reason, rules = some[0][1].reason, some[0][1].rules
        why = f"copy withdrawn, {len(some)} records, {reason}"
        wanted.append(Wanted(target.sink, Operation.ERASE, owners[subject], Permit(reason, rules=rules), why))
    acts = await deciding.begin(wanted)
    gone = 0
    for act, some in zip(acts, ended.values(), strict=True):
        try:
            count = await target.copied.drop([each for each, _ in some])
        except BaseException:
            with suppress(Unavailable):  # an intent that stays open says as much
                for each in acts:
                    each.told("unknown", "copy, nobody knows what came of it")
            raise
        gone += count
        act.told("committed" if count else "failed", f"copy, {count} records deleted")
    await deciding.settled()
    return gone
