"""Subjects, both ends of their way and what was copied in; whose records are the same at both ends, and what is to be
done with those of whom they are not, out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from residency.storage.moves import Leg, Step
from residency.storage.parcels import NOTHING, Parcel

__all__ = ["equal", "judge"]


async def equal(
    legs: Sequence[Leg], ids: Mapping[str, str], steps: Mapping[str, Step], sure: Collection[str]
) -> set[str]:
    """Those who still have at the source what was copied, and have all of it at the target."""
    same = set(ids)
    for leg in legs:
        copies = {each: steps[each].copies.get(leg.store) for each in same}
        now = await leg.source.tally([ids[each] for each in same])
        same = {each for each in same if now.get(ids[each], NOTHING) == copies[each]}
        unsure = [each for each in same if each not in sure]
        there = await leg.target.tally([ids[each] for each in unsure])
        odd = [each for each in unsure if there.get(ids[each], NOTHING) != copies[each]]
        if odd:  # somebody who lives there has more than what was copied
            subjects = [ids[each] for each in odd]
            theirs, ours = await leg.target.take(subjects), await leg.source.take(subjects)
            same -= {
                each for each in odd
                if ours.digest(ids[each]) != copies[each] or not theirs.holds(ours, ids[each])
            }  # fmt: skip
    return same


async def judge(
    legs: Sequence[Leg], ids: Mapping[str, str], steps: Mapping[str, Step]
) -> tuple[dict[str, Parcel], set[str], set[str], set[str]]:
    """(by store what is at the source, those of whom all of that is at the target, those who are to be copied once more
    for a writer came late, those of whom somebody must judge)."""
    found: dict[str, Parcel] = {}
    clean, redo = set(ids), set(ids)
    for leg in legs:
        found[leg.store] = now = await leg.source.take(list(ids.values()))
        there = await leg.target.take(list(ids.values()))
        # A deletion that a crash cut short left some of what was copied, and the target has them all, or is newer.
        copies = {each: steps[each].copies.get(leg.store) for each in ids}
        clean -= {
            each
            for each in ids
            if now.digest(ids[each]) != copies[each]
            and not there.holds(now, ids[each])
            and not steps[each].marked(leg.store, now, ids[each])
        }
        # Back to the source go the reads of those only who have nothing new at the target, and all of it here.
        redo -= {
            each
            for each in ids
            if there.digest(ids[each]) != copies[each] or not there.keys(ids[each]) <= now.keys(ids[each])
        }
    redo -= clean
    return found, clean, redo, set(ids) - clean - redo
