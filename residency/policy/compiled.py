"""Parsed documents in; what of a policy depends on neither time nor facts nor person, out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from residency.model import Activity, Calendar, FactSet, Operation, Sink, Term, deadline
from residency.policy.duties import Duties
from residency.policy.parsed import DeploymentDoc, LawDoc
from residency.policy.parsed_reading import reader_sink
from residency.policy.rulebook import Rulebook
from residency.policy.tokens import Tokens
from residency.policy.windows import Times, Window, edges, reference

__all__ = ["Compiled", "Covering", "Row", "Running", "trigger_spans"]

_WINDOWS: Final = 64
_PLACES: Final = 1024
_PURPOSES: Final = 1024  # activities that a deployment does not have may be asked about too, with any purpose


@dataclass(frozen=True, slots=True)
class Row:
    """One activity, as far as neither person nor time count. `rules` pass all its tests but those on `data`.

    `purpose` is the token of the consent to its purpose, `tokens` what it proves by itself.
    """

    number: int
    activity: Activity
    rules: int
    data: int
    tokens: int
    purpose: str | None
    duties: Duties
    writes: bool
    sinks: tuple[tuple[Sink, int, int, str, int], ...]
    """(sink, the rules about it, the tokens that it gives, the first of its stores that has it, the rules that want
    treated what goes there)."""
    needs: tuple[frozenset[str], ...]
    """The sinks of each store that the activity cannot do without."""
    readers: tuple[tuple[Sink, int, int, str, int], ...] = ()
    """As `sinks`, of places that the data goes to by being read."""
    coming: int = 0
    """The rules that want treated what comes in."""


@dataclass(frozen=True, slots=True)
class Running:
    """A term that clauses lean on: its token's bit, what starts it, how long it is by each calendar."""

    token: str
    bit: int
    event: str
    place: str
    terms: frozenset[tuple[Term, Calendar]]

    def ends(self, facts: FactSet) -> tuple[int | None, int | None]:
        """(when it started, when it has run out), in microseconds; None where its event has not happened.

        Where laws of one place count by several calendars the first end counts.
        """
        began = facts.event(self.event, self.place)
        if began is None:
            return None, None
        return began, min(deadline(began, term, calendar) for term, calendar in self.terms)


@dataclass(frozen=True, slots=True)
class Covering:
    """What a finding comes to where the same is asked: the rules of the laws that cover, and `known:` tokens."""

    number: int
    rules: int
    tokens: int
    jurisdictions: tuple[str, ...]
    presumed: tuple[str, ...]


