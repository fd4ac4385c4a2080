"""`residency audit report`: what stands on the page stands in the JSON and CSV, and is what the log says."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from residency.audit.entry import Entry, format_entry, parse_entry
from residency.cli.audit import audit_app
from residency.cli.audit.report_page import _age, report_page
from tests.audit_log import write_log
from tests.recorded_log import DAY, SOME_DEPLOYMENT, SOME_RULES, START, RecordedLog, some_weeks
from tests.world import load_policy, write_deployment

runner = CliRunner()
FROM, TO = "2026-09-02", "2026-09-12"
PERIOD = ["--from", FROM, "--to", TO]


def report(log: Path, out: Path, *arguments: str) -> Result:
    return runner.invoke(audit_app, ["report", str(log), "--out", str(out), *arguments])


class Served:
    """A deployment's log, and reports on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorded = some_weeks(folder)
        self.log = self.recorded.write(folder / "audit")

    def told(self, *arguments: str) -> dict[str, Any]:
        out = self.folder / "out.html"
        result = report(self.log, out, *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(out.with_suffix(".json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("served"))


def test_every_number_of_the_document_can_be_counted_again_from_the_entries(served: Served) -> None:
    told = served.told(*PERIOD)
    begin, end = START - START % DAY + 4 * DAY, START - START % DAY + 14 * DAY
    assert (told["period"]["from"], told["period"]["to"]) == (f"{FROM}T00:00:00Z", f"{TO}T00:00:00Z")
    inside = [entry for entry in served.recorded.entries if begin <= entry.at < end]
    made = [entry for entry in inside if entry.decided is not None]
    assert len(made) > 50
    coverage, decisions, refusals = told["coverage"], told["decisions"], told["refusals"]
    assert (coverage["entries"], coverage["decisions"], coverage["replayed"]) == (len(inside), len(made), len(made))
    assert coverage["share_by_presumption"] == sum(bool(entry.presumed) for entry in made) / len(made)
    for effect in ("permit", "hold", "deny"):
        whole = sum(entry.effect == effect for entry in made)
        assert decisions["by_effect"][effect] == whole
        assert sum(day[effect] for day in decisions["by_day"]) == whole
        assert sum(route[effect] for route in decisions["by_activity"]) == whole
        by_rule = Counter(rule for entry in made if entry.effect == effect for rule in entry.rules)
        assert {each["rule"]: each[effect] for each in decisions["by_article"] if each[effect]} == dict(by_rule)
    refused = [entry for entry in inside if entry.kind == "refusal"]
    assert (refusals["total"], sum(refusals["by_reason"].values())) == (len(refused), len(refused))
    ended = {entry.of: entry.act for entry in served.recorded.entries if entry.act is not None}
    abroad = [
        entry
        for entry in inside
        if entry.kind == "intent" and entry.sink == "sg" and "VN" in entry.jurisdictions
        and ended.get(entry.id, "unknown") in ("committed", "unknown")
    ]  # fmt: skip
    assert sum(flow["count"] for flow in told["transfers"]["flows"]) == len(abroad) > 0
    left_open = [entry.id for entry in inside if entry.kind == "intent" and entry.id not in ended]
    assert [each["id"] for each in told["open_intents"]] == left_open != []
    assert {"code": "open_intents", "count": len(left_open)} in told["findings"]
    assert told["policies"][0]["entries"] == len(inside)
    assert [each["age_days"] for each in told["ages"] if each["kind"] == "law"] == [-70]


def test_rules_are_cited_by_law_and_article_and_their_retentions_told(served: Served) -> None:
    told = served.told()
    by_rule = {each["rule"]: each for each in told["decisions"]["by_article"]}
    assert (by_rule["test.verified"]["law"], by_rule["test.verified"]["article"]) == ("Test law", "art. 2")
    assert [(each["rule"], each["bound"], each["term"], each["from"]) for each in told["retention"]["duties"]] == [
        ("test.home", "at_least", "24 months", "creation")
    ]  # fmt: skip


def test_the_csv_holds_every_value_of_the_document_once(served: Served) -> None:
    told = served.told(*PERIOD)

    def leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict | list):
            for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
                yield from leaves(inner, (*path, str(name)))
        else:
            yield "/".join(path), json.dumps(value) if isinstance(value, bool) else "" if value is None else str(value)

    rows = list(csv.DictReader(io.StringIO((served.folder / "out.csv").read_text())))
    found = ["/".join(part for part in (row["section"], row["measure"]) if part) for row in rows]
    assert dict(zip(found, (row["value"] for row in rows), strict=True)) == dict(leaves(told, ()))
    assert len(found) == len(set(found))


class Page(HTMLParser):
    """What a page has of elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_but_itself_and_tells_coverage_first(served: Served) -> None:
    served.told(*PERIOD)
    text = (served.folder / "out.html").read_text()
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not {"src", "href", "onload", "onclick", "style"} & page.attributes
    assert "url(" not in text
    assert "@import" not in text
    assert [tag for tag in page.tags if tag == "h2"] == ["h2"] * 9
    order = [text.index(f'id="{name}"') for name in ("coverage", "policies", "decisions", "transfers", "verification")]
    assert order == sorted(order)
    assert text.count("<svg") >= 4


def test_both_languages_tell_the_same_numbers(served: Served) -> None:
    numbers = []
    for language in ("en", "vi"):
        served.told(*PERIOD, "--lang", language)
        text = (served.folder / "out.html").read_text()
        body = re.sub(r"<(style|svg|title)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
        cited = re.sub(r"(art\.|Điều) \d+", " ", body)
        numbers.append(Counter(re.findall(r"\d[\d,.]*%?", unescape(cited))))
        assert f'<html lang="{language}">' in text
        assert ("Phạm vi" in text) is (language == "vi")
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [([], "Period: the whole log"), (PERIOD, f"Period: {FROM}T00:00:00Z – {TO}T00:00:00Z"),
     (PERIOD[:2], f"Period: {FROM}T00:00:00Z – …")],
)  # fmt: skip
def test_the_page_tells_the_period_and_where_it_is_open(served: Served, arguments: list[str], told: str) -> None:
    served.told(*arguments)
    assert f"{told}<br>" in (served.folder / "out.html").read_text()


def test_the_same_log_and_period_give_the_same_bytes(served: Served) -> None:
    first = served.told(*PERIOD) and [
        (served.folder / f"out{end}").read_bytes() for end in (".html", ".json", ".csv")
    ]  # fmt: skip
    again = served.told(*PERIOD) and [
        (served.folder / f"out{end}").read_bytes() for end in (".html", ".json", ".csv")
    ]  # fmt: skip
    assert first == again


def test_a_period_that_is_not_over_is_told_as_of_now(served: Served) -> None:
    assert served.told("--to", TO)["period"]["told_as_of"].startswith(TO)
    told = served.told("--to", "2999-01-01")["period"]
    assert told["to"].startswith("2999")
    assert told["told_as_of"] < "2998"


def test_what_the_log_and_policies_hold_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 20)
    hostile = "<script>alert(1)</script>"
    records = [
        record.replace(b'"GET /healthz"', json.dumps(hostile).encode()).replace(b'"exempt"', b'"exempt"')
        for record in log.journal.records
    ]
    log.recorder.exempt(hostile, "enforce")
    records.append(log.journal.records[-1])
    log.write(tmp_path / "audit")
    write_log(tmp_path / "audit" / "log", records)
    assert report(tmp_path / "audit" / "log", tmp_path / "r.html").exit_code == 0
    text = (tmp_path / "r.html").read_text()
    assert "&lt;script&gt;" in text
    assert "<script" not in text


@pytest.mark.parametrize(("language", "word"), [("en", "a place that nobody knows"), ("vi", "nơi không ai biết")])
def test_a_reader_of_whom_nobody_knows_where_they_are_is_told_in_words(
    served: Served, language: str, word: str
) -> None:
    told = served.told()
    told["transfers"]["flows"][0]["place"] = "ZZ"
    page = report_page(told, language)
    assert f": {word} (" in page
    assert ": ZZ (" not in page


def test_a_filing_s_day_is_that_of_its_law_s_clocks(served: Served, tmp_path: Path) -> None:
    file = write_deployment(tmp_path, f"registers: [register.yaml]{SOME_DEPLOYMENT}", SOME_RULES)
    filing = "{kind: vn.transfer_dossier, number: '7', date: 2026-09-01, result: filed}"
    law = tmp_path / "laws" / "vn" / "test.yaml"
    law.write_text(law.read_text().replace("rules:", 'time_zone: "+07:00"\nrules:', 1))
    (tmp_path / "register.yaml").write_text(
        f"residency: 1\nkind: register\nname: r\ntime_zone: '+07:00'\nfilings: [{filing}]\n"
    )
    told = served.told("--policy", str(file))
    (filed,) = (each for each in told["ages"] if each["kind"] == "filing")
    assert (filed["of"], filed["on"]) == ("2026-08-31T17:00:00Z", "2026-09-01")
    row = report_page(told, "en").partition("dossier 7")[2]
    assert re.findall(r"\d{4}-\d\d-\d\d", row)[0] == "2026-09-01"


def test_a_ground_that_is_none_is_told_in_words(served: Served) -> None:
    told = served.told()
    flow = told["transfers"]["flows"][0]
    nothing: dict[str, Any] = {"rules": [], "met": [], "running": [], "exemptions": [], "refused": None, "count": 3}
    flow["grounds"] = [nothing, {**nothing, "refused": "not_home", "count": 2}]
    page = re.sub("<wbr>", "", report_page(told, "en"))
    assert "3 × no rule of the laws in use speaks of it" in page
    assert "2 × none: it would be refused (not_home)" in page


def test_a_record_that_its_policy_does_not_give_is_the_first_finding_and_exits_1(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 20)
    log.write(tmp_path / "audit")
    number = next(n for n, e in enumerate(log.entries) if e.decided is not None and e.effect == "permit")
    records = list(log.journal.records)
    entry = parse_entry(records[number])
    records[number] = format_entry(type(entry)(**{**_fields(entry), "rules": ("test.never",)}))
    write_log(tmp_path / "audit" / "log", records)
    result = report(tmp_path / "audit" / "log", tmp_path / "r.html", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"][0] == {"code": "records_wrong", "count": 1}
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["verification"]["first_wrong"][0]["index"] == number


def test_an_act_that_no_decision_is_behind_is_a_finding(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 20)
    log.write(tmp_path / "audit")
    number = next(n for n, e in enumerate(log.entries) if e.kind == "intent")
    records = list(log.journal.records)
    hidden = {**_fields(parse_entry(records[number])), "decided": None}
    records[number] = format_entry(Entry(**hidden))
    write_log(tmp_path / "audit" / "log", records)
    told = json.loads(report(tmp_path / "audit" / "log", tmp_path / "r.html", "--json").stdout)
    assert {"code": "acts_without_a_decision", "count": 1} in told["findings"]
    assert "acts or permits have no decision behind them" in (tmp_path / "r.html").read_text()


def _fields(entry: object) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in type(entry).__dataclass_fields__}  # type: ignore[attr-defined]


def test_of_a_log_that_does_not_hold_nothing_is_written(tmp_path: Path) -> None:
    log = some_weeks(tmp_path, 10).write(tmp_path / "audit")
    (bundle,) = (log / "tile" / "entries" / "000.p").iterdir()
    bundle.write_bytes(bundle.read_bytes().replace(b"POST", b"PAST", 1))
    result = report(log, tmp_path / "r.html", "--json")
    assert (result.exit_code, json.loads(result.stdout)["holds"]) == (1, False)
    assert list(tmp_path.glob("r.*")) == []


def test_without_an_archive_nothing_can_be_made_again_and_that_is_told(served: Served, tmp_path: Path) -> None:
    told = served.told("--archive", str(tmp_path))
    codes = {each["code"] for each in told["findings"]}
    assert {"decisions_not_replayable", "acts_without_a_place"} <= codes
    assert told["coverage"]["share_replayed"] == 0
    assert [each["archived"] for each in told["policies"]] == [False]


def test_a_clock_that_began_before_the_period_is_told_from_its_beginning(tmp_path: Path) -> None:
    dossier = """
  - id: test.dossier
    article: art. 20
    text: A dossier within 60 days.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]}
