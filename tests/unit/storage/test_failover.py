"""Failover: every state of every member, every order of faults; home or nowhere, and no change twice."""

from __future__ import annotations

from itertools import product
from typing import Final, NamedTuple

import pytest

from residency.errors import UsageError
from residency.model import NEUTRAL, Decision, Effect, Finding, Pin, Sink, SinkVerdict
from residency.storage.failover import BOUNDS, Attempt, Bounds, Circuit, Told, check_places
from residency.storage.routing import choose

SMALL: Final = Bounds(limit=2, rest=2, lease=3)
"""The same machine with bounds so small that all its states can be told one by one."""
NOW: Final = 100


def _circuits() -> list[Circuit]:
    """Every state that a circuit can be in at NOW, as the walk below finds them all."""
    found, waiting = {Circuit()}, [Circuit()]
    while waiting:
        circuit = waiting.pop()
        after = [circuit.told(how, NOW, SMALL) for how in Told] + [circuit.begun(NOW, SMALL)]
        after += [Circuit(each.failures, max(NOW - 1, each.until - 1)) for each in found if each.until is not None]
        for each in after:
            if each not in found:
                found.add(each)
                waiting.append(each)
    return sorted(found, key=lambda circuit: (circuit.failures, circuit.until or 0))


CIRCUITS: Final = _circuits()


class Walk(NamedTuple):
    """One way that an act can go: the members that it was tried at, and what each said."""

    tried: tuple[int, ...]
    said: tuple[Told, ...]
    after: tuple[Circuit, ...]


def walks(circuits: tuple[Circuit, ...], *, changes: bool) -> list[Walk]:
    """Every order of faults that one act can meet."""
    found: list[Walk] = []

    def go(attempt: Attempt, walk: Walk) -> None:
        member = attempt.next(walk.after, NOW)
        if member is None:
            found.append(walk)
            return
        for how in Told:
            after = list(walk.after)
            after[member] = after[member].begun(NOW, SMALL).told(how, NOW, SMALL)
            go(attempt.told(member, how), Walk((*walk.tried, member), (*walk.said, how), tuple(after)))

    go(Attempt(changes), Walk((), (), circuits))
    return found


def _verdict(name: str, place: str) -> SinkVerdict:
    return SinkVerdict(Sink(name, place.lower(), place, place, place, True), Effect.PERMIT, None)


def test_the_states_of_a_circuit_are_few_and_all_known() -> None:
    # closed with 0 or 1 failure; after the second: open (2 or 1 left), half-open (0 left, or past), lent (3 left)
    assert len(CIRCUITS) == 7
    assert {circuit.admits(NOW) for circuit in CIRCUITS} == {True, False}


@pytest.mark.parametrize("members", [1, 2, 3])
def test_in_every_state_and_order_of_faults_an_act_stays_home_and_no_change_is_made_twice(members: int) -> None:
    """7, 49 and 343 states, homes, reads and changes, every order of what members may say: 8,444 ways in all."""
    decision = Decision(
        activity=None, effect=Effect.PERMIT, mode="enforce", reason=None, duty=NEUTRAL,
        sinks=(_verdict("people-vn", "VN"), _verdict("people-sg", "SG")), rules=(), observed=(), jurisdictions=(),
        presumed=(), finding=Finding(), evidence=frozenset(), policy="0" * 64, epoch=1,
    )  # fmt: skip
    seen = 0
    for home, changes in product(("VN", "SG"), (False, True)):
        pin = Pin("0" * 64, home, (), "a" * 32, "test", "0" * 64, 0)
        for circuits in product(CIRCUITS, repeat=members):
            routed = choose(decision, pin, None, order=("people-vn", "people-sg"))
            places = tuple(routed.sink.place for _ in circuits)
            check_places(routed.sink.name, routed.sink.place, places)
            for walk in walks(circuits, changes=changes):
                seen += 1
                # Home: every member that was tried lies there. The other sink has no part in it, well as it is.
                assert {places[member] for member in walk.tried} <= {home}
                # Each once, in their order, and none whose circuit is open.
                assert list(walk.tried) == sorted(set(walk.tried))
                assert all(circuits[member].admits(NOW) for member in walk.tried)
                # Whoever answered, or may have what was changed, was the last.
                last = walk.said[-1] if walk.said else None
                assert Told.ANSWERED not in walk.said[:-1]
                if changes:
                    assert Told.BROKE not in walk.said[:-1]
                # Nowhere: it gives up only where no member is left that may be asked.
                if last is not Told.ANSWERED and not (changes and last is Told.BROKE):
                    assert set(walk.tried) == {at for at, each in enumerate(circuits) if each.admits(NOW)}
    assert seen == {1: 60, 2: 708, 3: 7676}[members]


