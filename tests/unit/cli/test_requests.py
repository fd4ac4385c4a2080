"""`residency requests`: registered with the law's deadlines, listed overdue first, answered, and never under an id."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from residency.bootstrap import build
from residency.cli.requests import requests_app
from residency.model import Pin, SubjectId
from tests.upkeep_world import ALIAS, run
from tests.world import write_deployment

ASKS = """
  - id: test.deliver
    article: art. 16(3)
    text: Information is given within 24 hours, 3 in emergencies.
    applies: {anchor: territory}
    duty:
      deadlines:
        - {task: authority.deliver, within: 24 hours, from: authority_request}
        - {task: authority.deliver_urgent, within: 3 hours, from: authority_request}
"""
PERSONS = """
  - id: test.persons
    article: art. 5
    text: A reply within 2 working days, erasure within 20 days, extended once by 20.
    applies: {anchor: citizenship, data: [personal]}
    duty:
      deadlines:
        - {task: subject.reply, within: 2 working days, from: request}
        - {task: subject.erase, within: 20 days, from: request}
        - {task: subject.erase_extension, within: 20 days, from: extension}
"""
TEXT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_deployment(tmp_path, TEXT, (ASKS, PERSONS))


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


def told(policy: Path, command: str, *args: str, given: str = "") -> tuple[int, dict[str, object]]:
    code, output = run(requests_app, command, str(policy), *args, "--json", given=given)
    return code, json.loads(output.splitlines()[-1]) if output.strip().startswith("{") else {"output": output}


def test_an_authoritys_request_is_due_by_the_hours_of_the_law(policy: Path) -> None:
    received = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    code, made = told(
        policy, "add", "--kind", "authority.deliver_urgent", "--place", "VN", "--reference", "12/A05",
        "--received", received.isoformat(),
    )  # fmt: skip
    assert code == 0
    assert made["number"] == 1
    assert made["steps"] == [
        {
            "task": "authority.deliver_urgent", "due": (received + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "state": "open", "done": None, "extended": False, "rules": ["test.deliver"],
        }
    ]  # fmt: skip
    code, output = run(requests_app, "show", str(policy), "1")
    assert code == 0
    assert "Test law" in output  # the citation; a narrow terminal breaks it
    assert "12/A05" in output


def test_what_is_overdue_stands_first_and_exits_1_until_it_is_answered(policy: Path) -> None:
    told(policy, "add", "--kind", "subject.erase", "--place", "VN")
    told(policy, "add", "--kind", "authority.deliver", "--place", "VN", "--received", ago(hours=25))
    code, output = run(requests_app, "list", str(policy), "--json")
    states = [(line["number"], line["state"]) for line in map(json.loads, output.splitlines())]
    assert (code, states) == (1, [(2, "overdue"), (1, "open")])
    assert "overdue" in run(requests_app, "list", str(policy))[1]
    assert run(requests_app, "show", str(policy), "2")[0] == 1
    code, answered = told(policy, "answer", "2", "--how", "delivered by courier")
    assert (code, answered["state"], answered["answer"]) == (0, "late", "delivered by courier")
    code, output = run(requests_app, "list", str(policy), "--json")
    assert (code, [json.loads(line)["number"] for line in output.splitlines()]) == (0, [1])
    assert len(run(requests_app, "list", str(policy), "--all", "--json")[1].splitlines()) == 2


def test_a_persons_request_is_kept_under_their_alias_and_never_their_id(policy: Path, tmp_path: Path) -> None:
    async def pin() -> None:
        runtime = build(policy)
        runtime.open()
        digest = runtime.point.digest(SubjectId("subject-4711"))
        await runtime.point.homes.pins.put(Pin(digest, "VN", (), ALIAS, "first_write", "0" * 64, 1))
        await runtime.aclose()

    anyio.run(pin)
    code, made = told(
        policy, "add", "--kind", "subject.erase", "--place", "VN", "--subject-file", "-", given="subject-4711\n"
    )
    assert (code, made["alias"]) == (0, ALIAS)
    assert b"4711" not in (tmp_path / "audit" / "requests.db").read_bytes()
    code, output = run(
        requests_app, "add", str(policy), "--kind", "subject.erase", "--place", "VN", "--subject", "nobody-known"
    )
    assert code == 0
    assert "no pin" in output
    assert "nobody-known" not in output


def test_one_step_is_answered_and_a_term_extended_once(policy: Path) -> None:
    told(policy, "add", "--kind", "subject.erase", "--place", "VN")
    _, replied = told(policy, "answer", "1", "--step", "subject.reply")
    assert [step["state"] for step in replied["steps"]] == ["done", "open"]  # type: ignore[attr-defined]  # JSON
    code, later = told(policy, "answer", "1", "--step", "subject.erase", "--extend")
    assert code == 0
    assert [step["extended"] for step in later["steps"]] == [False, True]  # type: ignore[attr-defined]  # JSON
    assert run(requests_app, "answer", str(policy), "1", "--step", "subject.erase", "--extend")[0] == 2
    assert run(requests_app, "answer", str(policy), "1", "--extend")[0] == 2


@pytest.mark.parametrize(
    "args",
    [
        ("--kind", "subject.nonsense", "--place", "VN"),
        ("--kind", "authority.deliver", "--place", "SG"),
        ("--kind", "authority.deliver", "--place", "VN", "--received", "2026-11-20T10:00"),
        ("--kind", "authority.deliver", "--place", "VN", "--received", "2999-01-01T00:00Z"),
        ("--kind", "authority.deliver", "--place", "VN", "--received", "yesterday"),
        ("--kind", "authority.deliver", "--place", "VN", "--reference", "Nguyễn Văn An, 12 Hàng Bạc"),
    ],
)
def test_wrong_use_registers_nothing(policy: Path, tmp_path: Path, args: tuple[str, ...]) -> None:
    code, output = run(requests_app, "add", str(policy), *args)
    assert code == 2
    assert "residency: " in output
    assert not (tmp_path / "audit" / "requests.db").exists()


def test_kinds_are_told_with_their_terms(policy: Path) -> None:
    code, found = told(policy, "kinds", "--place", "VN")
    assert code == 0
    assert found == {
        "authority.deliver_urgent": "3 hours", "authority.deliver": "24 hours", "subject.reply": "2 working days",
        "subject.erase": "20 days",
    }  # fmt: skip
    assert run(requests_app, "kinds", str(policy), "--place", "FR")[0] == 0


def test_an_empty_register_is_fine_and_makes_no_file(policy: Path, tmp_path: Path) -> None:
    assert run(requests_app, "list", str(policy)) == (0, "No request is open.\n")
    assert run(requests_app, "show", str(policy), "1")[0] == 2
    assert not (tmp_path / "audit" / "requests.db").exists()
