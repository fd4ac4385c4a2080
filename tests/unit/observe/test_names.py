"""The table of metrics is what dashboards are written against."""

from __future__ import annotations

import re

from residency.observe import names
from residency.observe.names import Kind


def test_names_are_unique_and_follow_prometheus_conventions() -> None:
    assert len(names.BY_NAME) == len(names.METRICS)
    for spec in names.METRICS:
        assert re.fullmatch(r"residency_[a-z_]+", spec.name)
        assert spec.name.endswith("_total") == (spec.kind is Kind.COUNTER)
        assert spec.help.endswith(".")


def test_no_label_can_carry_a_person() -> None:
    allowed = set(
        "jurisdiction effect store basis anchor reason digest name metric event source sha256 version".split()
    )
    allowed |= {"clock", "escalation", "exemption", "older_than", "rule", "sink", "standing"}
    assert {label for spec in names.METRICS for label in spec.labels} <= allowed


def test_every_constant_names_a_metric_of_the_table() -> None:
    constants = {value for value in vars(names).values() if isinstance(value, str) and value.startswith("residency_")}
    assert constants == set(names.BY_NAME)
