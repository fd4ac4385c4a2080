"""`residency explain`: exit codes, the date, claims, and what stands in the JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters.policy_files import load
from residency.cli.explain import explain
from residency.jurisdiction.found import finding_words, parse_finding
from residency.policy.explain import explain as tell
from residency.policy.terms import moment

ROOT = Path(__file__).resolve().parents[3]
POLICY = str(ROOT / "policies" / "deployments" / "social-api.yaml")
VIETNAM = "14.160.0.1"
app = typer.Typer()
app.command()(explain)


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def ask(*args: str) -> tuple[int, dict[str, object]]:
    code, output = run("--policy", POLICY, "--at", "2026-09-01", "--json", *args)
    return code, json.loads(output)


def test_the_file_is_named_once_with_or_without_its_option() -> None:
    question = ("--route", "POST /v1/people", "--ip", VIETNAM, "--at", "2026-09-01")
    assert run(POLICY, *question) == run("--policy", POLICY, *question)
    assert run(POLICY, "--policy", POLICY, *question) == (2, "residency explain: name one deployment file\n")


def test_a_permitted_request_exits_0_and_tells_where_data_goes() -> None:
    code, told = ask("--route", "POST /v1/people", "--ip", VIETNAM)
    assert code == 0
    sinks = told["sinks"]
    assert isinstance(sinks, list)
    assert [(s["sink"], s["reason"]) for s in sinks] == [("people-vn", None), ("people-sg", "not_home")]


def test_a_refused_request_exits_1_and_a_verified_claim_mends_it() -> None:
    assert ask("--route", "POST /v1/posts", "--ip", VIETNAM)[0] == 1
    for claim in ("verified_by=phone", "identity_verified_by=phone,eid"):
        assert ask("--route", "POST /v1/posts", "--ip", VIETNAM, "--claim", claim)[0] == 0


def test_who_reads_abroad_is_asked_what_a_sink_there_would_be() -> None:
    reading = ("--route", "GET /v1/people/7", "--ip", VIETNAM, "--claim", "citizenship=VN")
    assert ask(*reading, "--read-from", "VN")[0] == 0
    for place in ("SG", "ZZ"):
        code, told = ask(*reading, "--read-from", place)
        assert (code, told["reason"], told["evidence"]) == (1, "filing_missing", [f"reader:{place}"])
    code, output = run("--policy", POLICY, *reading, "--read-from", "Singapore")
    assert (code, "no country code" in output) == (2, True)


def test_only_rules_in_force_on_the_day_are_cited() -> None:
    code, output = run("--policy", POLICY, "--route", "POST /v1/people", "--ip", VIETNAM, "--at", "2026-07-15")
    assert code == 0
    assert "116/2025" in output
    assert "333/2026" not in output


def test_the_data_that_is_here_answers_for_days_before_it_was_built() -> None:
    told = ask("--route", "POST /v1/people", "--ip", VIETNAM, "--at", "2026-05-01")[1]
    heard = told["heard"]
    assert isinstance(heard, list)
    assert {(each["source"], each["trust"]) for each in heard} == {("address", "network")}


def test_two_nationalities_are_two_signals_and_a_word_that_is_no_code_is_told() -> None:
    told = ask("--route", "POST /v1/people", "--ip", VIETNAM, "--claim", "citizenship=VN,LA")[1]
    heard = told["heard"]
    assert isinstance(heard, list)
    assert {each["place"] for each in heard if each["anchor"] == "citizenship"} == {"VN", "LA"}
    route = ("--policy", POLICY, "--route", "POST /v1/people", "--ip", VIETNAM)
    assert "neither signal nor evidence" in run(*route, "--claim", "residence=Vietnam")[1]
    assert "neither signal nor evidence" not in run(*route, "--claim", "residence=VN", "--claim", "age=20")[1]


def test_a_route_nobody_named_and_an_ambiguous_path_are_refused_and_an_exempt_one_is_not() -> None:
    assert ask("--route", "GET /nope")[1]["reason"] == "unclassified_route"
    assert ask("--route", "GET /v1/../people")[1]["reason"] == "path_ambiguous"
    assert ask("--route", "GET /healthz")[0] == 0


@pytest.mark.parametrize(
    "args",
    [
        [], ["--policy", POLICY], ["--policy", POLICY, "--route", "/v1"], ["--policy", POLICY, "--route", "GET"],
        ["--policy", POLICY, "--route", "GET /v1/posts", "--ip", "nonsense"],
        ["--policy", POLICY, "--route", "GET /v1/posts", "--at", "yesterday"],
        ["--policy", POLICY, "--route", "GET /v1/posts", "--claim", "citizenship"],
        ["--policy", POLICY, "--route", "GET /v1/posts", "--claim", "citizen=VN"],
        ["--policy", POLICY, "--route", "GET /v1/posts?author=1"],
        ["--policy", "no-such-file.yaml", "--route", "GET /v1/posts"],
    ],
)  # fmt: skip
def test_wrong_use_exits_2_with_a_word_of_help(args: list[str]) -> None:
    code, output = run(*args)
    assert code == 2
    assert output.strip()


def test_a_claim_that_nothing_reads_is_told_with_the_nearest_word() -> None:
    output = run("--policy", POLICY, "--route", "GET /v1/posts", "--claim", "verified=phone")[1]
    assert "did you mean `verified_by`?" in output


def test_what_only_another_sink_would_need_is_not_missing() -> None:
    code, output = run("--policy", POLICY, "--route", "POST /v1/people", "--ip", "5.9.0.1", "--claim", "citizenship=VN")
    assert code == 0
    assert "What is missing" not in output
    needed = output.partition("What another sink would need\n  people-sg: ")[2].partition("\n")[0]
    assert "filing:vn.transfer_dossier" in needed
    assert "at_most" not in output


FOUND = (
    "--activity",
    "POST /v1/posts",
    "--finding",
    "territory:VN:established:network collection:VN:established:network",
)


def test_a_finding_in_words_is_told_without_a_person() -> None:
    code, told = ask(*FOUND)
    assert (code, told["effect"], told["signals"], told["activity"]) == (1, "deny", None, "POST /v1/posts")
    assert ask(*FOUND, "--evidence", "identity:phone")[0] == 0
    by_route = ask("--route", "POST /v1/posts", *FOUND[2:])[1]
    assert {**by_route, "route": ""} == told


def test_a_decision_is_told_again_from_its_finding_in_words() -> None:
    policy = load(POLICY, {})
    activity = next(a for a in policy.deployment.activities if a.name == "POST /v1/posts")
    found = parse_finding(["territory:VN:established:network", "citizenship:DE:contested:verified"])
    finding = replace(found, presume=policy.deployment.presume)
    now = 1_788_000_000_123_456
    decision = policy.decide(activity, finding, frozenset({"identity:phone"}), policy.facts, now)
    code, output = run(
        *("--policy", POLICY, "--activity", activity.name, "--finding", " ".join(finding_words(decision.finding))),
        *("--evidence", "identity:phone", "--at", moment(now), "--json"),
    )
    told = json.loads(output)
    assert (code == 0) is (told["effect"] == "permit")
    expected = tell(decision).data
    for key in (
        "effect",
        "reason",
        "rules",
        "sinks",
        "duty",
        "missing",
        "clocks",
        "jurisdictions",
        "evidence",
        "finding",
    ):
        assert told[key] == json.loads(json.dumps(expected[key])), key


def test_a_page_can_be_mailed_in_either_language() -> None:
    args = ("--policy", POLICY, "--at", "2026-09-01", "--route", "POST /v1/posts", "--ip", VIETNAM)
    code, english = run(*args, "--format", "markdown")
    assert code == 1
    assert english.startswith("# POST /v1/posts: refused (identity\\_missing), at 2026-09-01\n\n")
    assert "\n## Rules that refused\n\n- vn.d147" in english or "\n## Rules that refused\n\n- vn.d333" in english
    vietnamese = run(*args, "--format", "markdown", "--lang", "vi")[1]
    assert "\n## Quy định dẫn đến từ chối\n" in vietnamese
    assert "Những gì hệ thống thấy" in run(*args, "--lang", "vi")[1]
    assert run(*args, "--format", "json")[1] == run(*args, "--json")[1]


@pytest.mark.parametrize(
    "args",
    [
        ["--activity", "POST /v1/posts"], [*FOUND, "--ip", VIETNAM], [*FOUND, "--route", "POST /v1/posts"],
        ["--activity", "POST /nowhere", *FOUND[2:]], ["--activity", "POST /v1/posts", "--finding", "territory:VN"],
        ["--activity", "POST /v1/posts", "--finding", "territory:XX:established:network"],
        ["--route", "POST /v1/posts", "--evidence", "identity:phone"], ["--entry", "0"], ["--audit", "."],
        ["--entry", "0", "--audit", ".", "--ip", VIETNAM],
    ],
)  # fmt: skip
def test_a_question_that_is_told_twice_or_not_at_all_is_wrong_use(args: list[str]) -> None:
    assert run("--policy", POLICY, *args)[0] == 2
