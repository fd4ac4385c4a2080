"""Notes of what changed at home in; copies abroad as the decision of now permits them, and no others, out.

A note says "this key changed", and stands beside the data in the same transaction. The copier reads what the key holds
now, decides, and makes the copy the same; only then the note goes. So whatever is killed wherever: a note that is
worked off twice does nothing the second time.

| step | what happens                                    | a crash after it leaves                          |
|------|-------------------------------------------------|--------------------------------------------------|
| 1    | notes read, then what their keys hold at home   | nothing                                          |
| 2    | decided for each; which of them were ever sent  | nothing                                          |
| 3    | the target asked for what is there of those     | nothing                                          |
| 4    | intents durable                                 | open intents                                     |
| 5    | pins, facts reread; marked as sent what is new  | open intents, a mark of what may not be there    |
| 6    | what is new looked for; noted in the ledger     | the same, and a note of a copy that is not there |
| 7    | copies written or deleted                       | open intents, marks, the copies                  |
| 8    | outcomes durable                                | the copies, and notes that are found to be done  |
| 9    | marks of what is not there any more removed     | notes that are found to be done                  |
| 10   | exactly those notes deleted                     | nothing                                          |

No sink abroad is asked for a key that it may not have and was never sent: who asks has told it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from residency.errors import SinkUnavailable
from residency.model import Sink
from residency.storage.carried import Carrier, Plan
from residency.storage.copied import Held, Key
from residency.storage.fitting import MOST, Fitting, weight
from residency.storage.outbox import Deciding, Note, Outbox, Owner, Permit, Round, Target
from residency.storage.records import KeyedRecords, Record
from residency.storage.sent import Elsewhere, Sent, learn
from residency.storage.transforms import treated

__all__ = ["Copier"]

_SOON: Final = 1.0  # seconds
_LATER: Final = 600.0
_ALL: Final = 1_000_000
_PAGE: Final = 200
_PART: Final = 50  # records that are read at a time, to be copied
_MANY: Final = 1000  # and where only few are, to see which are gone


class _Meant(NamedTuple):
    """A record of somebody (an id) who lives here, as a copy of it would be, and whether there may be one."""

    subject: str
    record: Record
    permit: Permit


class Copier:
    """Works off the outbox of one store in one sink, its home. `sent` tells what ever went abroad from here; `others`
    are the store's other homes, by place; `keep` answers whether the outbox is still ours."""

    __slots__ = ("_carrier", "_deciding", "_fit", "_own", "home", "others", "outbox", "records", "sent", "targets")

    def __init__(
        self,
        home: Sink,
        records: KeyedRecords,
        outbox: Outbox,
        sent: Sent,
        targets: Sequence[Target],
        deciding: Deciding,
        *,
        others: Mapping[str, Elsewhere] | None = None,
    ) -> None:
        self.home = home
        self.records = records
        self.outbox = outbox
        self.sent = sent
        self._own = next((target.copied for target in targets if target.sink.name == home.name), None)
        self.targets = tuple(target for target in targets if target.sink.name != home.name)
        self.others = dict(others or {})
        self._deciding = deciding
        self._carrier = Carrier(home, records, sent, deciding)
        self._fit = Fitting(_PART)

    @property
    def keep(self) -> Callable[[], Awaitable[bool]] | None:
        """What answers whether the outbox is still ours; None = nobody else has it."""
        return self._carrier.keep

    @keep.setter
    def keep(self, keep: Callable[[], Awaitable[bool]] | None) -> None:
        self._carrier.keep = keep

    async def once(self, limit: int = 200) -> Round:
        """One look at the notes whose time has come. Raises: SinkUnavailable where home is away, and as `Deciding`."""
        notes = await self.outbox.take(limit)
        if not notes:
            return Round()
        keys, here = await self._read(list(dict.fromkeys((note.name, note.key) for note in notes)), self._fit)
        if len(keys) < limit:
            known = frozenset(keys)
            notes = [note for note in notes if (note.name, note.key) in known]
        done = Round(len(notes))
        held: dict[Key, str] = {}
        for target in self.targets:
            try:
                await self._sync(target, keys, here, held, done)
            except SinkUnavailable:
                held |= dict.fromkeys(keys, "unreachable")
        # Of what is held one note is enough: what is written often while it may not go would else heap up.
        first = {(note.name, note.key): note.id for note in reversed(notes)}
        kept = [note for note in notes if (key := (note.name, note.key)) in held and first[key] == note.id]
        keeping = {note.id for note in kept}
        by: dict[tuple[str, float], list[Note]] = {}
        for note in kept:
            reason = held[note.name, note.key]
            by.setdefault((reason, _patience(reason, note.tries)), []).append(note)
        for (reason, seconds), some in by.items():
            await self.outbox.hold(some, reason, seconds)
            done.held[reason] = done.held.get(reason, 0) + len(some)
        await self.outbox.done([note for note in notes if note.id not in keeping])
        return done

    async def settle(self, keys: Collection[Key]) -> int:
        """Have no copy, and no note, of those of these that home has no more, nor of any that is noted and gone, for
        nobody can say whose that was; how many copies and notes there were.

        Raises: as `once`, SinkUnavailable too where a target is away.
        """
        await self.outbox.release()
        left = sorted({*keys, *((note.name, note.key) for note in await self.outbox.take(_ALL))})
        gone, fit = list[Key](), Fitting(_MANY)
        while left:
            keys, here = await self._read(left, fit)
            gone += [key for key in keys if key not in here]
            left = left[len(keys) :]
        held: dict[Key, str] = {}
        done = Round()
        for at in range(0, len(gone), _PAGE):
            for target in self.targets:
                await self._sync(target, gone[at : at + _PAGE], {}, held, done, forget=True)
        return done.deleted + await self.outbox.forget([key for key in gone if key not in held])

    async def _read(self, keys: Sequence[Key], fit: Fitting) -> tuple[Sequence[Key], dict[Key, Record]]:
        """The first of these keys, as many as carry no more than can be held, and what home has of them."""
        here: dict[Key, Record] = {}
        at = size = 0
        while at < len(keys) and size < MOST:
            found = await self.records.get(part := keys[at : at + fit.now])
            # An empty id names nobody, and what is nobody's is not copied: one such row would else hold up all others.
            here.update({key: record for key, record in found.items() if record.subject != ""})
            size += (some := weight(found.values()))
            at += len(part)
            fit.saw(len(part), some)
        return keys[:at], here

    async def _sync(
        self,
        target: Target,
        keys: Sequence[Key],
        here: Mapping[Key, Record],
        held: dict[Key, str],
        done: Round,
        *,
        forget: bool = False,
    ) -> None:
        """Make the copies of these as they should be; `forget` = what else is noted there of those of which nothing of
        ours is there goes too."""
        name, version = target.sink.name, self._deciding.version()
        sent = await self.sent.among(name, keys)
        if sent is None:
            if not await learn(self.sent, target, self.home, self._deciding, self.keep):
                held |= dict.fromkeys(keys, "changed")
                return
            sent = await self.sent.among(name, keys) or frozenset()
        people = {each.subject for each in here.values() if each.subject is not None}
        owners = dict(await self._deciding.owners(people))
        meant = await self._judged(target, keys, here, owners, held)
        gone = [key for key in keys if key in sent and (key not in here or here[key].subject is None)]
        # Nothing else is asked for there: neither who is forbidden and never was there, nor who is moving.
        asked = [*gone, *(key for key in meant if key in sent)]
        there = await target.copied.held(asked) if asked else {}
        ours = {key: found for key, found in there.items() if found.ours}
        people = {found.record.subject for found in ours.values() if found.record.subject is not None}
        owners |= await self._deciding.owners(people - owners.keys())
        plan = Plan()
        for key, (subject, record, permit) in meant.items():
            if permit.reason is not None:
                if key in ours and target.withdraw:
                    plan.drops.setdefault(subject, []).append(ours[key])
            elif key in there and key not in ours:
                held[key] = "not_a_copy"
            else:
                plan.puts.setdefault(subject, []).append((record, there.get(key), permit))
        await self._plan_gone(target, {key: ours[key] for key in gone if key in ours}, owners, held, plan)
        # What home has not, and is not ours there either, nobody here ever touches again.
        over = {key for key in gone if key not in ours}
        over |= {key for key, each in meant.items() if each.permit.reason and key in sent and key not in there}
        over |= await self._carrier.carry_out(target, plan, owners, version, held, done)
        # A note of a copy that was never put would tell of a record with those bytes that comes there one day.
        absent = [key for key in gone if key not in there]
        await target.copied.forget([key for key in over if key in sent] if forget else absent)
        if self.keep is None or not over or await self.keep():
            await self.sent.unmark(name, over)

    async def _judged(
        self,
        target: Target,
        keys: Sequence[Key],
        here: Mapping[Key, Record],
        owners: Mapping[str, Owner],
        held: dict[Key, str],
    ) -> dict[Key, _Meant]:
        """What home has of people who live here, as a copy would be, and whether it may be; `held` is told why one has
        to wait."""
        meant = {}
        copies = await self._copies_here(here, owners)
        for key in keys:
            record = here.get(key)
            if record is None or record.subject is None:
                continue
            owner = owners[record.subject]
            if owner.pin is not None and owner.pin.moving is not None:
                held[key] = "subject_moving"
                continue
            if owner.pin is not None and owner.pin.home != self.home.place:
                # Nothing goes abroad from here. What is no copy is on its way here, or away, or lies wrong.
                if key not in copies:
                    held[key] = "not_at_home"
                continue
            permit = self._deciding.judge(record, owner, target.sink, self.home)
            wanted = treated(record, permit.asked, self._deciding.key) if permit.reason is None else record
            if wanted is None:
                permit = permit._replace(reason="cannot_be_treated")
            if permit.reason is not None:
                held[key] = permit.reason
            meant[key] = _Meant(record.subject, wanted or record, permit)
        return meant

    async def _plan_gone(
        self, target: Target, ours: Mapping[Key, Held], owners: Mapping[str, Owner], held: dict[Key, str], plan: Plan
    ) -> None:
        """Put into `plan` what is to be done with copies of ours of what home has no more."""
        moved: dict[str, list[Key]] = {}
        drops = dict(ours)
        for key, found in ours.items():
            pin = None if found.record.subject is None else owners[found.record.subject].pin
            if pin is not None and pin.moving == self.home.place:
                continue  # a mover deletes here last, so that it was the app: this is not to arrive with the others
            if pin is not None and pin.moving is not None:
                held[key] = "subject_moving"
                del drops[key]
            elif pin is not None and pin.home == target.sink.place:
                del drops[key]  # it is at home there
            elif pin is not None and pin.home != self.home.place and pin.home in self.others:
                moved.setdefault(pin.home, []).append(key)
        for place, keys in moved.items():
            for key in await self._handed_over(target, self.others[place], keys):
                del drops[key]
        for found in drops.values():
            plan.drops.setdefault(found.record.subject, []).append(found)

    async def _handed_over(self, target: Target, home: Elsewhere, keys: Sequence[Key]) -> Collection[Key]:
        """Those of these that `home` has, where their subjects live now: its outbox tells of them, and its marks."""
        found = list(await home.records.get(keys))
        if found:
            await home.sent.mark(target.sink.name, found)
            await home.outbox.note(found)
            await self.sent.unmark(target.sink.name, found)
        return found

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


def _patience(reason: str, tries: int) -> float:
    """Seconds until a note that is held is looked at again. What the law forbids is looked at when policy or facts
    change, and now and then; what does not answer, more and more seldom."""
    if reason in ("changed", "subject_moving"):
        return _SOON
    if reason in ("unreachable", "refused_there", "not_a_copy", "not_at_home"):
        return min(_SOON * (1 << min(tries, 10)), _LATER)
    return _LATER
