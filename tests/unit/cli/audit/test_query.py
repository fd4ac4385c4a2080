"""`residency audit query`: what an index answers is what the log says, or is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from residency.adapters.log_index import LogIndex
from residency.audit.entry import Entry, format_entry
from residency.bootstrap import build
from residency.cli.audit import audit_app
from residency.enforcement.current import Current
from residency.enforcement.request import Request
from residency.model import SubjectId
from tests.audit_log import INTENT, write_log
from tests.world import HANOI, HOME, handling, write_deployment

runner = CliRunner()
DAY = 86_400_000_000


def some(count: int) -> list[Entry]:
    """Decisions, one an hour, of three people on two sinks by changing rules."""
    base = replace(INTENT, kind="decision")
    return [
        replace(
            base, id=f"0.{number}", at=base.at + number * DAY // 24, subject=f"{number % 3:016x}",
            effect="deny" if number % 5 == 0 else "permit", reason="stop_order" if number % 5 == 0 else None,
            sink="people-sg" if number % 2 else "people-vn", activity=f"GET /{number % 4}",
            rules=("vn.l91.20.2",) if number % 7 == 0 else ("eu.gdpr.44",),
            jurisdictions=("VN",) if number % 3 else ("DE", "VN"),
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "audit" / "log", [format_entry(entry) for entry in some(600)])


def ask(log: Path, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    result = runner.invoke(audit_app, ["query", str(log), "--json", *arguments])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def numbers(log: Path, *arguments: str) -> list[int]:
    return [each["index"] for each in ask(log, *arguments)]


QUESTIONS = [
    (["--effect", "deny"], lambda e, n: e.effect == "deny"),
    (["--rule", "vn.l91.*"], lambda e, n: "vn.l91.20.2" in e.rules),
    (["--sink", "people-sg", "--reason", "stop_order"], lambda e, n: e.sink == "people-sg" and e.reason is not None),
    (["--alias", f"{1:016x}"], lambda e, n: n % 3 == 1),
    (["--alias", f"{9:016x}"], lambda e, n: False),
    (["--jurisdiction", "DE", "--activity", "GET /2"], lambda e, n: n % 3 == 0 and n % 4 == 2),
    (["--kind", "refusal"], lambda e, n: False),
    (["--from", "2026-11-20", "--to", "2026-11-21T12:00+07:00"], lambda e, n: 37 <= n < 66),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "answers"), QUESTIONS)
@pytest.mark.parametrize("how", [[], ["--scan"]])
def test_the_answer_is_that_of_looking_at_every_entry(
    log: Path, arguments: list[str], answers: Any, how: list[str]
) -> None:
    expected = [number for number, entry in enumerate(some(600)) if answers(entry, number)]
    assert numbers(log, "--limit", "0", *arguments, *how) == expected
    assert numbers(log, "--limit", "3", *arguments, *how) == expected[-3:]


def test_a_log_that_grew_carries_its_index_on(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(numbers(log, "--limit", "0")) == 600
    write_log(log, [format_entry(entry) for entry in some(1000)])
    built: list[int] = []
    original = LogIndex.build.__func__  # type: ignore[attr-defined]

    def watched(cls: type[LogIndex], *arguments: Any) -> LogIndex:
        own = list(arguments)
        own[3] = [entry for entry in own[3] if built.append(1) is None]  # type: ignore[func-returns-value]
        return original(cls, *own)  # type: ignore[no-any-return]

    monkeypatch.setattr(LogIndex, "build", classmethod(watched))
    assert numbers(log, "--limit", "0") == list(range(1000))
    assert len(built) == 400
    assert numbers(log, "--limit", "1") == [999]
    assert len(built) == 400


def test_an_index_that_leaves_entries_out_is_built_anew(log: Path) -> None:
    everything = numbers(log, "--limit", "0", "--effect", "deny")
    index = log.parent / "index.db"
    entries = [entry for entry in some(600) if entry.effect != "deny"]
    was = LogIndex.open(index, (log.parent.parent / "state" / "residency" / "index.key").read_bytes())
    assert was is not None
    checkpoint = was.built
    was.close()
    LogIndex.build(index, bytes(32), checkpoint, entries).close()
    assert numbers(log, "--limit", "0", "--effect", "deny") == everything


def test_what_an_index_names_is_read_from_the_log_and_must_answer(log: Path) -> None:
    numbers(log)
    index = log.parent / "index.db"
    secret = (log.parent.parent / "state" / "residency" / "index.key").read_bytes()
    was = LogIndex.open(index, secret)
    assert was is not None
    LogIndex.build(index, secret, was.built, [replace(entry, effect="deny") for entry in some(600)]).close()
    (told,) = ask(log, "--effect", "deny", "--limit", "1", code=1)
    assert told["holds"] is False
    assert "does not" in told["problem"]


def test_an_entry_that_was_changed_after_it_was_indexed_is_not_answered(log: Path) -> None:
    numbers(log)
    bundle = log / "tile" / "entries" / "000"
    bundle.write_bytes(bundle.read_bytes().replace(b"stop_order", b"stop_odder", 1))
    (told,) = ask(log, "--to", "2026-11-19", code=1)
    assert "tile/entries/000" in told["problem"]
    assert ask(log, "--limit", "3")[0]["index"] == 597


def test_another_history_of_the_same_log_does_not_hold(log: Path) -> None:
    numbers(log)
    shutil.rmtree(log)
    write_log(log, [format_entry(entry) for entry in some(599)])
    assert "had 600" in ask(log, code=1)[0]["problem"]
    forked = [replace(entry, activity="GET /other") for entry in some(700)]
    write_log(log, [format_entry(entry) for entry in forked])
    assert "does not continue" in ask(log, code=1)[0]["problem"]
    (log.parent / "index.db").unlink()
    assert len(ask(log)) == 100


def test_two_copies_of_a_log_side_by_side_have_an_index_each(log: Path) -> None:
    older, newer = log.parent / "october", log.parent / "november"
    write_log(older, [format_entry(entry) for entry in some(599)])
    shutil.copytree(log, newer)
    assert len(ask(newer, "--limit", "0")) == 600
    assert len(ask(older, "--limit", "0")) == 599, "an older copy is no log that was cut"
    assert {path.name for path in log.parent.glob("*.db")} == {"index-october.db", "index-november.db"}
    shutil.rmtree(newer)
    shutil.copytree(older, newer)
    assert "index-november.db" in ask(newer, code=1)[0]["problem"], "whoever asks again remembers"


def test_people_read_entries_and_how_many_answer(log: Path) -> None:
    output = runner.invoke(audit_app, ["query", str(log), "--effect", "deny", "--limit", "2"]).output
    assert "120 of 600 entries answer; the newest 2 shown" in output
    assert "GET /3 -> people-sg [stop_order]" in output


def test_a_subject_is_found_by_id_or_digest_through_the_pins_of_the_deployment(tmp_path: Path) -> None:
    file = write_deployment(
        tmp_path,
        """
