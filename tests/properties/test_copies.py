"""Copies, whatever the app, the law, the mover and kills do: nothing lost, nothing abroad before home, nothing left."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from residency.storage.copied import Key
from tests.copies_memory import PLACES, CopiesWorld, run
from tests.move_world import PulledError

WHO = {"an": True, "binh": True, "carol": False}  # whether the law covers them


def owner(key: Key) -> str:
    """Whose a key is."""
    return key[1].rstrip("123456789")


people = st.sampled_from(sorted(WHO))
keys = st.sampled_from(["1", "2", "3"])


class Copying(RuleBasedStateMachine):
    """An app with people at home in VN, JP or SG, of whom copies are wanted in SG."""

    def __init__(self) -> None:
        super().__init__()
        self.world = CopiesWorld()
        self.homes = {"an": "vn", "binh": "vn", "carol": "jp"}
        self.model: dict[str, dict[str, bytes]] = {who: {} for who in WHO}
        self.past: set[tuple[str, bytes]] = set()
        self.number = 0
        self.stopped = False
        self.world.watch.permitted = self.permitted
        self.world.watch.lives = lambda key: self.world.pinned(owner(key))[0]

    def permitted(self, home: str, key: Key) -> bool:
        """Whether a copy of this may be made from `home` now: the law as a person reads it."""
        who = owner(key)
        lives, moving = self.world.pinned(who)
        first = not WHO[who] or home == "vn"  # recorded in Vietnam first, or not covered
        return not self.stopped and moving is None and lives == PLACES[home] and first

    @initialize()
    def pins(self) -> None:
        for who, home in self.homes.items():
            run(self.world.settle(who, PLACES[home], covered=WHO[who]))

    @rule(who=people, key=keys)
    def writes(self, who: str, key: str) -> None:
        self.number += 1
        value = f"{who} {key} {self.number}".encode()
        self.world.write(self.homes[who], who, who + key, value)
        self.model[who][who + key] = value
        self.past.add((who + key, value))

    @rule(who=people, key=keys)
    def deletes(self, who: str, key: str) -> None:
        if self.model[who].pop(who + key, None) is not None:
            self.world.write(self.homes[who], who, who + key, None)

    @rule(who=people, key=keys)
    def loses_without_a_note(self, who: str, key: str) -> None:
        if self.model[who].pop(who + key, None) is not None:
            self.world.lose(self.homes[who], who + key)

    @rule(at=st.one_of(st.none(), st.integers(1, 40)))
    def copies(self, at: int | None) -> None:
        self.killed(self.world.copy, at)

    @rule(at=st.one_of(st.none(), st.integers(1, 12)))
    def walks(self, at: int | None) -> None:
        if not self.world.at["sg"].away:
            self.killed(self.world.walk, at)

    @rule(stopped=st.booleans())
    def orders(self, stopped: bool) -> None:
        self.stopped = stopped
        self.world.deployed.stop(*(["sg"] if stopped else []))

    @rule(away=st.booleans())
    def goes_away(self, away: bool) -> None:
        self.world.at["sg"].away = away

    @rule()
    def loses_marks(self) -> None:
        """Homes are restored from a backup, or copies were made before there were marks."""
        for name, marks in self.world.marks.items():
            marks.held.clear()
            run(self.world.sent[name].doubt("sg"))

    @rule(seconds=st.integers(0, 700))
    def waits(self, seconds: int) -> None:
        self.world.deployed.clock.advance(seconds * 1_000_000)

    @precondition(lambda self: not self.world.at["sg"].away)
    @rule(who=people, to=st.sampled_from(sorted(PLACES)), walking=st.booleans())
    def moves(self, who: str, to: str, walking: bool) -> None:
        source, self.homes[who] = self.homes[who], to
        if source != to:
            # What waited for a sink that was away is due: else a copy of what was deleted may arrive with its subject.
            self.world.deployed.clock.advance(700_000_000)
            between = self.both if walking else self.world.copy
            run(self.world.move(who, source, to, covered=WHO[who], between=between))

    async def both(self) -> None:
        """A walk and a copier, between two steps of a move."""
        await self.world.walk()
        await self.world.copy()

    @precondition(lambda self: not self.world.at["sg"].away)
    @rule(who=people)
    def erased(self, who: str) -> None:
        run(self.world.erase(who))
        self.model[who] = {}
        for at in self.world.at.values():
            assert all(record.subject != who for record in at.held.values())
        for outbox in self.world.outboxes.values():
            assert not [row for row in outbox.rows.values() if row.note.key.startswith(who) and row.reason is None]
        for marks in self.world.marks.values():
            assert who not in {owner(key) for key in marks.of(marks.held)}
        run(self.world.settle(who, PLACES[self.homes[who]], covered=WHO[who]))

    @precondition(lambda self: not self.world.at["sg"].away)
    @rule()
    def in_the_end(self) -> None:
        """Left alone, the copies are what they should be."""
        for _ in range(12):
            self.world.deployed.clock.advance(700_000_000)
            run(self.world.copy())
            run(self.world.walk())
        stopped = bool(self.world.deployed.facts.current().stop_orders)
        for who, home in self.homes.items():
            if home == "sg":
                continue
            allowed = not stopped and (not WHO[who] or home == "vn")  # recorded in Vietnam first, or not covered
            assert self.world.lies("sg", who) == (self.model[who] if allowed else {})
            pending = [r for o in self.world.outboxes.values() for r in o.rows.values() if r.note.key.startswith(who)]
            assert not allowed or not pending

    @invariant()
    def nothing_is_lost_and_nothing_is_abroad_that_was_not_at_home(self) -> None:
        for who, home in self.homes.items():
            assert self.world.lies(home, who) == self.model[who]
        for key, value in self.world.lies("sg").items():
            assert value is not None
            assert (key, value) in self.past

    def killed(self, work: object, at: int | None) -> None:
        """The process that does `work` is killed at the `at`-th change."""
        self.world.plug.calls, self.world.plug.at = 0, at
        with suppress(PulledError):
            run(work())  # type: ignore[operator]  # a method
        self.world.plug.at = None


Copying.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_copies_are_made_halted_and_withdrawn = Copying.TestCase
