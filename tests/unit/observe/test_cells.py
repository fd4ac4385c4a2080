"""The cells count what they are told, and nothing that is unknown is shown as 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import JournalFailed, UsageError
from residency.model import Activity, Decision, Duty, Effect, Finding, Operation, Reason, SubjectSource
from residency.observe import names
from residency.observe.cells import BUCKETS, Family, Metrics


def decision(
    effect: Effect = Effect.PERMIT,
    *,
    mode: str = "enforce",
    reason: Reason | None = None,
    jurisdictions: tuple[str, ...] = ("VN",),
    presumed: tuple[str, ...] = (),
    store: str | None = "people",
) -> Decision:
    activity = Activity(
        name="GET /v1/people/{id}",
        method="GET",
        path="/v1/people/{id}",
        subject=SubjectSource("path", "id"),
        data=frozenset({"personal"}),
        operation=Operation.READ,
        stores=() if store is None else (store,),
    )
    return Decision(
        activity=activity,
        effect=effect,
        mode=mode,
        reason=reason,
        duty=Duty(),
        sinks=(),
        rules=(),
        observed=(),
        jurisdictions=jurisdictions,
        presumed=presumed,
        finding=Finding(),
        evidence=frozenset(),
        policy="0" * 64,
        epoch=1,
    )


def family(metrics: Metrics, name: str) -> Family:
    return next(f for f in metrics.families() if f.spec.name == name)


def test_a_decision_counts_once_per_covering_jurisdiction_and_once_in_all() -> None:
    metrics = Metrics()
    metrics.count(metrics.decision_cells(decision(jurisdictions=("EU", "VN"))))
    assert metrics.value(names.DECISIONS, "EU", "permit", "people") == 1
    assert metrics.value(names.DECISIONS, "VN", "permit", "people") == 1
    assert metrics.value(names.DECIDED, "signal") == 1
    assert metrics.value(names.DECIDED, "presumption") == 0


def test_a_decision_that_no_law_covers_counts_as_none() -> None:
    metrics = Metrics()
    metrics.count(metrics.decision_cells(decision(jurisdictions=(), store=None)))
    assert metrics.value(names.DECISIONS, "none", "permit", "none") == 1


def test_the_share_decided_by_presumption_can_be_read_from_two_series() -> None:
    metrics = Metrics()
    metrics.count(metrics.decision_cells(decision(presumed=("VN:territory", "VN:citizenship"))))
    metrics.count(metrics.decision_cells(decision()))
    assert metrics.value(names.DECIDED, "presumption") == metrics.value(names.DECIDED, "signal") == 1
    assert metrics.value(names.PRESUMED, "VN", "territory") == 1
    assert metrics.value(names.PRESUMED, "VN", "citizenship") == 1


def test_a_refusal_is_counted_as_one_only_where_it_binds() -> None:
    metrics = Metrics()
    refused = decision(Effect.DENY, reason=Reason.NOT_HOME)
    metrics.count(metrics.decision_cells(refused))
    observed = decision(Effect.DENY, reason=Reason.NOT_HOME, mode="observe")
    metrics.count(metrics.decision_cells(observed))
    metrics.count(metrics.decision_cells(observed))
    assert metrics.value(names.REFUSALS, "not_home") == 1
    assert metrics.value(names.WOULD_REFUSE, "not_home") == 2


def test_an_acts_refusal_is_counted_by_its_reason() -> None:
    metrics = Metrics()
    metrics.refusal(Reason.JOURNAL_FULL)
    metrics.refusal("journal_full")
    metrics.refusal(Reason.STOP_ORDER, observed=True)
    metrics.exempt()
    assert metrics.value(names.REFUSALS, "journal_full") == 2
    assert metrics.value(names.WOULD_REFUSE, "stop_order") == 1
    assert metrics.value(names.EXEMPT) == 1


def test_binding_twice_gives_the_same_cells() -> None:
    metrics = Metrics()
    assert metrics.decision_cells(decision()) == metrics.decision_cells(decision())


def test_every_refusal_reason_has_a_series_before_its_first_increment() -> None:
    shown = {labels[0] for labels, _ in family(Metrics(), names.REFUSALS).series}
    assert shown == {reason.value for reason in Reason}


@given(st.integers(min_value=-5, max_value=2**24))
def test_a_duration_lands_in_the_lowest_bucket_whose_bound_holds_it(micros: int) -> None:
    metrics = Metrics()
    metrics.overhead(micros)
    histogram = family(metrics, names.OVERHEAD).histogram
    assert histogram is not None
    (bucket,) = [i for i, count in enumerate(histogram.counts) if count]
    expected = next((i for i in range(BUCKETS) if micros <= 2**i), BUCKETS)
    assert bucket == expected
    assert histogram.sum_micros == max(micros, 0)


def test_an_unknown_gauge_has_no_sample_and_a_known_zero_has_one() -> None:
    metrics = Metrics()
    metrics.gauge(names.LOG_SIZE, lambda: 0)
    metrics.gauge(names.ADDRESS_DATA_AGE, lambda: None)
    assert family(metrics, names.LOG_SIZE).series == (((), 0.0),)
    assert family(metrics, names.ADDRESS_DATA_AGE).series == ()


def test_a_gauge_that_fails_is_left_out_and_counted_and_the_others_stay() -> None:
    def failing() -> float:
        raise JournalFailed("the journal cannot be read")

    metrics = Metrics()
    metrics.gauge(names.JOURNAL_BACKLOG, failing)
    metrics.gauge(names.LOG_SIZE, lambda: 7)
    assert family(metrics, names.JOURNAL_BACKLOG).series == ()
    assert family(metrics, names.LOG_SIZE).series == (((), 7.0),)
    assert metrics.value(names.SCRAPE_ERRORS, names.JOURNAL_BACKLOG) == 2


def test_the_policy_in_force_is_read_at_each_scrape() -> None:
    digest = ["aa"]
    metrics = Metrics()
    metrics.info(names.INFO, lambda: (digest[0], "chat-api", "0"))
    digest[0] = "bb"
    assert family(metrics, names.INFO).series == ((("bb", "chat-api", "0"), 1.0),)


@pytest.mark.parametrize("name", ["residency_nonsense_total", names.LOG_SIZE, names.OVERHEAD])
def test_only_counters_of_the_table_can_be_counted(name: str) -> None:
    with pytest.raises(UsageError):
        Metrics().cell(name)


def test_the_wrong_number_of_labels_is_a_mistake_at_once() -> None:
    with pytest.raises(UsageError, match="jurisdiction, effect, store"):
        Metrics().cell(names.DECISIONS, "VN")
    with pytest.raises(UsageError):
        Metrics().gauge(names.LOG_SIZE, lambda: 1, "extra")
    with pytest.raises(UsageError):
        Metrics().info(names.DECISIONS, lambda: ("a",))
