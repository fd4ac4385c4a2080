"""What `Facts` promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.facts_memory import FactsMemory
from residency.enforcement.ports import Facts
from residency.model import FactSet, StopOrder

ORDERS = st.lists(
    st.builds(StopOrder, st.sampled_from("12"), st.sampled_from(["*", "people-sg"]), st.just(0)), max_size=2
).map(tuple)


def test_the_facts_given_are_the_facts_answered() -> None:
    facts: Facts = FactsMemory(FactSet(7, (), (StopOrder("1", "*", 0),)))
    assert facts.epoch() == 7
    assert facts.current() == FactSet(7, (), (StopOrder("1", "*", 0),))


@given(st.lists(st.tuples(st.integers(0, 20), ORDERS), max_size=20))
def test_the_epoch_grows_with_every_change_and_with_nothing_else(
    changes: list[tuple[int, tuple[StopOrder, ...]]],
) -> None:
    facts = FactsMemory(FactSet(3))
    for epoch, orders in changes:
        before = facts.current()
        after = facts.replace(FactSet(epoch, (), orders))
        assert after == facts.current()
        assert after.stop_orders == orders
        assert facts.epoch() == after.epoch
        assert (after.epoch > before.epoch) == (orders != before.stop_orders)
        assert after.epoch >= before.epoch
