"""The page that a scrape gets is what the cells hold."""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from residency.adapters.prometheus import MetricsCollector, render
from residency.observe import names
from residency.observe.cells import BUCKETS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page, _ = render(metrics)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_a_counter_is_shown_with_its_labels() -> None:
    metrics = Metrics()
    metrics.add(names.DECISIONS, "VN", "deny", "people", by=3)
    key = (names.DECISIONS, (("effect", "deny"), ("jurisdiction", "VN"), ("store", "people")))
    assert samples(metrics)[key] == 3


def test_the_histogram_is_cumulative_and_in_seconds() -> None:
    metrics = Metrics()
    for micros in (1, 3, 4, 2_000_000):
        metrics.overhead(micros)
    shown = samples(metrics)
    buckets = [value for (name, _), value in shown.items() if name == names.OVERHEAD + "_bucket"]
    assert len(buckets) == BUCKETS + 1
    assert buckets == sorted(buckets)
    assert shown[(names.OVERHEAD + "_bucket", (("le", "4e-06"),))] == 3
    assert shown[(names.OVERHEAD + "_bucket", (("le", "+Inf"),))] == 4
    assert shown[(names.OVERHEAD + "_count", ())] == 4
    assert shown[(names.OVERHEAD + "_sum", ())] == 2.000008


def test_every_metric_of_the_table_is_announced_even_before_it_counts() -> None:
    page = render(Metrics())[0].decode()
    for spec in names.METRICS:
        assert f"# TYPE {spec.name} {spec.kind}\n" in page
        assert f"# HELP {spec.name} {spec.help}\n" in page


def test_the_content_type_is_prometheus_text() -> None:
    assert render(Metrics())[1].startswith("text/plain; version=")


def test_the_collector_can_join_an_apps_own_registry() -> None:
    metrics = Metrics()
    metrics.exempt()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(metrics))
    assert registry.get_sample_value(names.EXEMPT) == 1


def test_a_scrape_from_another_thread_while_series_are_made_shows_a_whole_page() -> None:
    metrics = Metrics()
    pages: list[bytes] = []
    done = threading.Event()

    def scrape() -> None:
        while not done.is_set():
            pages.append(render(metrics)[0])

    thread = threading.Thread(target=scrape)
    thread.start()
    for number in range(2_000):
        metrics.add(names.DECISIONS, f"X{number}", "permit", "people")
    done.set()
    thread.join()
    assert all(page.endswith(b"\n") for page in pages)
    assert len([key for key in samples(metrics) if key[0] == names.DECISIONS]) == 2_000
