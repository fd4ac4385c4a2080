"""The cells of a law's table: every combination of answers, and in each the rules that the compiled policy binds."""

from __future__ import annotations

from dataclasses import replace

from residency.model import Anchor, Trust
from residency.policy.tables import MAX_CELLS, cells, named, predicates
from tests.policy_worlds import make_world

RULE = replace(
    next(rule for law in make_world(0, 1).laws for rule in law.rules), excluded_by=None, unless=frozenset[str]()
)
RULES = (
    replace(RULE, id="a", anchors=frozenset({Anchor.TERRITORY})),
    replace(RULE, id="b", anchors=frozenset({Anchor.TERRITORY, Anchor.CITIZENSHIP}), unless=frozenset({"age:x"})),
    replace(RULE, id="c", anchors=frozenset({Anchor.CITIZENSHIP}), excluded_by=Trust.VERIFIED),
)


def test_predicates_are_anchors_with_their_trust_and_what_lifts() -> None:
    assert {named(predicate) for predicate in predicates(RULES)} == {
        "territory",
        "citizenship",
        "citizenship (excluded_by: verified)",
        "unless age:x",
    }


def test_there_is_a_cell_for_each_combination_and_the_right_rules_speak_in_it() -> None:
    found = {
        tuple(holds for _, holds in sorted((named(p), holds) for p, holds in answers.items())): {r.id for r in speaking}
        for answers, speaking in cells(RULES)
    }
    assert len(found) == 16
    # In the order: citizenship, citizenship (excluded_by: verified), territory, unless age:x.
    assert found[False, False, False, False] == set()
    assert found[True, False, False, False] == {"b"}
    assert found[True, True, True, True] == {"a", "c"}
    assert found[False, False, True, False] == {"a", "b"}


def test_rules_that_ask_nothing_of_a_person_have_one_cell() -> None:
    assert len(list(cells(()))) == 1
    assert MAX_CELLS == 4096
