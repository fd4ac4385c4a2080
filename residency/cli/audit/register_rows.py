"""The transfer register as values in; JSON, rows of CSV and lines for people out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from residency.audit.dossiers import Dossier
from residency.audit.transfers import UNKNOWN_PLACE, Flow, Ground, Transfers
from residency.cli.audit.period import day, iso, printable
from residency.cli.audit.shared import csv_cell
from residency.model import RuleRef
from residency.policy.compiler import Policy

__all__ = [
    "dossier_document", "flow_document", "flow_rows", "ground_words", "recipient_word", "register_document",
    "register_lines", "subjects_word", "unobserved", "who",
]  # fmt: skip


def unobserved(policy: Policy | None) -> tuple[str, ...]:
    """The activities that call services of which the log tells nothing: those that are no stores."""
    if policy is None:
        return ()
    document = policy.deployment
    return tuple(sorted(name for name, service in document.http.items() if service not in document.stores))


def register_document(
    policy: Policy | None,
    flows: Sequence[Flow],
    due: Sequence[Dossier],
    transfers: Transfers,
    problems: Sequence[str],
    now: int,
) -> dict[str, Any]:
    """The whole register as JSON."""
    return {
        "holds": not problems,
        "problems": problems,
        "at": iso(now),
        "who": who(policy),
        "policy": None if policy is None else policy.digest,
        "acts": transfers.acts,
        "acts_without_a_place": transfers.unplaced,
        "not_observed": list(unobserved(policy)),
        "flows": [flow_document(flow) for flow in flows],
        "dossiers": [dossier_document(each) for each in due],
    }


def flow_document(flow: Flow) -> dict[str, Any]:
    """A flow as JSON, its instants as people write them."""
    return _dated(flow.data(), ("first", "last"))


def dossier_document(dossier: Dossier) -> dict[str, Any]:
    """A dossier as JSON, its instants as people write them."""
    told = _dated(dossier.data(), ("first_in_log", "noted", "began", "deadline"))
    return {**told, "filings": [_dated(filing, ("date",)) for filing in told["filings"]]}


def _dated(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {**values, **{name: iso(values[name]) for name in names}}


def who(policy: Policy | None) -> dict[str, Any] | None:
    """Who transfers: the operator, as the deployment tells it."""
    if policy is None:
        return None
    operator = policy.deployment.operator
    return {
        "deployment": policy.deployment.name,
        "established_in": sorted(operator.established_in),
        "roles": sorted(operator.roles),
    }


def ground_words(ground: Ground) -> str:
    """A ground in one line."""
    if ground.refused is not None:
        return f"none: would be refused ({ground.refused})"
    parts = [*(f"rule {rule}" for rule in ground.rules), *ground.met, *ground.running]
    parts += [f"exemption {number}" for number in ground.exemptions]
    return "; ".join(parts) or "no rule of the laws in use speaks of it"


def subjects_word(flow: Flow) -> str:
    """How many people a flow is about."""
    return f"{'' if flow.subjects_exact else 'at least '}{len(flow.subjects)}"


def recipient_word(place: str, unknown: str) -> str:
    """Where data went: the code of the place, or the word for one that nobody knows."""
    return unknown if place == UNKNOWN_PLACE else place


_COLUMNS: Final = (
    "who", "established_in", "jurisdiction", "activity", "operation", "purpose", "categories", "sink", "region",
    "recipient_country", "provider", "keys", "abroad_by", "first", "last", "count", "outcome_unknown", "subjects",
    "ground",
)  # fmt: skip


def flow_rows(policy: Policy | None, flows: Iterable[Flow]) -> Iterator[tuple[str, ...]]:
    """The flows as rows under `_COLUMNS`, the head among them."""
    yield _COLUMNS
    operator = who(policy)
    name = "" if operator is None else str(operator["deployment"])
    places = "" if operator is None else " ".join(operator["established_in"])
    for flow in flows:
        key = flow.key
        grounds = " | ".join(f"{count} x {ground_words(ground)}" for ground, count in flow.grounds.items())
        row = (
            name, places, key.jurisdiction, key.activity, key.operation, key.purpose, " ".join(key.categories),
            key.sink, key.region, recipient_word(key.place, "unknown"), key.provider, key.keys, " ".join(key.how),
            iso(flow.first) or "", iso(flow.last) or "", str(flow.count), str(flow.unknown), subjects_word(flow),
            grounds,
        )  # fmt: skip
        yield tuple(map(csv_cell, row))


def register_lines(
    policy: Policy | None,
    rules: Mapping[str, RuleRef],
    flows: Sequence[Flow],
    due: Sequence[Dossier],
    acts: int,
    now: int,
) -> Iterator[str]:
    """The register for people; `rules` cites rules by id."""
    return map(printable, _lines(policy, rules, flows, due, acts, now))


def _lines(
    policy: Policy | None,
    rules: Mapping[str, RuleRef],
    flows: Sequence[Flow],
    due: Sequence[Dossier],
    acts: int,
    now: int,
) -> Iterator[str]:
    operator = who(policy)
    if operator is not None:
        places = ", ".join(operator["established_in"])
        yield f"Transfer register of {operator['deployment']} (established in {places}), as of {day(now)} (UTC)"
    silent = unobserved(policy)
    if silent:
        yield "Not observed: what these activities send to services that are no stores (`http`): " + ", ".join(silent)
    yield f"{_count(len(flows), 'flow', 'flows')} abroad, in {_count(acts, 'act', 'acts')} on sinks"
    for flow in flows:
        yield ""
        yield from _flow_lines(flow, rules)
    for each in due:
        yield ""
        yield from _dossier_lines(each, now)


def _flow_lines(flow: Flow, rules: Mapping[str, RuleRef]) -> Iterator[str]:
    key = flow.key
    yield f"{key.jurisdiction}  {key.activity} ({key.operation}): {', '.join(key.categories) or 'no category'}"
    where = f"to {key.sink} in {key.place}"
    if "reader" in key.how:
        place = recipient_word(key.place, "a place that nobody knows")
        where = f"read from {place}, out of {key.sink} in {key.region}"
    where += f", provider {key.provider}, keys {key.keys}"
    yield f"    {where}; abroad by {' and '.join(key.how)}"
    unknown = f", {flow.unknown:,} of unknown end" if flow.unknown else ""
    people = "person" if subjects_word(flow) == "1" else "people"
    acts = f"{_count(flow.count, 'act', 'acts')}{unknown}, {subjects_word(flow)} {people}"
    yield f"    {day(flow.first)} to {day(flow.last)} (UTC): {acts}"
    for ground, count in sorted(flow.grounds.items(), key=lambda pair: -pair[1]):
        yield f"    {count:>8,} x {ground_words(ground)}"
    for rule in sorted({rule for ground in flow.grounds for rule in ground.rules}):
        if rule in rules:
            yield f"               {rule}: {rules[rule].citation}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _dossier_lines(dossier: Dossier, now: int) -> Iterator[str]:
    state = dossier.state.value.replace("_", " ")
    # Another day than the flows' where the law's clocks are ahead: who reads both must know why.
    clocks = f"its days are those at {_clocks(dossier.offset)}"
    yield f"Dossier {dossier.filing} of {dossier.jurisdiction}: {state}; {clocks}"
    if dossier.began_on is not None:
        left = ""
        if dossier.days_left is not None and not dossier.filings:
            over = dossier.days_left < 0
            days = _count(abs(dossier.days_left), "day", "days")
            left = f", {days} over it" if over else f", {days} left"
        yield (
            f"    first transfer {dossier.began_on}, {_count(dossier.days_since or 0, 'day', 'days')} ago; the term of"
            f" {dossier.term.replace('-', ' ')} ends with {dossier.last_day}{left}"
        )
        first, noted = (day(at, dossier.offset) for at in (dossier.first, dossier.noted))
        yield f"    first in the log {first}, as noted {noted}"
    for filing in dossier.filings:
        yield f"    filed {day(filing.date, dossier.offset)} as {filing.number}: {filing.result_at(now).value}"
    for flow in dossier.begun_after:
        first = day(flow.first, dossier.offset)
        yield f"    began after the filing: {flow.key.activity} to {flow.key.sink}, {first}"


def _clocks(offset: int) -> str:
    """An offset in minutes east of UTC as people write it."""
    return f"UTC{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}" if offset else "UTC"
