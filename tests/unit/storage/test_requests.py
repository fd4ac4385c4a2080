"""Requests: steps and deadlines come from the laws in use, on their working days; each is open, soon or overdue."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from residency.adapters.policy_files import load
from residency.errors import UsageError
from residency.policy.compiler import Policy
from residency.storage.requests import Request, State, Step, answered, extended, kinds, steps_for

HOUR = 3_600_000_000
SOCIAL = Path(__file__).parents[3] / "policies" / "deployments" / "social-api.yaml"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


MONDAY = at("2026-11-23T03:00:00")


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(SOCIAL, {})


def asked(policy: Policy, kind: str, received: int = MONDAY) -> Request:
    return Request(kind, "VN", received, steps_for(policy, policy.facts, kind, "VN", received), alias="ab" * 16)


@pytest.mark.parametrize(
    ("kind", "hours"),
    [
        ("authority.deliver", 24),
        ("authority.deliver_urgent", 3),
        ("content.take_down", 24),
        ("content.take_down_urgent", 6),
        ("breach.notify_authority", 72),
    ],
)
def test_authorities_wait_by_the_hour(policy: Policy, kind: str, hours: int) -> None:
    (step,) = asked(policy, kind).steps
    assert step.due == MONDAY + hours * HOUR
    assert all(rule.startswith("vn.") for rule in step.rules)
    assert step.rules


def test_persons_get_a_reply_in_two_working_days_and_the_rest_in_days_of_vietnam(policy: Policy) -> None:
    access = {step.task: step.due for step in asked(policy, "subject.access").steps}
    # The 24th is a day off in Vietnam.
    assert access == {"subject.reply": at("2026-11-26T17:00:00"), "subject.access": at("2026-12-03T17:00:00")}
    erase = {step.task: step.due for step in asked(policy, "subject.erase").steps}
    assert erase["subject.erase"] == at("2026-12-13T17:00:00")


def test_working_days_are_those_of_the_law_that_sets_the_term(tmp_path: Path) -> None:
    laws = "laws: [vn/decree-356-2025, vn/decree-165-2025, vn/health-cv-365]"  # the first alone names days off
    text = re.sub(r"^laws: .*$", laws, SOCIAL.read_text(), flags=re.MULTILINE)
    file = tmp_path / "deployment.yaml"
    file.write_text(re.sub(r"^registers: .*$", "", text, flags=re.MULTILINE))
    (step,) = asked(load(file, {}), "subject.reply").steps
    assert step.due == at("2026-11-26T17:00:00"), "the 24th is a day off"


def test_a_weekend_is_no_working_day(policy: Policy) -> None:
    friday = at("2026-11-27T03:00:00")
    assert asked(policy, "subject.reply", friday).steps[0].due == at("2026-12-01T17:00:00")


def test_requests_of_before_a_law_go_by_the_law_of_then(policy: Policy) -> None:
    (step,) = asked(policy, "subject.complete", at("2025-03-03T03:00:00")).steps
    assert step.due == at("2025-03-06T03:00:00")
    assert step.rules == ("vn.d13.requests",)


def test_what_no_law_sets_a_term_for_is_a_mistake_that_names_what_there_is(policy: Policy) -> None:
    with pytest.raises(UsageError, match=r"authority\.deliver"):
        asked(policy, "subject.nonsense")
    with pytest.raises(UsageError, match="none"):
        steps_for(policy, policy.facts, "subject.erase", "FR", MONDAY)
    with pytest.raises(UsageError):
        asked(policy, "subject.erase_extension")  # counts from another event than the request


def test_the_law_of_another_place_sets_no_term_here(tmp_path: Path) -> None:
    text = SOCIAL.read_text().replace("laws: [vn/*]", "laws: [vn/*, id/*]")
    file = tmp_path / "both.yaml"
    file.write_text(text.replace("../registers", str(SOCIAL.parents[1] / "registers")))
    both = load(file, {})
    assert "ID" in {law.jurisdiction for law in both.laws}
    found = kinds(both, both.facts, "ID", MONDAY)
    assert all(due.place == "ID" for due in found.values())
    assert "authority.deliver" not in found


@pytest.fixture
def ordered(tmp_path: Path) -> Policy:
    """A foreign operator whom the Minister ordered on 1 November to store in Vietnam."""
    text = (SOCIAL.parent / "ai-chat.yaml").read_text()
    register = (SOCIAL.parents[1] / "registers" / "ai-chat.yaml").read_text()
    order = 'orders: [{kind: vn.localisation_decision, number: "1", date: 2026-11-01}]'
    (tmp_path / "register.yaml").write_text(re.sub(r"^orders: \[\].*$", order, register, flags=re.MULTILINE))
    (tmp_path / "abroad.yaml").write_text(text.replace("../registers/ai-chat.yaml", "register.yaml"))
    return load(tmp_path / "abroad.yaml", {})


def test_force_majeure_is_registered_by_an_operator_abroad_who_was_ordered_to_comply(ordered: Policy) -> None:
    notify, remedy = (
        steps_for(ordered, ordered.facts, f"force_majeure.{what}", "VN", MONDAY) for what in ("notify", "remedy")
    )
    # The 24th is a day off in Vietnam.
    assert notify[0].due == at("2026-11-27T17:00:00")
    assert remedy[0].due > notify[0].due + 30 * 24 * HOUR
    assert notify[0].rules == ("vn.d333.19.6",)


def test_an_order_to_store_at_home_has_twelve_months_from_the_day_it_was_given(ordered: Policy) -> None:
    (step,) = steps_for(ordered, ordered.facts, "localisation.comply", "VN", at("2026-11-01T03:00:00"))
    assert step.due == at("2027-11-01T17:00:00")
    assert step.rules == ("vn.d333.20.1.foreign",)
    assert "localisation.comply" in kinds(ordered, ordered.facts, "VN", MONDAY)
    before = kinds(ordered, ordered.facts, "VN", at("2026-10-30T03:00:00"))
    assert "localisation.comply" not in before, "nothing was ordered then"


def test_a_dossier_is_renewed_by_who_keeps_data_abroad(policy: Policy, ordered: Policy) -> None:
    # At the end of the day six months later, and of the tenth day after a reorganisation; all of it in Vietnam.
    for operator, rule in ((policy, "vn.l91.22"), (ordered, "vn.l91.22.foreign")):
        (renewal,) = steps_for(operator, operator.facts, "filing.update", "VN", MONDAY)
        assert renewal.due == at("2027-05-23T17:00:00")
        assert rule in renewal.rules
        (change,) = steps_for(operator, operator.facts, "filing.update_after_change", "VN", MONDAY)
        assert change.due == at("2026-12-03T17:00:00")
        assert rule in change.rules


def test_an_extension_is_not_registered_by_itself(policy: Policy) -> None:
    assert "subject.access_extension" not in kinds(policy, policy.facts, "VN", MONDAY)


def test_what_nobody_asks_for_is_registered_when_it_began_for_else_nobody_reckons_it(policy: Policy) -> None:
    found = kinds(policy, policy.facts, "VN", MONDAY)
    assert {found["filing.processing_dossier"].event, found["account.verify"].event} == {
        "first_processing",
        "commencement",
    }
    (dossier,) = steps_for(policy, policy.facts, "filing.processing_dossier", "VN", at("2026-11-01T03:00:00"))
    assert dossier.due == at("2026-12-31T17:00:00")
    assert "vn.l91.21" in " ".join(dossier.rules)
    (accounts,) = steps_for(policy, policy.facts, "account.verify", "VN", at("2026-11-01T03:00:00"))
    assert accounts.due == at("2027-01-30T17:00:00")


def test_kinds_are_what_laws_set_terms_for(policy: Policy) -> None:
    found = kinds(policy, policy.facts, "VN", MONDAY)
    assert {"subject.erase", "subject.access", "authority.deliver", "content.take_down"} <= set(found)
    assert "subject.erase_extension" not in found
    assert "localisation.comply" not in found


def test_a_step_is_open_then_soon_then_overdue() -> None:
    step = Step("authority.deliver", 24 * HOUR, ("r",))
    states = [step.state(0, hours * HOUR) for hours in (0, 17, 18, 23, 24, 30)]
    assert states == [State.OPEN, State.OPEN, State.SOON, State.SOON, State.OVERDUE, State.OVERDUE]
    long = Step("subject.erase", 480 * HOUR, ("r",))
    assert [long.state(0, hours * HOUR) for hours in (455, 456)] == [State.OPEN, State.SOON]


def test_what_was_done_in_time_is_done_and_else_late() -> None:
    step = Step("authority.deliver", 24 * HOUR, ("r",))
    assert replace(step, done=23 * HOUR).state(0, 99 * HOUR) is State.DONE
    assert replace(step, done=24 * HOUR).state(0, 99 * HOUR) is State.LATE


def test_a_request_is_as_bad_as_its_worst_step() -> None:
    steps = (Step("a", 10 * HOUR, ()), Step("b", 90 * HOUR, ()))
    request = Request("b", "VN", 0, steps)
    assert request.state(11 * HOUR) is State.OVERDUE
    late = answered(request, "a", 12 * HOUR, None)
    assert late.state(13 * HOUR) is State.OPEN
    assert answered(late, None, 20 * HOUR, "given").state(21 * HOUR) is State.LATE


def test_answering_closes_one_step_or_all(policy: Policy) -> None:
    request = asked(policy, "subject.erase")
    replied = answered(request, "subject.reply", MONDAY + HOUR, None)
    assert not replied.closed
    closed = answered(replied, None, MONDAY + 2 * HOUR, "erased")
    assert closed.closed
    assert closed.answer == "erased"
    assert [step.done for step in closed.steps] == [MONDAY + HOUR, MONDAY + 2 * HOUR]
    with pytest.raises(UsageError, match="already"):
        answered(closed, None, MONDAY, "x")
    with pytest.raises(UsageError, match="no step"):
        answered(request, "subject.access", MONDAY, None)


def test_a_term_is_extended_once_before_it_is_over(policy: Policy) -> None:
    request = asked(policy, "subject.erase")
    later = extended(policy, policy.facts, request, "subject.erase", at("2026-12-10T03:00:00"))
    due = next(step for step in later.steps if step.task == "subject.erase")
    assert due.due == at("2026-12-30T17:00:00")
    assert due.extended
    with pytest.raises(UsageError):
        extended(policy, policy.facts, later, "subject.erase", at("2026-12-11T03:00:00"))
    with pytest.raises(UsageError):
        extended(policy, policy.facts, request, "subject.erase", at("2026-12-20T03:00:00"))
    with pytest.raises(UsageError, match="no extension"):
        extended(policy, policy.facts, request, "subject.reply", MONDAY)
