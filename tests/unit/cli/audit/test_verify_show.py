"""What was not checked is said before what holds; what is odd is said after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from residency.audit.checkpoint import Checkpoint, VerifierKey
from residency.audit.findings import Finding
from residency.audit.redecide import Redecide
from residency.cli.audit.verify_log import Asked, Verified
from residency.cli.audit.verify_show import show, show_findings
from residency.cli.audit.verify_witness import Witnessed
from residency.policy.replay import Gap, Replayer

ASKED = Asked(None, (), None, replay=True, max_gap=1, now=3_600_000_001, progress=False)
CHECKPOINT = Checkpoint("[b]log", 5, bytes(32))
KEY = VerifierKey("[b]log", bytes(32))


def nothing(_path: str) -> bytes | None:
    return None


def again(right: int, missing: int) -> Redecide:
    redecide = Redecide(Replayer(lambda _: None, lambda _: None))
    redecide.right = right
    redecide.gaps = Counter({Gap.POLICY_MISSING: missing}) if missing else Counter()
    return redecide


def shown(redecide: Redecide | None, *findings: Finding, asked: Asked = ASKED, **more: object) -> str:
    log = Verified("log", nothing, KEY, b"", CHECKPOINT, None, 1, Counter({"intent": 5}), 2, redecide, findings)
    console = Console(width=120, file=StringIO())
    show(console, log, asked, **more)  # type: ignore[arg-type]  # named by each test
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]  # the buffer above


@pytest.mark.parametrize(
    ("redecide", "asked", "told"),
    [
        (again(5, 0), ASKED, "5 of 5 decisions were made again, all as recorded."),
        (again(3, 1), ASKED, "3 of 4 decisions were made again (75.00%), all as recorded."),
        (None, ASKED, "No decision was made again: there is no archive"),
        (None, replace(ASKED, replay=False), "No decision was made again, as was asked."),
    ],
)
def test_coverage_comes_first(redecide: Redecide | None, asked: Asked, told: str) -> None:
    text = shown(redecide, asked=asked)
    assert text.startswith(told)
    assert text.index(told) < text.index("The log holds.")


def test_what_is_in_the_log_is_told_with_names_as_they_are() -> None:
    text = shown(again(5, 0), second=True, seen_by=Witnessed(replace(CHECKPOINT, size=3), ()))
    for told in (
        "[b]log",
        "5  (intent 5)",
        "2  (see: residency audit open)",
        "1970-01-01 00:00:00.000 UTC, 60.0 min ago",
        "ML-DSA-44, holds",
        "the first 3 entries",
    ):
        assert told in text
    assert "ML-DSA-44, NOT THERE" in shown(again(5, 0), second=False)


def test_findings_come_last_one_a_line() -> None:
    text = shown(again(5, 0), Finding("time_gap", "one [x]"), Finding("future", "two"))
    assert text.rstrip().endswith("Finding: one [x]\nFinding: two")
    console = Console(width=120, file=StringIO())
    show_findings(console, ())
    assert console.file.tell() == 0
