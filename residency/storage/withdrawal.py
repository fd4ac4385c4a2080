"""A sink with copies in; those that may no more be there deleted, those that home has no more noted, out.

What home loses past its triggers leaves no note: a partition that is dropped, a backup that is put back, an object that
a bucket's own rule expires. So whoever walks over copies asks home for their keys, and notes what it has no more. The
copier works that off like any note: it reads home anew, so that what is being written just now is not mistaken. While
copies are deleted, nobody moves their people to where they lie: originals would come in the place of some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Final, NamedTuple

from residency.errors import Unavailable
from residency.model import Operation, Sink
from residency.storage.copied import Held, Key
from residency.storage.fitting import Fitting, weight
from residency.storage.outbox import WAITING, Deciding, Owner, Permit, Round, Target, Wanted
from residency.storage.sent import Elsewhere

__all__ = ["PAGE", "Alone", "Home", "Homes", "walk", "withdraw"]

PAGE: Final = 200
"""Subjects whose copies are looked at together, at most."""


class Home(NamedTuple):
    """A sink that is a home, and what lies there: records, notes, and marks of what was sent."""

    sink: Sink
    kept: Elsewhere


Homes = Mapping[str | None, Sequence[Home]]
"""The homes by place; under None the one of whom no pin tells where they live, where a store has one home only."""

Alone = Callable[[Home], AbstractAsyncContextManager[None]]
"""While inside nobody else works for a home (`still`)."""


def _alone(home: Home) -> AbstractAsyncContextManager[None]:
    return nullcontext()


async def withdraw(
    target: Target,
    homes: Homes,
    deciding: Deciding,
    *,
    ended: bool = True,
    go: bool = True,
    page: int = PAGE,
    alone: Alone = _alone,
) -> Round:
    """Go through all copies in `target` as `walk` does. Killed, it is simply begun again. Raises: as `walk`."""
    done, after, fit = Round(), "", Fitting(page)
    while (
        last := await walk(target, homes, deciding, done, after, ended=ended, go=go, fit=fit, alone=alone)
    ) is not None:
        after = last
    return done


async def walk(
    target: Target,
    homes: Homes,
    deciding: Deciding,
    done: Round,
    after: str,
    *,
    ended: bool,
    fit: Fitting,
    go: bool = True,
    alone: Alone = _alone,
) -> str | None:
    """Look at the copies of the next few subjects after `after`, and add to `done` what was found; the last of these
    subjects, None = there are no more.

    What a home has no more is noted there. Where `ended`, copies whose permission has ended are deleted, and noted, so
    that they are made anew once they may be. `go` False = all of it is only counted. `alone` is entered for the home of
    records while their copies are deleted. Raises: SinkUnavailable, and as `Deciding`.
    """
    subjects = await target.copied.records.subjects(after=after, limit=fit.now)
    if not subjects:
        return None
    owners = await deciding.owners(subjects)
    held = [each async for each in target.copied.records.read(subjects)]
    fit.saw(len(subjects), weight(held))
    there = await target.copied.of(held)
    lying: dict[str | None, list[Held]] = {}
    for each in there.values():
        done.notes += each.ours
        if each.ours and each.record.subject is not None:
            pin = owners[each.record.subject].pin
            place = None if pin is None else pin.home
            if place in homes and place != target.sink.place and (pin is None or pin.moving is None):
                lying.setdefault(place, []).append(each)
    for place, some in lying.items():
        gone = await _gone(homes[place], some)
        home = homes[place][0]
        if gone:
            done.gone[home.sink.name] = done.gone.get(home.sink.name, 0) + len(gone)
        if gone and go:
            await home.kept.sent.mark(target.sink.name, gone)  # that list tells of it, so that it may be asked for
            await home.kept.outbox.note(gone)
        if ended:
            left = [each for each in some if _key(each) not in gone]
            ending = _ending(target, home, left, owners, deciding, done)
            if ending and go:
                async with alone(home):
                    await _end(target, home, ending, owners, deciding, done)
    return subjects[-1]


async def _gone(homes: Sequence[Home], copies: Sequence[Held]) -> set[Key]:
    """The keys of those copies whose records none of these homes has any more, or has as nobody's."""
    gone = {_key(each) for each in copies}
    for home in homes:
        here = await home.kept.records.get(sorted(gone))
        gone -= {key for key, record in here.items() if record.subject is not None}
    return gone


def _ending(
    target: Target, home: Home, copies: Sequence[Held], owners: Mapping[str, Owner], deciding: Deciding, done: Round
) -> dict[str, list[tuple[Held, Permit]]]:
    """By subject those whose permission has ended."""
    ended: dict[str, list[tuple[Held, Permit]]] = {}
    for each in copies:
        subject = each.record.subject or ""
        permit = deciding.judge(each.record, owners[subject], target.sink, home.sink)
        if permit.reason is not None and permit.reason not in WAITING:
            done.held[permit.reason] = done.held.get(permit.reason, 0) + 1
            ended.setdefault(subject, []).append((each, permit))
    return ended


async def _end(
    target: Target,
    home: Home,
    ended: Mapping[str, Sequence[tuple[Held, Permit]]],
    owners: Mapping[str, Owner],
    deciding: Deciding,
    done: Round,
) -> None:
    """Delete these. What a mover has put in their place since they were read is known for no copy any more."""
    keys = [_key(each) for some in ended.values() for each, _ in some]
    await home.kept.outbox.note(keys)
    wanted = []
    for subject, some in ended.items():
        reason, rules = some[0][1].reason, some[0][1].rules
        why = f"copy withdrawn, {len(some)} records, {reason}"
        wanted.append(Wanted(target.sink, Operation.ERASE, owners[subject], Permit(reason, rules=rules), why))
    acts = await deciding.begin(wanted)
    for act, some in zip(acts, ended.values(), strict=True):
        try:
            count = await target.copied.drop([each for each, _ in some])
        except BaseException:
            with suppress(Unavailable):  # an intent that stays open says as much
                for open_one in acts:
                    open_one.told("unknown", "copy, nobody knows what came of it")
            raise
        done.deleted += count
        act.told("committed" if count else "failed", f"copy, {count} records deleted")
    # Who knows already that they may be there again may have worked off the first notes before the copies went.
    await home.kept.outbox.note(keys)
    await deciding.settled()


def _key(held: Held) -> Key:
    return held.record.name, held.record.key
