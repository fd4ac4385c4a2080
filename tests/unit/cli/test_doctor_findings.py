"""What doctor finds, as lines for people and for programs."""

from __future__ import annotations

import json

import pytest

from residency.cli.doctor_findings import Finding, show

FOUND = (
    Finding("ok", "all is [red]well[/]"),
    Finding("warn", "not covered: boto3", "use a store", tuple(f"shop/a.py:{line}" for line in range(1, 7))),
)


def test_people_are_told_the_first_places_and_how_many_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(FOUND, as_json=False)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "ok   all is [red]well[/]"
    assert second == "warn not covered: boto3, at shop/a.py:1, shop/a.py:2, shop/a.py:3, shop/a.py:4 and 2 more"
    assert third == "     mend: use a store"


def test_programs_are_told_all_places(capsys: pytest.CaptureFixture[str]) -> None:
    show(FOUND, as_json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(each["places"]) for each in told] == [0, 6]
    assert told[1] == {
        "level": "warn",
        "what": "not covered: boto3",
        "mend": "use a store",
        "places": list(FOUND[1].places),
    }


def test_one_that_is_bad_is_enough() -> None:
    assert not show([*FOUND, Finding("bad", "away")], as_json=True)
