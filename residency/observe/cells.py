"""In: counts, durations in microseconds, gauge callables. Out: `Family` values that an adapter renders at a scrape.

A metric on the hot path is `cells[i] += 1` on a plain list of ints, with `i` bound when the decision was first made:
about 30 ns, where a metrics library's `labels().inc()` costs over a microsecond. Everything else happens at the scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from residency.errors import ResidencyError, UsageError
from residency.model.decision import Decision
from residency.model.duty import Effect
from residency.model.finding import Anchor
from residency.model.reason import Reason
from residency.observe import names
from residency.observe.names import Kind, MetricSpec

__all__ = ["BUCKETS", "Family", "HistogramSeries", "Metrics"]

BUCKETS: Final = 21
"""Histogram buckets end at 1, 2, 4 … 2^20 microseconds (about a second); one more takes the rest."""

_NO_JURISDICTION: Final = "none"
_NO_STORE: Final = "none"

Gauge = Callable[[], float | None]
InfoReader = Callable[[], tuple[str, ...]]
CountReader = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class HistogramSeries:
    """One histogram: counts per bucket (not cumulative, the last one unbounded) and the sum in microseconds."""

    counts: tuple[int, ...]
    sum_micros: int


@dataclass(frozen=True, slots=True)
class Family:
    """One metric at one moment: label values and number per series; `histogram` is set for histograms only."""

    spec: MetricSpec
    series: tuple[tuple[tuple[str, ...], float], ...] = ()
    histogram: HistogramSeries | None = None


class Metrics:
    """All the counters of one process. Build it in the composition root; give it to whoever counts.

    `cells` is public on purpose: the hot path adds to it directly. Only the event loop's thread does so; a scrape may
    read from any thread, and reads a copy.
    """

    __slots__ = ("_counts", "_gauges", "_index", "_infos", "_overhead", "cells")

    def __init__(self) -> None:
        self.cells: list[int] = []
        self._index: dict[tuple[str, tuple[str, ...]], int] = {}
        self._gauges: dict[tuple[str, tuple[str, ...]], Gauge] = {}
        self._infos: dict[str, InfoReader] = {}
        self._counts: dict[str, CountReader] = {}
        self._overhead = self._grow(BUCKETS + 2)
        # A series that exists from the start at 0 lets rate() and alerts see its first increment.
        for reason in Reason:
            self.cell(names.REFUSALS, reason.value)
        for basis in ("signal", "presumption"):
            self.cell(names.DECIDED, basis)
        for anchor in (Anchor.CITIZENSHIP, Anchor.RESIDENCE):
            self.cell(names.UNREAD_CLAIMS, anchor.value)
        self.cell(names.EXEMPT)
        self.cell(names.UNSAFE_ADDRESS)
        self.cell(names.PINS_STALE)
        self.cell(names.JOURNAL_LATE)
        self.cell(names.PIN_EVENTS, "contradicted")

    def _grow(self, count: int) -> int:
        start = len(self.cells)
        self.cells.extend([0] * count)
        return start

    def cell(self, name: str, *labels: str) -> int:
        """The index in `cells` of one counter's series, made at 0 on first use.

        Raises: UsageError for a name that is no counter of ours, or the wrong number of label values.
        """
        found = self._index.get((name, labels))
        if found is not None:
            return found
        self._check(name, Kind.COUNTER, labels)
        index = self._grow(1)
        self._index[(name, labels)] = index
        return index

    def add(self, name: str, *labels: str, by: int = 1) -> None:
        """Count `by` more of one counter's series. Raises: UsageError as `cell` does."""
        self.cells[self.cell(name, *labels)] += by

    def decision_cells(self, decision: Decision) -> tuple[int, ...]:
        """Every cell that one such decision adds 1 to: bind once per distinct decision, count with `count`.

        Holds the decision itself, what it was based on, its presumptions, exemptions and overrides, and its refusal (or
        what would have been one where the deployment only observes). A refusal of a single act is counted apart, with
        `refusal`.
        """
        effect = decision.effect.word
        store = "+".join(decision.activity.stores) if decision.activity is not None else ""
        found = [
            self.cell(names.DECISIONS, place, effect, store or _NO_STORE)
            for place in (decision.jurisdictions or (_NO_JURISDICTION,))
        ]
        found.append(self.cell(names.DECIDED, "presumption" if decision.presumed else "signal"))
        for presumed in decision.presumed:
            place, _, anchor = presumed.partition(":")
            found.append(self.cell(names.PRESUMED, place, anchor))
        found += [self.cell(names.EXEMPTIONS, number) for number in decision.exemptions]
        found += [self.cell(names.OVERRIDES, rule.id) for rule in decision.outranked]
        if decision.effect is not Effect.PERMIT:
            name = names.REFUSALS if not decision.permitted else names.WOULD_REFUSE
            found.append(self.cell(name, (decision.reason or Reason.INTERNAL).value))
        return tuple(found)

    def count(self, indexes: tuple[int, ...]) -> None:
        """Add 1 to each of these cells."""
        cells = self.cells
        for index in indexes:
            cells[index] += 1

    def refusal(self, reason: Reason | str, *, observed: bool = False) -> None:
        """Count one refusal that no decision's cells cover; `observed` = it was let pass in mode observe."""
        self.add(names.WOULD_REFUSE if observed else names.REFUSALS, str(reason))

    def exempt(self) -> None:
        """Count one request on an exempt route."""
        self.add(names.EXEMPT)

    def overhead(self, micros: int) -> None:
        """Put one duration in whole microseconds (a negative one counts as 0) into the overhead histogram."""
        # v <= 2^i exactly when (v - 1).bit_length() <= i, so bounds are inclusive as Prometheus has them.
        bucket = (micros - 1).bit_length() if micros > 0 else 0
        cells, start = self.cells, self._overhead
        cells[start + (bucket if bucket < BUCKETS else BUCKETS)] += 1
        if micros > 0:
            cells[start + BUCKETS + 1] += micros

    def gauge(self, name: str, read: Gauge, *labels: str) -> None:
        """Let `read` answer this gauge at every scrape; None = unknown now, which is shown as no sample, never as 0.

        Raises: UsageError for a name that is no gauge of ours, or the wrong number of label values.
        """
        self._check(name, Kind.GAUGE, labels)
        self._gauges[(name, labels)] = read

    def info(self, name: str, read: InfoReader) -> None:
        """Let `read` answer the label values of an always-1 gauge at every scrape, so that a reload shows.

        Raises: UsageError for a name that is no gauge of ours.
        """
        if name not in names.BY_NAME or names.BY_NAME[name].kind is not Kind.GAUGE:
            raise UsageError(f"no gauge is called {name}")
        self._infos[name] = read

    def counts(self, name: str, read: CountReader) -> None:
        """Let `read` answer a counter's series at every scrape, by its one label: for who counts in plain ints.

        Raises: UsageError for a name that is no counter of ours with one label.
        """
        self._check(name, Kind.COUNTER, ("",))
        self._counts[name] = read

    def value(self, name: str, *labels: str) -> int:
        """A counter's present value, 0 where nothing was counted. Raises: UsageError as `cell` does."""
        self._check(name, Kind.COUNTER, labels)
        index = self._index.get((name, labels))
        return 0 if index is None else self.cells[index]

    def families(self) -> Iterator[Family]:
        """Every metric of the table with its series at this moment; may be called off the event loop's thread."""
        gauges = {name: self._read_gauges(name) for name in names.BY_NAME if names.BY_NAME[name].kind is Kind.GAUGE}
        # Copies, the index first: a series made meanwhile is then at worst missing from this scrape.
        index = list(self._index.items())
        cells = list(self.cells)
        for spec in names.METRICS:
            if spec.kind is Kind.HISTOGRAM:
                yield Family(spec, histogram=self._histogram(cells))
            elif spec.kind is Kind.GAUGE:
                yield Family(spec, gauges[spec.name])
            else:
                own = tuple((labels, float(cells[i])) for (name, labels), i in index if name == spec.name)
                read = self._counts.get(spec.name, dict)
                yield Family(spec, own + tuple(((label,), float(count)) for label, count in read().items()))

    def _histogram(self, cells: Sequence[int]) -> HistogramSeries:
        start = self._overhead
        return HistogramSeries(tuple(cells[start : start + BUCKETS + 1]), cells[start + BUCKETS + 1])

    def _read_gauges(self, name: str) -> tuple[tuple[tuple[str, ...], float], ...]:
        found: list[tuple[tuple[str, ...], float]] = []
        try:
            for (gauge, labels), read in list(self._gauges.items()):
                if gauge == name and (value := read()) is not None:
                    found.append((labels, float(value)))
            if name in self._infos:
                found.append((self._infos[name](), 1.0))
        except (ResidencyError, OSError):
            # One gauge that cannot be read must not take the other metrics of the page with it; it is counted.
            self.add(names.SCRAPE_ERRORS, name)
        return tuple(found)

    @staticmethod
    def _check(name: str, kind: Kind, labels: tuple[str, ...]) -> None:
        spec = names.BY_NAME.get(name)
        if spec is None or spec.kind is not kind:
            raise UsageError(f"no {kind} is called {name}")
        if len(labels) != len(spec.labels):
            raise UsageError(f"{name} takes the labels {', '.join(spec.labels) or '(none)'}")
