"""In: the process's `Metrics`. Out: one page in Prometheus's text format, through a collector of our own.

Rendering walks every series (milliseconds at a thousand of them): call `render` in a worker thread, not on the loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from residency.observe.cells import BUCKETS, Family, HistogramSeries, Metrics
from residency.observe.names import Kind

__all__ = ["MetricsCollector", "render"]

_MICROS: Final = 1_000_000
_BOUNDS: Final = (*(str(2**i / _MICROS) for i in range(BUCKETS)), "+Inf")


class MetricsCollector(Collector):
    """Hands a process's cells to prometheus_client at scrape time; can also join an app's own registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """All families of the table, in its order."""
        return [_family(family) for family in self._metrics.families()]


def render(metrics: Metrics) -> tuple[bytes, str]:
    """The page and its content type. Uses a registry of its own: the app's registry neither shows nor hides ours."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(metrics))
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _family(family: Family) -> Metric:
    spec = family.spec
    if spec.kind is Kind.HISTOGRAM:
        return _histogram(spec.name, spec.help, family.histogram)
    made: CounterMetricFamily | GaugeMetricFamily
    if spec.kind is Kind.COUNTER:
        made = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
    else:
        made = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
    for labels, value in family.series:
        made.add_metric(labels, value)
    return made


def _histogram(name: str, text: str, series: HistogramSeries | None) -> Metric:
    made = HistogramMetricFamily(name, text)
    if series is not None:
        buckets = list(zip(_BOUNDS, map(float, accumulate(series.counts)), strict=True))
        made.add_metric((), buckets, series.sum_micros / _MICROS)
    return made
