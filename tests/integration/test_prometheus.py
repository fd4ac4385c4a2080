"""A real Prometheus scrapes every metric that we have, evaluates the rules that we ship, and answers each query of the
dashboard with what its panel shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import find_promtool
from tests.scraped import Prometheus, prometheus
from tests.servers import eventually

pytestmark = pytest.mark.needs("promtool")
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "residency.json").read_text())
QUERIES = [
    *(
        (f"{panel['title']}: {target['refId']}", target["expr"], target.get("legendFormat", ""))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ),
    *((each["name"], each["expr"], each.get("titleFormat", "")) for each in DASHBOARD["annotations"]["list"]),
]
FOUR_SCRAPES = "min(count_over_time(residency_decided_total[30s])) >= 4"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    promtool = find_promtool()
    assert promtool is not None
    program = promtool.with_name("prometheus")
    assert program.is_file(), "prometheus is not beside promtool: scripts/test-tiers fetches both"
    with prometheus(program, tmp_path_factory.mktemp("prometheus"), DEPLOY / "prometheus") as started:
        eventually(lambda: started.query(FOUR_SCRAPES), within=60, what="four scrapes")
        yield started


def test_the_page_is_scraped_and_every_rule_that_we_ship_is_evaluated(server: Prometheus) -> None:
    (target,) = server.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")

    def evaluated() -> bool:
        found = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
        assert not [rule for rule in found if rule["health"] == "err"]
        return bool(found) and all(rule["health"] == "ok" for rule in found)

    eventually(evaluated, what="every rule")


@pytest.mark.parametrize(("name", "expression", "legend"), [pytest.param(*query, id=query[0]) for query in QUERIES])
def test_each_query_of_the_dashboard_has_an_answer_with_the_labels_of_its_legend(
    server: Prometheus, name: str, expression: str, legend: str
) -> None:
    asked = expression.replace("$job", ".*").replace("$instance", ".*")
    asked = asked.replace("$__rate_interval", "30s").replace("$__range", "1m")
    series = server.query(asked)
    assert [each for each in series if each["value"][1] != "NaN"], "nothing to be shown"
    wanted = set(re.findall(r"{{\s*(\w+)\s*}}", legend))
    assert all(wanted <= set(each["metric"]) for each in series), series


def test_the_dashboard_s_own_choices_are_there_to_be_made(server: Prometheus) -> None:
    for choice in DASHBOARD["templating"]["list"]:
        if choice["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+)(?:{.*})?, (\w+)\)", choice["definition"]).groups()  # type: ignore[union-attr]
            assert server.ask(f"label/{label}/values", **{"match[]": metric}), choice["name"]
