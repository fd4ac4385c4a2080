"""A refusal leaves one entry, is counted once, and is what the request is answered with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from residency.enforcement.refusing import refuse, refuse_activity, refuse_as
from residency.model import Reason
from residency.observe import names


@pytest.mark.parametrize(("counted", "times"), [(False, 1), (True, 0)])
def test_a_refusal_is_recorded_once_and_counted_unless_it_was(
    make_world: Callable[..., Any], counted: bool, times: int
) -> None:
    world = make_world()
    with world.request(who="an") as here:
        error = refuse(here, Reason.NOT_HOME, "not here", sink="sg", rules=(), counted=counted)
        assert (error.reason, error.rules) == ("not_home", ())
        answer = here.trail.refusal
        assert answer is not None
        assert (answer.reason, answer.message, answer.rules) == (Reason.NOT_HOME, "not here", ())
    assert [(entry.kind, entry.reason, entry.sink) for entry in world.entries] == [("refusal", "not_home", "sg")]
    assert world.metrics.value(names.REFUSALS, "not_home") == times


def test_without_rules_of_its_own_a_refusal_cites_those_that_decided(make_world: Callable[..., Any]) -> None:
    world = make_world()
    with world.request(who="an") as here:
        error = refuse(here, Reason.ONLY_IN_COUNTRY, "not there")
        assert error.rules == tuple(rule.id for rule in here.decision.rules) == ("test.home",)
        assert error.citations == tuple(rule.citation for rule in here.decision.rules)


def test_an_activity_is_refused_for_the_reason_that_stands_against_it(make_world: Callable[..., Any]) -> None:
    world = make_world()
    with world.request(who="an") as here:
        assert here.forbidden is None
        assert refuse_activity(here).reason == "internal", "whoever asks for it without one has a fault of their own"


@pytest.mark.parametrize(("word", "reason"), [("no_sink", Reason.NO_SINK), ("no such word", Reason.INTERNAL)])
def test_what_was_raised_without_a_record_gets_one(make_world: Callable[..., Any], word: str, reason: Reason) -> None:
    world = make_world()
    with world.request(who="an") as here:
        answer = refuse_as(here, word)
        assert (answer.reason, answer.rules) == (reason, ())
        assert answer.seq is not None
    assert [entry.reason for entry in world.entries] == [reason.value]
