"""`residency detect`: what a sample carries and an activity does not declare; exit codes; no value in the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from residency.cli import detect as module
from residency.cli.detect import detect

APP = typer.Typer()
APP.command("detect")(detect)
PHONE, CARD, ID = "0912345678", "4111111111111111", "001099000001"  # made up; the card is Visa's test number
POLICY = """
residency: 1
kind: deployment
name: shop
mode: enforce
operator: {established_in: [VN]}
laws: [vn/personal-data-91-2025]
regions: {vn-han: {country: VN}}
sinks: {people-vn: {region: vn-han, provider: VN, url: "memory:", encrypted: true, keys: VN}}
stores: {people: people-vn}
fields: {tel: account, phone: account}
detectors: [{data: content, fields: [note]}]
exempt: [GET /healthz]
activities:
  - {route: "POST /people", subject: app, data: [personal, content], store: people}
  - {route: "POST /posts", subject: app, data: content, store: people}
  - {route: "POST /cards", subject: app, data: [financial], store: people}
  - {route: "POST /phones", subject: app, data: [content], fields: [phone], store: people}
"""
LAW = """
residency: 1
kind: law
jurisdiction: LA
instrument: A law of ours
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: low, source: "a test"}
detectors: [{data: personal, fields: [number], validator: vn.mobile, score: 50}]
rules: [{id: la.one, article: art. 1, text: Stays., applies: {anchor: territory}, duty: {only: LA}}]
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("policy") / "shop.yaml"
    path.write_text(POLICY)
    return str(path)


