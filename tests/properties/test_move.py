"""A move that is killed at any of its steps loses nothing, doubles nothing, and leaves nobody's reads empty."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from residency.errors import SinkUnavailable
from residency.model import Pin
from tests.move_world import MoveWorld, PulledError, digest, run

PEOPLE = ("anh", "binh", "chi")
STORES = ("people", "uploads")
KEYS = ("1", "2", "3")
people, stores, keys = st.sampled_from(PEOPLE), st.sampled_from(STORES), st.sampled_from(KEYS)
values = st.sampled_from([b"a", b"b"])


class Moves(RuleBasedStateMachine):
    """People whose data lies in Singapore, moved home by runs that are killed anywhere, while they read and write.

    `truth` is what was acknowledged. A request goes where the pin says: reads to where the data still lies while it
    moves, writes home, and none while it moves. A writer that began before the pin moved ends while the mover waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = MoveWorld(STORES)
        self.truth: dict[str, dict[tuple[str, str], bytes]] = {person: {} for person in PEOPLE}

    def pin(self, person: str) -> Pin | None:
        return run(self.world.pin(person))

    @initialize(filled=st.lists(st.tuples(people, stores, keys, values), min_size=3, max_size=9))
    def fill(self, filled: list[tuple[str, str, str, bytes]]) -> None:
        for person, store, key, value in filled:
            self.write(person, store, key, value)

    @rule(person=people, store=stores, key=keys, value=st.none() | values)
    def write(self, person: str, store: str, key: str, value: bytes | None) -> None:
        pin = self.pin(person)
        if pin is not None and pin.moving is not None:
            return  # refused: try again in a second
        place = "SG" if pin is None or pin.home == "SG" else "VN"
        self.world.put(place, store, person, f"{person}-{key}", value)
        self.acknowledge(person, store, key, value)

    @rule(person=people, store=stores, key=keys, value=values)
    def write_slowly(self, person: str, store: str, key: str, value: bytes) -> None:
        """Confirmed before the pin moves, committed while the mover waits for such writers."""
        pin = self.pin(person)
        if pin is None:
            self.world.writers.append((person, store, f"{person}-{key}", value))

    @rule(person=people)
    def erase(self, person: str) -> None:
        """As `residency erase` does while nobody moves: at both ends, and then the pin, whatever a killed run left."""
        self.world.writers = [each for each in self.world.writers if each[0] != person]
        for place in self.world.at:
            for store, key in self.world.lies(place, person):
                self.world.put(place, store, person, key, None)
        pin = self.pin(person)
        if pin is not None:
            run(self.world.pins.forget(pin.subject, pin.version))
        self.truth[person] = {}

    @rule(who=st.lists(people, min_size=1, unique=True), kill=st.none() | st.integers(1, 90))
    def move(self, who: list[str], kill: int | None) -> None:
        # Those who began before are acknowledged in the wait, whether it is they that are moved or others.
        self.world.plug.at, self.world.plug.calls = kill, 0
        slow = list(self.world.writers)
        try:
            moved = run(self.world.run(who))
        except PulledError:
            moved = None
        self.world.plug.at = None
        if self.world.writers:  # the mover had nobody to wait for, or was killed before: they end all the same
            run(self.world.drained(0.0))
        for person, store, key, value in slow:
            self.acknowledge(person, store, key.removeprefix(f"{person}-"), value)
        if moved is not None:
            assert not moved.conflict
            for person in who:
                if digest(person) in moved.home:
                    assert self.world.lies("SG", person) == {}, "abroad after it was told to be home"
                    assert self.world.lies("VN", person) == self.expected(person)
                    for store, key in self.expected(person):
                        assert self.world.noted(store, key) == {"VN": digest(person)}, "not forgotten where it was"

    @rule(who=st.lists(people, min_size=1, unique=True), place=st.sampled_from(["SG", "VN"]), store=stores)
    def move_while_a_sink_goes_away(self, who: list[str], place: str, store: str) -> None:
        slow, self.world.goes = list(self.world.writers), self.world.at[place][store]
        with suppress(SinkUnavailable):
            run(self.world.run(who))
        self.world.goes.away, self.world.goes = False, None
        if self.world.writers:
            run(self.world.drained(0.0))
        for person, store, key, value in slow:
            self.acknowledge(person, store, key.removeprefix(f"{person}-"), value)

    def acknowledge(self, person: str, store: str, key: str, value: bytes | None) -> None:
        if value is None:
            self.truth[person].pop((store, f"{person}-{key}"), None)
        else:
            self.truth[person][store, f"{person}-{key}"] = value

    def expected(self, person: str) -> dict[tuple[str, str], bytes | None]:
        return dict(self.truth[person])

    @invariant()
    def reads_answer_what_was_written(self) -> None:
        if self.world.writers:
            return
        for person in PEOPLE:
            pin = self.pin(person)
            place = "SG" if pin is None else pin.moving or pin.home
            assert self.world.lies(place, person) == self.expected(person), "a read that is empty, or of another time"

    @invariant()
    def whose_each_record_is_is_known(self) -> None:
        for person in PEOPLE:
            pin = self.pin(person)
            place = "SG" if pin is None else pin.moving or pin.home
            for store, key in self.world.lies(place, person):
                found = self.world.noted(store, key)
                assert set(found.values()) == {digest(person)}, "nobody finds whose it is"
                assert self.world.plug.at is not None or place in found, "a locator that is made anew would lose it"

    def teardown(self) -> None:
        """Whatever happened, one run that nobody kills brings all of them home, and is the same run twice."""
        self.world.plug.at = None
        slow = list(self.world.writers)
        for _ in range(2):
            run(self.world.run(PEOPLE))
            run(self.world.drained(0.0))
        for person, store, key, value in slow:
            self.acknowledge(person, store, key.removeprefix(f"{person}-"), value)
        for person in PEOPLE:
            assert self.world.lies("SG", person) == {}
            assert self.world.lies("VN", person) == self.expected(person)


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=300, stateful_step_count=12, deadline=None)


def test_what_a_deletion_left_abroad_goes_though_its_person_has_changed_something_at_home_since() -> None:
    cut = 0
    for kill in range(1, 60):
        moves = Moves()
        moves.fill([("anh", "uploads", "1", b"a"), ("anh", "uploads", "3", b"a")])
        moves.move(["anh"], kill)
        pin, left = moves.pin("anh"), moves.world.lies("SG", "anh")
        cut += pin is not None and pin.moving is None and pin.home == "VN" and len(left) == 1
        moves.write("anh", "uploads", "3", b"b")
        moves.move(["anh"], None)
        moves.reads_answer_what_was_written()
        moves.teardown()
    assert cut, "no run was killed between two deletions"


def test_a_part_of_a_copy_is_replaced_though_its_person_has_changed_something_where_it_lies_since() -> None:
    cut = 0
    for kill in range(1, 60):
        for value in (b"b", None):
            moves = Moves()
            moves.fill([("anh", "uploads", "1", b"a"), ("anh", "uploads", "3", b"a")])
            moves.move(["anh"], kill)
            cut += len(moves.world.lies("VN", "anh")) == 1
            moves.write("anh", "uploads", "1", value)
            moves.move(["anh"], None)
            moves.reads_answer_what_was_written()
            moves.teardown()
    assert cut, "no run was killed between two copies"