class Compiled:
    """A policy's rules, duties and tokens as bits, and its activities' rows. Immutable."""

    __slots__ = (
        "_coverings", "_duties", "_lifting", "_plain", "_readers", "_refs", "_resting", "_rows", "_sinks", "_treating",
        "_unless", "_windows", "book", "deployment", "digest", "edges", "numbers", "running", "tokens", "version",
    )  # fmt: skip

    def __init__(self, deployment: DeploymentDoc, laws: tuple[LawDoc, ...], digest: str, version: int = 0) -> None:
        self.deployment: Final = deployment
        self.digest: Final = digest
        self.version: Final = version
        self.book: Final = Rulebook(deployment, laws)
        self.tokens: Final = Tokens((rule for _, rule in self.book.rules), self.book.coverage)
        self._plain = Duties((rule for _, rule in self.book.rules), self.tokens)
        self._duties: dict[str, Duties] = {}
        self._windows: dict[tuple[int, int, int], Window] = {}
        self._coverings: dict[tuple[int, int], dict[tuple[int, int, int], Covering]] = {}
        self.numbers: Final = count(1)
        self._refs = tuple(reference(law, rule, deployment.mode_of(rule, 0)) for law, rule in self.book.rules)
        self.edges: Final = tuple(sorted({edge for edge in edges(self.book) if edge is not None}))
        self.running: Final = () if deployment.strict_clocks else tuple(_running(self.book, self.tokens))
        self._unless = tuple((self.tokens.bits((token,)), bits) for token, bits in self.book.unless.items())
        self._lifting = sum(bit for bit, _ in self._unless)
        sinks = {name: doc.sink for name, doc in deployment.sinks.items()}
        self._sinks = {
            name: (sink, self.book.about(sink), self.tokens.bits(sink.tokens)) for name, sink in sinks.items()
        }
        self._treating = {sink.place: self.book.treating(sink.place) for sink in sinks.values()}
        self._resting = {name: self.book.resting(sink) for name, sink in sinks.items()}
        self._readers: dict[str, tuple[Sink, int, int, str, int]] = {}
        self._rows = [self.row_of(number, activity) for number, activity in enumerate(deployment.activities, start=1)]

    def coverings(self, asked: int, plain: int) -> dict[tuple[int, int, int], Covering]:
        """What findings come to, known so far, where these questions are asked of them."""
        found = self._coverings.get((asked, plain))
        if found is None:
            if len(self._coverings) >= _WINDOWS:
                self._coverings = {}
            found = self._coverings.setdefault((asked, plain), {})
        return found

    def window(self, times: Times) -> Window:
        """What these times alone settle."""
        collected = -1 if times.collected is None else bisect_right(self.edges, times.collected)
        key = bisect_right(self.edges, times.now), bisect_right(self.edges, times.requested), collected
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _WINDOWS:
                self._windows = {}
            window = self._windows[key] = Window(self.book, self._refs, times)
        return window

    def lifted(self, given: int) -> int:
        """The rules that do not speak because one of these tokens is given (`unless`)."""
        found = 0
        if given & self._lifting:
            for token, bits in self._unless:
                if given & token:
                    found |= bits
        return found

    def row(self, number: int) -> Row:
        """The row of the deployment's activity of that number, from 1."""
        return self._rows[number - 1]

    def row_of(self, number: int, activity: Activity) -> Row:
        """The row of any activity."""
        purpose = None if activity.purpose is None else f"consent:{activity.purpose}"
        return Row(
            number,
            activity,
            self.book.concerning(activity) & self.book.there,
            self.book.data(activity),
            self.tokens.bits(activity.tokens),
            purpose,
            self._duties_of(purpose),
            activity.operation in (Operation.WRITE, Operation.POST),
            tuple(self._used(activity, *used) for used in self.deployment.sinks_of(activity).items()),
            self.deployment.needs(activity),
            coming=self.book.coming(activity),
        )

    def _used(self, activity: Activity, name: str, store: str) -> tuple[Sink, int, int, str, int]:
        sink, about, tokens = self._sinks[name]
        goes = self.deployment.goes_out(activity, sink)
        treating = self._treating[sink.place] if goes else 0
        if sink.scope == "reader":  # nothing rests or comes in where it is read
            return sink, about, tokens, store, treating
        if activity.operation in (Operation.WRITE, Operation.POST) or (goes and sink.scope == "cache"):
            treating |= self._resting[name]
        # Rules about the activity itself are asked once, and not of each of its sinks.
        return sink, about, tokens, store, treating | self.book.coming(activity) & ~self.book.general

    def read_at(self, row: Row, places: tuple[str, ...]) -> Row:
        """The row of the same activity where the data goes to `places` by being read there."""
        if self.deployment.readers == "record":
            return row
        return replace(row, readers=tuple(map(self._reader, places)))

    def _reader(self, place: str) -> tuple[Sink, int, int, str, int]:
        found = self._readers.get(place)
        if found is None:
            sink = reader_sink(place)
            if len(self._readers) >= _PLACES:
                self._readers = {}
            about, tokens = self.book.about(sink), self.tokens.bits(sink.tokens)
            found = self._readers[place] = (sink, about, tokens, "", self.book.treating(place))
        return found

    def _duties_of(self, purpose: str | None) -> Duties:
        if purpose is None or not self.tokens.purpose:  # no clause asks for the consent to it: all read alike
            return self._plain
        duties = self._duties.get(purpose)
        if duties is None:
            duties = self._plain.of_purpose(self.tokens, purpose)
            if len(self._duties) < _PURPOSES:
                self._duties[purpose] = duties
        return duties

    def boundaries(self, facts: FactSet) -> tuple[int, ...]:
        """The instants (microseconds) at which a decision under these facts may change, in order."""
        found: set[int | None] = set(self.edges)
        for filing in facts.filings:
            found |= {filing.date, filing.expires, *(date for date, _ in filing.changes)}
        for stop in facts.stop_orders:
            found |= {stop.since, stop.lifted}
        for exemption in facts.exemptions:
            found |= {exemption.start, exemption.end}
        for trigger, calendar in self.book.triggers:
            for began, lifted in trigger_spans(trigger.order, trigger.after, calendar, facts):
                found |= {began, lifted}
        for running in self.running:
            found |= set(running.ends(facts))
        return tuple(sorted(edge for edge in found if edge is not None))


def trigger_spans(
    kind: str, after: Term | None, calendar: Calendar, facts: FactSet
) -> Iterator[tuple[int, int | None]]:
    """From when until when (microseconds, None = open) orders of a kind put rules in force."""
    for order in facts.orders:
        if order.kind == kind:
            yield order.date if after is None else deadline(order.date, after, calendar), order.lifted


def _running(book: Rulebook, tokens: Tokens) -> Iterator[Running]:
    terms: dict[tuple[str, str, str], set[tuple[Term, Calendar]]] = {}
    for law, rule in book.rules:
        for grace in rule.graces:
            terms.setdefault((grace.token, grace.event, law.jurisdiction), set()).add((grace.term, law.calendar))
    for (token, event, place), by in sorted(terms.items()):
        if bit := tokens.bits((token,)):
            yield Running(token, bit, event, place, frozenset(by))
