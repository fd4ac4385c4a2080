"""Where an act may begin: on a sink that the decision permits, or to read where data lies until it is moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from residency.enforcement.admission import check_sink, check_store, follows
from residency.errors import Refused, SubjectUnknown, UnknownStore
from residency.model import Operation, Pin

MOVING = Pin("d" * 64, "VN", (), "a" * 32, "move", "p", 0, 1, "SG")


def test_a_store_or_sink_that_the_activity_does_not_have_is_told_and_leaves_no_refusal(
    make_world: Callable[..., Any],
) -> None:
    world = make_world()
    with world.request(who="an") as here:
        check_store(here, "people")
        with pytest.raises(UnknownStore, match="no store 'letters'"):
            check_store(here, "letters")
        with pytest.raises(UnknownStore, match="no sink 'us'"):
            check_sink(here, "us", Operation.WRITE)
    assert "refusal" not in world.kinds


@pytest.mark.parametrize(
    ("operation", "may"),
    [(Operation.READ, True), (Operation.PROCESS, True), (Operation.WRITE, False), (Operation.ERASE, False)],
)
def test_only_who_reads_follows_data_to_where_it_lies_until_it_is_moved(
    make_world: Callable[..., Any], operation: Operation, may: bool
) -> None:
    world = make_world()
    with world.request("GET", who="an") as here:
        there = here.decision.sink("sg")
        assert not follows(here, there, operation), "nothing is on its way"
        here.pin = MOVING
        assert follows(here, there, operation) is may
        here.pin = replace(MOVING, moving="US")
        assert not follows(here, there, operation), "it lies elsewhere"


def test_a_sink_that_bears_anothers_mark_takes_nothing(make_world: Callable[..., Any]) -> None:
    world = make_world()
    world.stores.misplaced = {"vn"}
    with world.request(who="an") as here, pytest.raises(Refused) as refused:
        check_sink(here, "vn", Operation.WRITE)
    assert refused.value.reason == "sink_misplaced"


def test_before_the_subject_is_known_no_store_opens(make_world: Callable[..., Any]) -> None:
    world = make_world()
    with world.request("POST", "/sign-up") as here, pytest.raises(SubjectUnknown, match="before identify"):
        here.begin("people", "vn")
    assert [(entry.kind, entry.reason) for entry in world.entries][-1] == ("refusal", "subject_unknown")
