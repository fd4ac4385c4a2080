"""Broken policy files: each names every mistake, where it stands, and what was expected; good ones become values.

The vectors are one file and one golden list of problems each; `--update-golden` is done by hand, by deleting the
golden file and running this module as a script: python tests/unit/policy/test_parser.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.errors import PolicyError
from residency.model import Anchor, Bound, Operation, Presume, Retention
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc
from residency.policy.parser import parse_deployment, parse_document, parse_law, parse_register

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "policy_errors"
ENV = {"EMPTY": "", "SECRET": "hunter2"}


def found(file: Path) -> list[str]:
    try:
        parse_document(file.read_bytes(), file.name, ENV, file.stem)
    except PolicyError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("file", sorted(VECTORS.glob("*.yaml")), ids=lambda file: str(file.stem))
def test_a_broken_file_names_every_mistake(file: Path) -> None:
    golden = file.with_suffix(".golden")
    expected = golden.read_text(encoding="utf-8").splitlines() if golden.exists() else []
    assert bool(expected) != file.stem.startswith("good_")
    assert found(file) == expected


def test_there_are_at_least_sixty_broken_files() -> None:
    assert len(list(VECTORS.glob("*.golden"))) >= 60


def test_no_message_and_no_error_carries_an_expanded_value() -> None:
    text = (VECTORS / "variable_is_not_shown.yaml").read_bytes()
    with pytest.raises(PolicyError) as caught:
        parse_deployment(text, "f", ENV)
    assert "hunter2" not in repr((caught.value, caught.value.__cause__, caught.value.__context__))


def test_a_url_never_prints_itself() -> None:
    text = (VECTORS / "good_deployment.yaml").read_text().replace("sqlite:///people.db", "pg://u:${SECRET}@h/d")
    doc = parse_deployment(text.encode(), "f", ENV)
    assert doc.sinks["people-vn"].url.reveal() == "pg://u:hunter2@h/d"
    assert "hunter2" not in f"{doc} {doc.sinks['people-vn'].url} {doc.sinks['people-vn'].url!r}"


def test_a_deployment_that_says_little_gets_safe_defaults() -> None:
    doc = parse_document((VECTORS / "good_deployment.yaml").read_bytes(), "f", {}, "f")
    assert isinstance(doc, DeploymentDoc)
    assert doc.unclassified == "deny"
    assert doc.signals.client_address.strategy == "peer"
    assert dict(doc.presume)[Anchor.TERRITORY] is Presume.COVERED
    assert dict(doc.presume)[Anchor.CITIZENSHIP] is Presume.AS_RESIDENCE
    assert doc.audit.publish_every == 1_000_000
    assert doc.audit.origin == "app"
    assert doc.assume is None


@pytest.mark.parametrize(
    ("method", "operation"),
    [("GET", Operation.READ), ("HEAD", Operation.READ), ("POST", Operation.WRITE), ("DELETE", Operation.ERASE),
     ("WS", Operation.WRITE), ("ANY", Operation.WRITE)],
)  # fmt: skip
def test_an_operation_left_out_follows_the_method_and_else_is_a_write(method: str, operation: Operation) -> None:
    text = (VECTORS / "good_deployment.yaml").read_text().replace("GET /v1", f"{method} /v1")
    assert parse_deployment(text.encode(), "f", {}).activities[0].operation is operation


def test_a_value_that_is_missing_is_told_once() -> None:
    text = (VECTORS / "good_deployment.yaml").read_text().replace("mode: enforce", "mode:")
    with pytest.raises(PolicyError) as caught:
        parse_deployment(text.encode(), "f", {})
    assert [p.message for p in caught.value.problems] == ['the value is missing: write it, or null, "" or []']


def test_no_law_is_said_in_words() -> None:
    text = (VECTORS / "good_deployment.yaml").read_text().replace("[vn/*]", "none")
    assert parse_deployment(text.encode(), "f", {}).laws == ()


def test_days_are_read_on_the_clocks_of_the_law_and_to_is_the_last_day() -> None:
    text = (VECTORS / "good_law.yaml").read_text().replace("{from: 2026-08-19}", "{from: 1970-01-02, to: 1970-01-02}")
    law = parse_law(f'time_zone: "+07:00"\n{text}'.encode(), "f", "vn/x")
    assert isinstance(law, LawDoc)
    assert (law.span.start, law.span.end) == (17 * 3_600_000_000, 41 * 3_600_000_000)


def test_retention_without_data_holds_for_each_category_of_the_rule() -> None:
    text = (VECTORS / "good_law.yaml").read_text()
    text = text.replace("{anchor: territory}", "{anchor: territory, data: [personal, account]}")
    text = text.replace("{copies: VN}", "{retain: [{at_least: 2 years, from: last_use}]}")
    (rule,) = parse_law(text.encode(), "f", "x").rules
    assert rule.duty.retain == {
        Retention(category, Bound.AT_LEAST, 24, 0, "last_use") for category in ("personal", "account")
    }


def test_of_a_file_that_is_wrong_all_over_the_first_thousand_problems_are_told_and_that_there_are_more() -> None:
    head = b"residency: 1\nkind: law\nrules: ["
    for wrong in (head + b"{id: x}," * 2000 + b"]", b"a: 1\n" * 5000):
        with pytest.raises(PolicyError) as told:
            parse_law(wrong, "f", "x")
        assert len(told.value.problems) == 1001
        assert told.value.problems[-1].message == "and more: the first 1000 problems are told"
        assert len(str(told.value)) < 200_000


def test_retention_of_the_systems_lifetime_is_no_term_of_no_days() -> None:
    text = (VECTORS / "good_law.yaml").read_text()
    text = text.replace("{copies: VN}", "{retain: [{at_least: lifetime, from: creation, data: log, scope: backup}]}")
    (rule,) = parse_law(text.encode(), "f", "x").rules
    assert rule.duty.retain == {Retention("log", Bound.AT_LEAST, 0, 0, "creation", lifetime=True, scope="backup")}


def test_a_register_becomes_facts() -> None:
    doc = parse_register((VECTORS / "good_register.yaml").read_bytes(), "f")
    assert isinstance(doc, RegisterDoc)
    assert doc.filings[0].kind == "vn.transfer_dossier"
    assert doc.stop_orders[0].lifted is None


if __name__ == "__main__":
    for broken in sorted(VECTORS.glob("*.yaml")):
        target = broken.with_suffix(".golden")
        if (told := found(broken)) and not target.exists():
            target.write_text("\n".join(told) + "\n", encoding="utf-8")


def test_what_is_known_of_an_anchor_is_asked_under_the_laws_own_place_in_clauses_and_in_unless() -> None:
    law = parse_law(
        b"residency: 1\nkind: law\njurisdiction: VN\ninstrument: I\nin_force: {from: 2026-01-01}\n"
        b"checked: {date: 2026-11-21, confidence: high, source: S}\nrules:\n"
        b"  - id: vn.one\n    article: a\n    text: T\n"
        b"    applies: {anchor: citizenship, unless: [known:residence, subject:organisation]}\n"
        b"    duty: {require: [known:citizenship]}\n",
        "law.yaml",
        "vn/one",
    )
    assert law.rules[0].unless == {"known:residence.VN", "subject:organisation"}
    assert law.rules[0].duty.require == {frozenset({"known:citizenship.VN"})}
