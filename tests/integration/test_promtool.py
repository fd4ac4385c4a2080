"""What we ship for Prometheus and Grafana holds against Prometheus's own checker and against our table of metrics."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from residency import ResidencyMiddleware, build
from residency.adapters.prometheus import render
from residency.observe import names
from residency.observe.names import Kind
from tests.scraped import full_metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "residency.json"
POLICY = """\
residency: 1
kind: deployment
name: scraped
mode: enforce
operator: {established_in: [VN]}
laws: none
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
metrics: /metrics
exempt: [GET /healthz]
activities:
  - {route: "GET /", subject: none, data: [content]}
"""
OF_PROMETHEUS = {"job", "instance", "le"}


def run(promtool: Path, *arguments: str, given: bytes | None = None) -> str:
    done = subprocess.run([promtool, *arguments], input=given, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def expressions() -> list[tuple[str, str]]:
    return [(str(rule.get("alert", rule.get("record"))), rule["expr"]) for rule in rules()] + list(
        dashboard_expressions()
    )


def metrics_in(expression: str) -> set[str]:
    exposed = {spec.name: spec.name for spec in names.METRICS}
    for spec in names.METRICS:
        if spec.kind is Kind.HISTOGRAM:
            exposed |= {spec.name + part: spec.name for part in ("_bucket", "_sum", "_count")}
    return {exposed.get(name, f"unknown: {name}") for name in re.findall(r"\bresidency_[a-z_]+", expression)}


@pytest.mark.needs("promtool")
def test_the_rule_file_and_the_scrape_configuration_are_valid(promtool: Path) -> None:
    assert f"{len(rules())} rules found" in run(promtool, "check", "rules", "--lint-fatal", str(RULES))
    run(promtool, "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


@pytest.mark.needs("promtool")
def test_every_alert_fires_when_it_should_and_keeps_quiet_otherwise(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", str(RULES.with_name("rules_test.yml")))


@pytest.mark.needs("promtool")
def test_the_metrics_page_passes_prometheus_own_lint(promtool: Path) -> None:
    page = render(full_metrics())[0]
    for spec in names.METRICS:
        assert f"\n{spec.name}".encode() in b"\n" + page
    assert run(promtool, "check", "metrics", given=page) == ""


@pytest.mark.needs("promtool")
def test_every_query_of_the_dashboard_parses(promtool: Path, tmp_path: Path) -> None:
    recorded = [
        {"record": f"dashboard:query{number}", "expr": re.sub(r"\$__(rate_interval|range)", "5m", expression)}
        for number, (_, expression) in enumerate(dashboard_expressions())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    run(promtool, "check", "rules", str(file))


@pytest.mark.needs("promtool")
def test_a_scrape_through_the_middleware_shows_what_was_decided_and_refused(promtool: Path, tmp_path: Path) -> None:
    policy = tmp_path / "deployment.yaml"
    policy.write_text(POLICY)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("ok")(scope, receive, send)

    runtime = build(policy)
    client = TestClient(ResidencyMiddleware(app, policy=runtime))
    assert [client.get(path).status_code for path in ("/", "/", "/nowhere", "/healthz")] == [200, 200, 403, 200]
    answer = client.get("/metrics")
    until = time.monotonic() + 30
    while f"\n{names.LOG_SIZE} " not in answer.text and time.monotonic() < until:
        time.sleep(0.05)  # the sequencer publishes from a thread of its own
        answer = client.get("/metrics")
    asyncio.run(runtime.aclose())

    assert answer.headers["content-type"].startswith("text/plain; version=")
    run(promtool, "check", "metrics", given=answer.content)
    samples = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    shown = {series: float(value) for series, _, value in samples}
    assert shown['residency_decisions_total{effect="permit",jurisdiction="none",store="none"}'] == 2
    assert shown['residency_refusals_total{reason="unclassified_route"}'] == 1
    assert shown["residency_exempt_total"] == 1
    assert shown["residency_overhead_seconds_count"] >= 3
    assert shown["residency_address_data_age_seconds"] > 0
    assert shown[f'residency_policy_info{{digest="{runtime.policy.digest}",name="scraped",version="0"}}'] == 1
    for name in (names.OPEN_INTENTS, names.LOG_SIZE, names.JOURNAL_BACKLOG):
        assert name in shown
    assert shown[names.SEQUENCER_FAILING] == 0


def test_every_alert_has_a_unit_test() -> None:
    tests = yaml.safe_load(RULES.with_name("rules_test.yml").read_text())["tests"]
    fired = {t["alertname"] for test in tests for t in test.get("alert_rule_test", ()) if t["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


@pytest.mark.parametrize(("title", "expression"), [pytest.param(*e, id=e[0]) for e in expressions()])
def test_queries_name_only_metrics_and_labels_that_exist(title: str, expression: str) -> None:
    used = metrics_in(expression)
    assert used <= set(names.BY_NAME)
    known = OF_PROMETHEUS | {label for name in used for label in names.BY_NAME[name].labels}
    grouped = {label.strip() for by in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in by.split(",")}
    matched = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression))
    assert grouped | matched <= known, title


def test_every_metric_is_on_the_dashboard_and_the_presumed_share_stands_first() -> None:
    shown = set().union(*(metrics_in(expression) for _, expression in dashboard_expressions()))
    assert shown == set(names.BY_NAME)
    first = min(panels(), key=lambda p: (p["gridPos"]["y"], p["gridPos"]["x"]))
    assert names.DECIDED in metrics_in(first["targets"][0]["expr"])


def settings(panel: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """What holds for one query of a panel: its defaults, and what is set for it alone."""
    config = panel["fieldConfig"]
    found: dict[str, Any] = dict(config["defaults"])
    for each in config["overrides"]:
        if each["matcher"] == {"id": "byFrameRefID", "options": target["refId"]}:
            found |= {one["id"]: one["value"] for one in each["properties"]}
    return found


def alerts_at(metric: str) -> set[float]:
    """The numbers at which alerts about a metric fire."""
    numbers: set[float] = set()
    for rule in rules():
        if "alert" in rule and metric in metrics_in(rule["expr"]):
            for value, factor in re.findall(r"[<>=]=? (\d+(?:\.\d+)?)(?: \* (\d+))?", rule["expr"]):
                numbers.add(float(value) * float(factor or 1))
    return numbers


PANELS = [pytest.param(panel, id=panel["title"]) for panel in panels()]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_whose_line_is_whose(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    set_alone = {
        each["matcher"]["options"]
        for each in panel["fieldConfig"]["overrides"]
        if each["matcher"]["id"] == "byFrameRefID"
    }
    assert set_alone <= set(references)
    if panel["type"] == "timeseries":
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert all(legends)
        assert len(set(legends)) == len(legends)
        assert panel["options"]["legend"]["showLegend"] or (len(legends) == 1 and "{{" not in legends[0])
    for target in panel["targets"]:
        plain_rate = re.search(r"\brate\(", target["expr"]) and not re.search(r"histogram_quantile| / ", target["expr"])
        assert bool(plain_rate) == (settings(panel, target)["unit"] in ("reqps", "cps")), target["refId"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_cuts_nothing_off_and_draws_its_lines_where_alerts_fire(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        shown = settings(panel, target)
        metrics = metrics_in(target["expr"])
        if "max" in shown and shown["unit"] != "percentunit":
            assert shown["max"] == 1
            assert all(names.BY_NAME[name].help.startswith("1 ") for name in metrics), "it may be more than 1"
        if shown.get("custom", {}).get("thresholdsStyle"):
            lines = {abs(step["value"]) for step in shown["thresholds"]["steps"] if step["value"]}
            known = set().union(*(alerts_at(name) for name in metrics | metrics_in(panel["targets"][-1]["expr"])))
            assert lines
            assert lines <= known


@pytest.mark.parametrize("panel", [each for each in PANELS if each.values[0]["type"] == "table"])  # type: ignore[index]
def test_a_table_names_the_columns_that_its_query_has(panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    grouped = re.search(r"by \(([^)]*)\)", target["expr"])
    assert grouped is not None
    columns = {label.strip() for label in grouped[1].split(",")} | {"Value"}
    (change,) = panel["transformations"]
    assert set(change["options"]["renameByName"]) == set(change["options"]["indexByName"]) == columns


def test_each_query_keeps_to_what_is_chosen_above_the_panels() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    choices = {each["name"] for each in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) <= choices | {"__rate_interval", "__range", "__all"}
    for _, expression in dashboard_expressions():
        for selector in re.findall(r"residency_\w+(\{[^}]*\})?", expression):
            assert {'job=~"$job"', 'instance=~"$instance"'} <= set(selector.strip("{}").split(",")), expression
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_panels_do_not_overlap_and_fill_whole_rows() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert taken == {(x, y) for x in range(24) for y in range(max(y for _, y in taken) + 1)}