"""
    file = write_deployment(
        tmp_path,
        """
sinks: {sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}}
stores: {people: [sg]}
activities: [{route: "POST /people", subject: app, data: [personal], store: people}]
""",
        (dossier,),
    )
    log = RecordedLog(load_policy(file), START)
    for _ in range(40):
        log.ask("POST /people", wait=DAY)
    folder = log.write(tmp_path / "audit")
    assert report(folder, tmp_path / "r.html", "--from", "2026-09-20", "--to", "2026-09-25").exit_code == 0
    told = json.loads((tmp_path / "r.json").read_text())
    (due,) = told["transfers"]["dossiers"]
    assert (due["began_on"], due["days_since"], due["state"]) == ("2026-08-30", 26, "clock_running")
    assert told["transfers"]["flows"][0]["count"] == 5
    assert [each["code"] for each in told["findings"]] == ["key_from_the_log_itself", "dossier_event_not_noted"]


def test_keys_and_address_data_are_told_with_their_age(served: Served, tmp_path: Path) -> None:
    for name in ("log.ed25519", "log.mldsa44", "subjects.secret", "log.txt"):
        (tmp_path / name).write_bytes(bytes(32))
    told = served.told("--to", TO, "--keys", str(tmp_path), "--policy", str(served.folder / "test.yaml"))
    keys = [each["name"] for each in told["ages"] if each["kind"] == "key"]
    assert keys == ["log.ed25519", "log.mldsa44", "subjects.secret"]
    ages = {each["kind"]: each for each in told["ages"]}
    assert ages["address_data"]["name"] == "embedded"
    assert ages["address_data"]["age_days"] > 0


@pytest.mark.parametrize(
    "arguments",
    [["--out", "r.txt"], ["--out", "r.html", "--lang", "de"], ["--out", "r.html", "--from", "2026-09-02", "--to", FROM],
     ["--out", "/nowhere/r.html"], ["--out", "r.html", "--keys", "/nowhere"], []],
)  # fmt: skip
def test_wrong_use_exits_2(served: Served, arguments: list[str]) -> None:
    assert runner.invoke(audit_app, ["report", str(served.log), *arguments]).exit_code == 2


def test_help_has_an_example() -> None:
    assert "Example: residency audit report" in runner.invoke(audit_app, ["report", "--help"]).output


@pytest.mark.parametrize(
    ("seconds", "told"), [(90, "1.5 minutes"), (5_400, "1.5 hours"), (86_400, "1.0 days"), (8_640_000, "100.0 days")]
)
def test_an_age_has_a_unit_in_which_it_is_not_nothing(seconds: float, told: str) -> None:
    assert _age(seconds, {word: word for word in ("minutes", "hours", "days")}) == told