def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(APP, list(arguments), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def told(policy: str, sample: object, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, output = run("--policy", policy, "--json", *arguments, "-", stdin=json.dumps(sample))
    return code, json.loads(output)


def test_each_field_is_told_with_its_category_how_surely_and_by_which_law(policy: str) -> None:
    code, said = told(policy, [{"phone": PHONE, "note": "x"}, {"phone": PHONE}, {"x": 1}])
    assert (code, said["records"], said["whole"]) == (0, 3, True)
    law = "vn/personal-data-91-2025"
    assert said["found"] == [
        {
            "field": "phone", "category": "personal", "score": 80, "records": 2, "declared": None,
            "by": [{"law": law, "validator": "vn.mobile", "name": True}],
        },
        {
            "field": "note", "category": "content", "score": 70, "records": 1, "declared": None,
            "by": [{"law": "deployment shop", "validator": None, "name": True}],
        },
    ]  # fmt: skip


def test_text_has_a_line_a_field_from_a_file(policy: str, tmp_path: Path) -> None:
    sample = tmp_path / "sample.jsonl"
    sample.write_text(f'{{"phone": "{PHONE}"}}\n' * 1200)
    code, output = run("--policy", policy, str(sample))
    assert code == 0
    assert output == (
        "phone  personal            80  in 1,200 of 1,200  vn/personal-data-91-2025 (name and vn.mobile)\n"
    )


@pytest.mark.parametrize(
    ("route", "lacking", "says"),
    [
        ("POST /people", [], "POST /people: all that was found is declared"),
        ("POST /cards", [], "POST /cards: all that was found is declared"),  # financial data are personal data
        ("POST /posts", ["personal"], "POST /posts: not declared: personal. It would say: data: [content, personal]"),
        ("POST /nowhere", ["personal"], "POST /nowhere: no activity names it, and it carries personal"),
        ("GET /healthz", ["personal"], "GET /healthz: exempt as GET /healthz, and it carries personal"),
        # A law's detector hears the name of a field that the activity lists, as at run time.
        ("POST /phones", [], "POST /phones: all that was found is declared"),
    ],
)
def test_what_the_activity_does_not_declare_is_told_and_is_the_exit_code(
    policy: str, route: str, lacking: list[str], says: str
) -> None:
    code, said = told(policy, {"phone": PHONE}, "--route", route)
    assert (code, said["lacking"], said["route"]) == (1 if lacking else 0, lacking, route)
    code, output = run("--policy", policy, "--route", route, "-", stdin=json.dumps({"phone": PHONE}))
    assert (code, output.splitlines()[-1]) == (1 if lacking else 0, says)


def test_what_one_law_does_not_hear_declared_is_lacking_though_another_does(tmp_path: Path) -> None:
    (tmp_path / "own" / "la").mkdir(parents=True)
    (tmp_path / "own" / "la" / "ours.yaml").write_text(LAW)
    both = tmp_path / "both.yaml"
    both.write_text(POLICY.replace("laws: [", "laws_from: [own]\nlaws: [la/ours, "))
    code, said = told(str(both), {"phone": PHONE}, "--route", "POST /phones")
    assert {by["law"] for by in said["found"][0]["by"]} == {"vn/personal-data-91-2025", "la/ours"}
    assert (code, said["lacking"]) == (1, ["personal"])


def test_a_category_within_what_is_declared_is_not_declared(policy: str) -> None:
    code, said = told(policy, {"card_number": CARD}, "--route", "POST /people")
    assert (code, said["lacking"]) == (1, ["financial"])


def test_nothing_found_is_no_proof_and_said_so(policy: str) -> None:
    code, output = run("--policy", policy, "-", stdin='{"a": 1}')
    assert (code, output) == (0, "nothing found in 1 records; detectors know names and numbers, no more\n")


def test_records_that_were_read_in_part_are_told(policy: str) -> None:
    code, said = told(policy, {"a": [0] * 20_000})
    assert (code, said["whole"]) == (0, False)
    assert "looked at in part" in run("--policy", policy, "-", stdin=json.dumps({"a": [0] * 20_000}))[1]


def test_fields_without_end_are_told_together(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 1)
    _, said = told(policy, [{"phone": PHONE}, {"tel": {"mobile": PHONE}, "sdt": PHONE, "note": ""}])
    assert {(one["field"], one["category"], one["records"]) for one in said["found"]} == {
        ("phone", "personal", 1), ("(others)", "personal", 1), ("(others)", "content", 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (["-"], "{}", "a deployment file and a sample are needed, as in: residency detect residency.yaml sample.json"),
        (
            ["--policy", "POLICY"],
            "",
            "a deployment file and a sample are needed, as in: residency detect residency.yaml sample.json",
        ),
        (["POLICY"], "", "a deployment file and a sample are needed"),
        (["--policy", "POLICY", "POLICY", "-"], "", "a deployment file and a sample are needed"),
        (["--policy", "POLICY", "-"], "", "the sample is empty"),
        (["POLICY", "-"], "", "the sample is empty"),
        (["--policy", "POLICY", "/nowhere.json"], "", "the sample cannot be read: No such file or directory"),
        (["--policy", "POLICY", "/"], "", "the sample cannot be read: Is a directory"),
        (["--policy", "POLICY", "--route", "people", "-"], "{}", "--route is a method and a path without a query"),
        (["--policy", "POLICY", "--route", "POST /a/../b", "-"], "{}", "--route: the request path can be read"),
        (["--policy", "/nowhere.yaml", "-"], "{}", "the policy file cannot be read"),
    ],
)
def test_wrong_use_is_two(policy: str, arguments: list[str], stdin: str, says: str) -> None:
    code, output = run(*(policy if word == "POLICY" else word for word in arguments), stdin=stdin)
    assert code == 2
    assert says in output


def test_a_policy_without_detectors_is_wrong_use(tmp_path: Path) -> None:
    bare = tmp_path / "bare.yaml"
    bare.write_text(
        POLICY.replace("[vn/personal-data-91-2025]", "none").replace("detectors: [{data: content, fields: [note]}]", "")
    )
    code, output = run("--policy", str(bare), "-", stdin="{}")
    assert code == 2
    assert "nothing could be found" in output


WORDS = st.sampled_from([PHONE, ID, CARD, "B1234567", "secretly@example.org", "29A-123.45"])
SAMPLES = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["phone", "cccd", "so_the", "note", "x"]) | WORDS, inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sample=SAMPLES, broken=st.sampled_from(["", "]", "\n{"]), form=st.sampled_from([[], ["--json"]]))
def test_no_value_is_in_any_output(policy: str, sample: object, broken: str, form: list[str]) -> None:
    written = json.dumps(sample) + broken
    code, output = run("--policy", policy, "--route", "POST /posts", *form, "-", stdin=written)
    assert code in (0, 1, 2)
    for value in (PHONE, ID, CARD, "B1234567", "secretly", "29A-123"):
        assert value not in output