sinks: {vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}}
stores: {people: [vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities: [{route: "POST /people", subject: app, data: [personal], store: people}]
""",
        (HOME,),
    )

    async def serve() -> str:
        runtime = build(file, env={})
        await runtime.start()
        for name in ("an", "binh"):
            here = runtime.point.admit(Request("POST", "/people", b"/people", (), (HANOI, 50_000)))
            assert isinstance(here, Current)
            with handling(here):
                await here.identify(name, {}, verified=True)
                await here.store("people").put("k", b"v")
        digest = runtime.point.digest(SubjectId("an"))
        await runtime.aclose()
        return digest

    digest = asyncio.run(serve())
    log, policy = str(tmp_path / "audit" / "log"), str(file)
    by_digest = runner.invoke(audit_app, ["query", log, "--json", "--policy", policy, "--subject-digest", digest])
    by_id = runner.invoke(audit_app, ["query", log, "--json", "--policy", policy, "--subject"], input="an\n")
    found = [json.loads(line) for line in by_digest.stdout.splitlines()]
    assert found
    assert by_id.stdout == by_digest.stdout
    assert len({each["subject"] for each in found}) == 1
    nobody = runner.invoke(audit_app, ["query", log, "--json", "--policy", policy, "--subject"], input="nobody\n")
    assert (nobody.exit_code, nobody.stdout) == (0, "")
    assert "nothing links this subject" in nobody.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--kind", "rumour"], ["--effect", "maybe"], ["--alias", "xyz"], ["--from", "soon"], ["--limit", "-1"],
     ["--subject-digest", "ab" * 32], ["--subject", "--alias", "ab" * 8], ["--index", "/nowhere/index.db"],
     ["--subject-digest", "zz", "--policy", "x.yaml"]],
)  # fmt: skip
def test_wrong_use_exits_2(log: Path, arguments: list[str]) -> None:
    assert runner.invoke(audit_app, ["query", str(log), *arguments]).exit_code == 2


def test_help_has_an_example() -> None:
    assert "Example: residency audit query" in runner.invoke(audit_app, ["query", "--help"]).output
