"""What the register cannot tell, since no store saw it; and how it names a place that nobody knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from residency.audit.dossiers import Dossier, State
from residency.audit.transfers import Flow, FlowKey
from residency.cli.audit.register_rows import flow_rows, register_lines, unobserved
from tests.world import load_policy, write_deployment

DEPLOYMENT = """
sinks:
  llm-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "https://llm.example/"}
stores: {llm: [llm-sg]}
activities:
  - {route: "POST /ask", subject: app, data: [personal], http: llm}
  - {route: "POST /old", subject: app, data: [personal], http: model}
"""


def test_an_activity_whose_service_is_a_store_is_observed(tmp_path: Path) -> None:
    assert unobserved(load_policy(write_deployment(tmp_path, DEPLOYMENT))) == ("POST /old",)
    assert unobserved(None) == ()


def read_from(place: str) -> Flow:
    key = FlowKey("VN", "GET /people", "read", ("personal",), "", "vn", "vn-han", place, "VN", "VN", ("reader",))
    return Flow(key, 0, 0, 0, 1)


def test_data_that_was_read_is_told_by_where_its_reader_is_in_words_where_nobody_knows() -> None:
    told = "\n".join(register_lines(None, {}, [read_from("SG"), read_from("ZZ")], (), 2, 0))
    assert "read from SG, out of vn in vn-han" in told
    assert "read from a place that nobody knows, out of vn in vn-han" in told
    head, *rows = flow_rows(None, [read_from("SG"), read_from("ZZ")])
    assert [row[head.index("recipient_country")] for row in rows] == ["SG", "unknown"]
    assert "ZZ" not in told


def test_days_of_a_dossier_say_whose_clocks_they_are_on() -> None:
    dossier = Dossier(
        "VN", "vn.transfer_dossier", "first_transfer", "60-days", (), State.CLOCK_RUNNING, first=None, noted=None,
        began=None, deadline=None, began_on=None, last_day=None, offset=0, days_since=None, days_left=None, filings=(),
        flows=(), not_mentioned=(), begun_after=(), disagreement=None,
    )  # fmt: skip
    for offset, clocks in ((420, "UTC+07:00"), (0, "UTC"), (-210, "UTC-03:30")):
        told = "\n".join(register_lines(None, {}, [], [replace(dossier, offset=offset)], 0, 0))
        assert told.endswith(f"Dossier vn.transfer_dossier of VN: clock running; its days are those at {clocks}")