class Act(NamedTuple):
    """An act on its way, and the member that it waits for."""

    attempt: Attempt
    at: int | None = None


def _steps(circuits: tuple[Circuit, ...], act: Act) -> list[tuple[tuple[Circuit, ...], Act]]:
    """All that may happen next to one act: it begins at a member, or the member says something."""
    if act.at is None:
        member = act.attempt.next(circuits, NOW)
        if member is None:
            return []
        lent = circuits[member].begun(NOW, SMALL)
        # Half-open it is lent to this act: no other is let through, whoever that is and whatever it tried before.
        assert circuits[member].until is None or not lent.admits(NOW)
        return [((*circuits[:member], lent, *circuits[member + 1 :]), act._replace(at=member))]
    member, found = act.at, []
    for how in Told:
        after = (*circuits[:member], circuits[member].told(how, NOW, SMALL), *circuits[member + 1 :])
        found.append((after, Act(act.attempt.told(member, how))))
    return found


def test_of_two_acts_at_once_every_interleaving_lends_a_half_open_member_to_one_alone() -> None:
    reached = {(circuits, Act(Attempt(True)), Act(Attempt(False))) for circuits in product(CIRCUITS, repeat=2)}
    waiting = list(reached)
    while waiting:
        circuits, one, other = waiting.pop()
        after = [(now, act, other) for now, act in _steps(circuits, one)]
        after += [(now, one, act) for now, act in _steps(circuits, other)]
        for state in after:
            if state not in reached:
                reached.add(state)
                waiting.append(state)
    ended = [state for state in reached if not _steps(state[0], state[1]) and not _steps(state[0], state[2])]
    assert (len(reached), len(ended)) == (774, 216)
    assert all(act.at is None for _, *acts in ended for act in acts)  # every act comes to its end


@pytest.mark.parametrize("circuit", CIRCUITS, ids=str)
def test_a_member_that_answers_is_trusted_whatever_it_was(circuit: Circuit) -> None:
    assert circuit.told(Told.ANSWERED, NOW, SMALL) == Circuit()


@pytest.mark.parametrize("circuit", CIRCUITS, ids=str)
def test_no_circuit_stays_open_for_ever(circuit: Circuit) -> None:
    failed = circuit.told(Told.BROKE, NOW, SMALL)
    assert failed.admits(NOW + SMALL.rest)
    assert circuit.begun(NOW, SMALL).admits(NOW + SMALL.lease)  # also where nobody ever told what became of it


def test_a_circuit_opens_after_as_many_failures_in_a_row_as_are_said() -> None:
    circuit = Circuit()
    for _ in range(BOUNDS.limit - 1):
        circuit = circuit.told(Told.UNREACHED, 0)
        assert circuit.admits(0)
    assert not circuit.told(Told.UNREACHED, 0).admits(BOUNDS.rest - 1)


def test_a_member_elsewhere_is_no_member() -> None:
    with pytest.raises(UsageError, match="'people-vn' lies elsewhere"):
        check_places("people-vn", "VN", ("VN", "SG"))
