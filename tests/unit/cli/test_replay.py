"""`residency replay`: coverage first, then what is wrong, then what would change; exit codes for CI."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters.policy_files import load
from residency.audit.entry import format_entry
from residency.audit.entry_reader import EntryReader
from residency.audit.recall import Beside, Recall, Told
from residency.bootstrap import build
from residency.cli.archive_folder import Archive
from residency.cli.explain import explain
from residency.cli.log_folder import reader
from residency.cli.replay import _Recall, replay
from residency.enforcement.current import Current
from residency.enforcement.request import Request
from residency.model import StopOrder
from residency.policy.compiler import Policy
from residency.policy.replay import Replayer
from residency.policy.tally import Tally
from tests.audit_log import INTENT, write_log
from tests.recorded_log import DAY, SOME_DEPLOYMENT, SOME_RULES, START, RecordedLog, some_weeks
from tests.world import HANOI, HOME, SINGAPORE, handling, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "${SG_URL}"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "memory:"}
exempt: [GET /healthz]
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "GET /posts", subject: none, data: [content]}
"""
CONTENT = """
  - id: test.content
    article: art. 5
    text: Nobody reads this.
    applies: {anchor: territory, data: [content]}
    duty: {effect: deny}
"""
REQUESTS = [
    ("GET", "/posts", HANOI), ("GET", "/posts", HANOI), ("GET", "/posts", SINGAPORE), ("POST", "/people", HANOI),
    ("GET", "/healthz", HANOI), ("GET", "/nowhere", SINGAPORE),
]  # fmt: skip
app = typer.Typer()
app.command()(replay)
explaining = typer.Typer()
explaining.command()(explain)


def run(*args: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def ask(*args: str | Path) -> tuple[int, Any]:
    code, output = run(*args, "--json")
    return code, json.loads(output)


async def _serve(policy: Path | Policy) -> None:
    runtime = build(policy, env={"SG_URL": "memory:"})
    await runtime.start()
    for method, path, address in REQUESTS:
        here = runtime.point.admit(Request(method, path, path.encode(), (), (address, 50_000)))
        if isinstance(here, Current) and here.activity.store is not None:
            with handling(here):
                await here.identify("an", {"verified_by": "phone"}, verified=True)
                await here.store("people").put("k", b"v")
    await runtime.aclose()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one deployment has served."""
    folder = tmp_path_factory.mktemp("served")
    asyncio.run(_serve(write_deployment(folder, DEPLOYMENT, (HOME,))))
    return folder


@pytest.fixture
def audit(served: Path, tmp_path: Path) -> Path:
    """A copy of its audit folder alone: no policy files, no sinks, no keys."""
    return Path(shutil.copytree(served / "audit", tmp_path / "audit"))


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A deployment with one rule more."""
    (tmp_path / "new").mkdir()
    return write_deployment(tmp_path / "new", DEPLOYMENT, (HOME, CONTENT))


def test_a_log_is_verified_by_the_policies_beside_it_and_by_nothing_else(audit: Path) -> None:
    code, told = ask("--audit", audit)
    assert code == 0
    assert told["coverage"]["decisions"] == told["coverage"]["replayed"] == 6
    assert told["verified"] == {"as_recorded": 6, "wrong": 0, "first": []}
    assert told["coverage"]["not_decisions"] == {
        "entries of the system": 2, "outcomes of acts": 1, "requests to exempt routes": 1
    }  # fmt: skip


def test_under_its_own_policy_nothing_changes(served: Path, audit: Path) -> None:
    code, told = ask("--audit", audit, "--policy", served / "test.yaml", "--max-changed", "0%")
    assert (code, told["changed"]["decisions"], told["cited_otherwise"]) == (0, 0, 0)


def test_a_changed_rule_flips_exactly_the_decisions_it_is_about_and_is_named(audit: Path, candidate: Path) -> None:
    code, told = ask("--audit", audit, "--policy", candidate)
    assert code == 0
    changed = told["changed"]
    assert (changed["decisions"], changed["share"]) == (2, pytest.approx(2 / 6))
    assert changed["by_activity"] == {"GET /posts": 2}
    assert changed["by_rule"] == {"test.content": {"decides": 2, "no_longer": 0}}
    [group] = changed["changes"]
    assert (group["before"]["effect"], group["after"]["effect"], group["after"]["reason"]) == (
        "permit", "deny", "law_forbids"
    )  # fmt: skip


def test_coverage_is_told_before_what_changes(audit: Path, candidate: Path) -> None:
    code, output = run("--audit", audit, "--policy", candidate)
    assert code == 0
    assert output.startswith("Coverage: 6 of 6 (100.00%) recorded decisions")
    assert output.index("Coverage") < output.index("Verified") < output.index("Changed") < output.index("By rule")
    assert "test.content: decides in 2 [Test law art. 5]" in output
    assert "GET /posts: permit -> deny (law_forbids)" in output


@pytest.mark.parametrize(("limit", "code"), [("0.1%", 1), ("1", 1), ("2", 0), ("33%", 1), ("34%", 0), ("100%", 0)])
def test_more_changes_than_the_limit_exit_1(audit: Path, candidate: Path, limit: str, code: int) -> None:
    assert run("--audit", audit, "--policy", candidate, "--max-changed", limit)[0] == code


def test_a_missing_policy_is_counted_and_no_limit_is_kept_by_what_nobody_replayed(audit: Path, candidate: Path) -> None:
    shutil.rmtree(audit / "policies")
    code, told = ask("--audit", audit, "--policy", candidate)
    assert code == 0
    assert told["coverage"]["not_replayed"] == {"policy_missing": 6}
    assert told["coverage"]["share"] == 0
    code, told = ask("--audit", audit, "--policy", candidate, "--max-changed", "50%")
    assert (code, told["problems"]) == (1, ["no decision could be replayed"])


def test_less_coverage_than_asked_for_exits_1(audit: Path, served: Path, candidate: Path) -> None:
    text = candidate.read_text().replace("exempt: [GET /healthz]", "exempt: [GET /healthz, GET /docs]")
    candidate.write_text(text)
    args = ("--audit", audit, "--policy", candidate, "--max-changed", "100%")
    code, told = ask(*args)
    assert code == 1
    assert told["coverage"]["not_replayed"] == {"route_not_recorded": 1}
    assert run(*args, "--min-coverage", "80%")[0] == 0


@pytest.mark.parametrize("name", ["policies", "facts"])
def test_an_archive_that_was_changed_is_not_what_decisions_are_held_to(audit: Path, name: str) -> None:
    [file] = (audit / name).iterdir()
    file.write_bytes(file.read_bytes().replace(b'"v":1', b'"v": 1'))
    if name == "policies":  # its texts are what the digest is over
        file.write_bytes(file.read_bytes().replace(b"[personal]", b"[content]", 1))
    code, told = ask("--audit", audit)
    assert code == 0
    assert told["coverage"]["replayed"] == 0
    assert len(told["unreadable"]) == 1


def test_an_entry_that_was_changed_is_found(audit: Path) -> None:
    for bundle in (audit / "log" / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            bundle.write_bytes(bundle.read_bytes().replace(b'"effect":"deny"', b'"effect":"hold"', 1))
    code, told = ask("--audit", audit)
    assert (code, told["holds"]) == (1, False)
    assert "entry" in told["problems"][0]


def test_records_of_another_policy_than_they_name_are_wrong_and_exit_1(tmp_path: Path) -> None:
    told_of, used = (
        load(write_deployment(tmp_path / name, DEPLOYMENT, rules), {"SG_URL": "memory:"})
        for name, rules in (("told", (HOME,)), ("used", (HOME, CONTENT)))
    )
    liar = Policy(
        told_of.deployment, used.laws, told_of.facts, told_of.digest, base=told_of.base, sources=told_of.sources
    )
    asyncio.run(_serve(liar))
    code, told = ask("--audit", tmp_path / "told" / "audit")
    assert (code, told["holds"], told["problems"]) == (1, False, ["2 records are wrong"])
    assert told["verified"]["wrong"] == 2
    assert "Does not hold: 2 records are wrong" in run("--audit", tmp_path / "told" / "audit")[1]


def test_regional_detail_tells_the_evidence_that_entries_do_not(audit: Path, served: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    phone = CONTENT.replace("[content]", "[personal]").replace("{effect: deny}", '{require: [["identity:phone"]]}')
    candidate = write_deployment(tmp_path / "new", DEPLOYMENT, (HOME, phone))
    code, told = ask("--audit", audit, "--policy", candidate)
    assert told["coverage"]["not_replayed"] == {"evidence_not_recorded": 2}
    assert told["coverage"]["unrecorded_evidence"] == ["identity:phone"]
    detail = ("--detail", f"VN={served / 'detail'}", "--keys", served / "keys")
    code, told = ask("--audit", audit, "--policy", candidate, *detail)
    assert (code, told["coverage"]["not_replayed"]) == (0, {})
    assert told["changed"]["changes"][0]["what"] == ["duty", "rules"]


@pytest.mark.parametrize(
    "args",
    [
        [], ["--audit", "nowhere"], ["--audit", ".", "--max-changed", "1%"], ["--audit", ".", "--at", "2026-09-01"],
        ["--audit", ".", "--policy", "x.yaml", "--max-changed", "some"],
        ["--audit", ".", "--policy", "x.yaml", "--max-changed", "101%"],
        ["--audit", ".", "--policy", "x.yaml", "--min-coverage", "1%"], ["--audit", ".", "--keys", "."],
    ],
)  # fmt: skip
def test_wrong_use_exits_2(args: list[str]) -> None:
    assert run(*args)[0] == 2


def test_a_candidate_that_does_not_hold_exits_2_with_its_lines(audit: Path, candidate: Path) -> None:
    candidate.write_text(candidate.read_text().replace("mode: enforce", "mode: enforced"))
    code, output = run("--audit", audit, "--policy", candidate)
    assert code == 2
    assert "test.yaml:5:" in output


def test_a_recorded_decision_is_told_by_its_own_policy_and_by_another(audit: Path, candidate: Path) -> None:
    def told(number: int, *args: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(explaining, ["--audit", str(audit), "--entry", str(number), *map(str, args)])
        return result.exit_code, result.output

    # 0 and 1 are the start; 2 and 3 are GET /posts from Vietnam, 4 from Singapore.
    code, output = told(2)
    assert code == 0
    assert output.startswith("GET /posts: permitted, at ")
    assert "Entry 2 of the log" in output
    assert json.loads(told(2, "--json")[1])["finding"] == [
        "territory:VN:established:network", "collection:VN:established:network"
    ]  # fmt: skip
    assert (told(2, "--policy", candidate)[0], told(4, "--policy", candidate)[0]) == (1, 0)
    assert "test.content" in told(2, "--policy", candidate)[1]
    code, output = told(0)
    assert (code, "tells of no decision" in output) == (2, True)
    code, output = told(99)
    assert (code, "numbered from 0" in output) == (2, True)
    shutil.rmtree(audit / "policies")
    code, output = told(2)
    assert (code, "lies not in the audit folder" in output) == (2, True)


def test_a_decision_is_held_to_the_facts_that_its_own_slot_named_last(tmp_path: Path) -> None:
    policy = load_policy(write_deployment(tmp_path, SOME_DEPLOYMENT, SOME_RULES[:1]))
    stopped = replace(policy.facts, stop_orders=(StopOrder("x", "vn", START - DAY),))
    logs = [RecordedLog(policy, START, facts) for facts in (policy.facts, stopped)]
    entries = []
    for slot, log in enumerate(logs):
        log.ask("POST /people", how=None)
        log.write(tmp_path / "audit")
        entries += [replace(entry, id=f"{slot}.{at}") for at, entry in enumerate(log.entries)]
    assert (entries[1].kind, entries[3].kind) == ("intent", "refusal")
    again = [replace(entry, id=f"0.{at}") for at, entry in enumerate(entries)]  # started again in its slot
    for order in (entries, again, [entries[at] for at in (0, 2, 1, 3)], [entries[at] for at in (0, 2, 3, 1)]):
        write_log(tmp_path / "audit/log", [format_entry(entry) for entry in order])
        code, told = ask("--audit", tmp_path / "audit")
        assert (code, told["verified"]) == (0, {"as_recorded": 2, "wrong": 0, "first": []})
    # Told as under the other facts, by an entry of a shape that was right under these: in another slot, after a start.
    for wrong in (
        [entries[0], entries[2], entries[1], entries[3], replace(entries[1], id="1.2")],
        [*again, replace(entries[1], id="0.4")],
    ):
        write_log(tmp_path / "audit/log", [format_entry(entry) for entry in wrong])
        code, told = ask("--audit", tmp_path / "audit")
        assert (code, told["verified"]["as_recorded"]) == (1, 2)
        assert [each["index"] for each in told["verified"]["first"]] == [4]


def test_shapes_change_nothing_of_what_replaying_each_entry_tells(tmp_path: Path) -> None:
    log = some_weeks(tmp_path / "a", 200)
    log.write(tmp_path / "audit")
    changed = write_deployment(tmp_path / "b", SOME_DEPLOYMENT, SOME_RULES[:1])
    code, told = ask("--audit", tmp_path / "audit", "--policy", changed)
    archive, tally, recall = Archive(reader(tmp_path / "audit")), Tally(), Recall()
    replayer = Replayer(archive.policy, archive.facts, load_policy(changed))
    for index, entry in enumerate(log.entries):
        taken = recall.take(entry)
        if isinstance(taken, Beside):
            tally.beside[taken.value] += 1
        else:
            tally.add(index, entry.subject, taken[0].policy, replayer.replay(*taken))
    assert (code, told["changed"]["subjects"] > 5) == (0, True)
    assert {name: told[name] for name in tally.data()} == json.loads(json.dumps(tally.data()))


def test_what_is_taken_by_its_shape_is_what_each_entry_tells_with_details_and_without(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 40)
    entries = [
        replace(entry, requested=entry.decided - index, collected=START)
        if entry.decided is not None and index % 3 == 0
        else replace(entry, detail=f"{index:064x}")
        if entry.kind == "intent"
        else entry
        for index, entry in enumerate(log.entries)
    ]
    told = {
        entry.id: Told(entry.detail, f"identity:{index}", index)
        for index, entry in enumerate(entries)
        if entry.detail is not None
    }
    assert len(told) > 5
    shapes, values = EntryReader().scan(0, [format_entry(entry) for entry in entries])
    for details in ({}, told):
        recall, by_shape = Recall(details), _Recall(details)
        for entry, shape, held in zip(entries, shapes, values, strict=True):
            taken = recall.take(entry)
            expected = taken if isinstance(taken, Beside) else (*taken, entry.subject)
            assert by_shape.take(shape, held) == expected


def test_a_log_whose_entries_contradict_each_other_does_not_hold(audit: Path) -> None:
    write_log(audit / "log", [format_entry(replace(INTENT, kind="outcome", act="failed", of="0.9"))])
    assert ask("--audit", audit)[1]["problems"] == [
        "entry 0 is an outcome of 0.9, which has one already or is no intent"
    ]
