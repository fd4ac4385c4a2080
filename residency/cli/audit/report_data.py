"""What was counted of a period in; the evidence pack as one document of plain JSON values out.

Page, JSON and CSV say what this document says and nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from residency.audit.checkpoint import Checkpoint
from residency.audit.dossiers import Dossier
from residency.audit.entry import Entry
from residency.audit.figures import EFFECTS, ROLES, Figures, Told
from residency.audit.recall import Beside
from residency.audit.transfers import Flow, Transfers
from residency.cli.audit.period import day, instant, iso
from residency.cli.audit.register_rows import dossier_document, flow_document, unobserved, who
from residency.model import FactSet, Retention, RuleRef, deadline
from residency.model.calendar import Term
from residency.policy.compiler import Policy

__all__ = ["Aged", "Checked", "file_ages", "report_document"]

FORMAT: Final = "residency audit report 1"
_DAY: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Checked:
    """The log as it was checked: its name, checkpoint, signed note, key in its text form, whether the key was given."""

    folder: str
    checkpoint: Checkpoint
    note: str
    key: str
    key_given: bool
    open: Sequence[tuple[int, Entry]]
    policies: Mapping[str, Policy]
    unreadable: Mapping[str, str]
    rules: Mapping[str, RuleRef]


@dataclass(frozen=True, slots=True)
class Aged:
    """A key or a set of data: its name and the instant (microseconds) it is of; None = not known."""

    kind: str
    name: str
    at: int | None


def report_document(
    checked: Checked,
    figures: Figures,
    transfers: Transfers,
    flows: Sequence[Flow],
    due: Sequence[Dossier],
    newest: Policy | None,
    facts: FactSet,
    ages: Iterable[Aged],
    until: int,
    held: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The whole report. `until` (microseconds) is the instant that ages and terms are told for; `held` what is kept of
    personal detail, None = that was not at hand."""
    first, last = figures.first, figures.last
    return {
        "format": FORMAT,
        "who": who(newest),
        "origin": checked.checkpoint.origin,
        "period": {
            "from": _bound(figures.since),
            "to": _bound(figures.until),
            "told_as_of": iso(until),
            "first_entry": None if first is None else {"index": first.index, "id": first.id, "at": iso(first.at)},
            "last_entry": None if last is None else {"index": last.index, "id": last.id, "at": iso(last.at)},
        },
        "findings": list(_findings(checked, figures, transfers, due)),
        "coverage": {**figures.coverage(), "not_observed": list(unobserved(newest))},
        "policies": [
            {
                "digest": digest,
                "version": each.version,
                "first_entry": iso(each.first),
                "last_entry": iso(each.last),
                "entries": each.entries,
                "decisions": each.decisions,
                "archived": digest in checked.policies,
            }
            for digest, each in sorted(figures.policies.items(), key=lambda pair: (pair[1].first, pair[0]))
        ],
        "facts": {"changes": figures.facts_changes, "first": [_told(each) for each in figures.facts]},
        "decisions": {
            "by_effect": {effect: figures.effects[effect] for effect in EFFECTS},
            "by_day": [
                {"day": day, **{effect: counts[effect] for effect in EFFECTS}}
                for day, counts in sorted(figures.days.items())
            ],
            "by_jurisdiction": dict(figures.covered.most_common()),
            "by_activity": [
                {"activity": name, **{effect: counts[effect] for effect in EFFECTS}}
                for name, counts in sorted(figures.activities.items())
            ],
            "by_article": list(_articles(checked.rules, figures)),
            "exemptions_used": dict(sorted(figures.exemptions.items())),
        },
        "refusals": {
            "total": sum(figures.refused.values()),
            "by_reason": dict(figures.refused.most_common()),
            "by_rule": dict(figures.refused_by_rule.most_common()),
            "by_activity": dict(figures.refused_routes.most_common()),
            "would_refuse_if_enforced": dict(figures.would_refuse.most_common()),
        },
        "transfers": {
            "acts": transfers.acts,
            "acts_without_a_place": transfers.unplaced,
            "by_outcome": dict(figures.acts.most_common()),
            "flows": [flow_document(flow) for flow in flows],
            "dossiers": [dossier_document(each) for each in due],
        },
        "retention": {
            "entries_with_detail": figures.detailed,
            "oldest_detail": iso(figures.oldest_detail),
            "newest_detail": iso(figures.newest_detail),
            "held": None if held is None else list(held),
            "duties": list(_retentions(checked, figures, until)),
        },
        "open_intents": [
            {"index": index, "id": entry.id, "at": iso(entry.at), "age_seconds": (until - entry.at) / 1e6,
             "activity": entry.activity, "sink": entry.sink}
            for index, entry in checked.open
            if figures.since <= entry.at < figures.until
        ],
        "ages": [*_ages(newest, facts, until), *(_age(each, until) for each in ages)],
        "verification": {
            "log": checked.folder,
            "origin": checked.checkpoint.origin,
            "size": checked.checkpoint.size,
            "root": base64.b64encode(checked.checkpoint.root).decode(),
            "checkpoint": checked.note,
            "key": checked.key,
            "key_given": checked.key_given,
            "records_decided_again": figures.replayed + figures.wrongs,
            "records_wrong": figures.wrongs,
            "first_wrong": [_told(each) for each in figures.wrong],
            "clock_steps_back": figures.steps_back,
            "largest_clock_step": None if figures.largest_step is None else _told(figures.largest_step),
            "archives_unreadable": dict(sorted(checked.unreadable.items())),
        },
    }  # fmt: skip


def _bound(at: int) -> str | None:
    return None if abs(at) >= 1 << 62 else iso(at)


def _told(told: Told) -> dict[str, Any]:
    return {"index": told.index, "id": told.id, "at": iso(told.at), "what": told.what}


def _findings(
    checked: Checked, figures: Figures, transfers: Transfers, due: Sequence[Dossier]
) -> Iterator[dict[str, Any]]:
    """What an auditor has to look at, as codes with a number or words."""
    open_now = sum(1 for _, entry in checked.open if figures.since <= entry.at < figures.until)
    for code, count in (
        ("records_wrong", figures.wrongs),
        ("acts_without_a_decision", figures.beside[Beside.UNDECIDED]),
        ("decisions_not_replayable", sum(figures.gaps.values())),
        ("acts_without_a_place", transfers.unplaced),
        ("open_intents", open_now),
        ("clock_steps_back", figures.steps_back),
        ("archives_unreadable", len(checked.unreadable)),
        ("acts_that_only_observing_let_pass", sum(figures.would_refuse.values())),
    ):
        if count:
            yield {"code": code, "count": count}
    if not checked.key_given:
        yield {"code": "key_from_the_log_itself"}
    for dossier in due:
        for code, about in dossier.amiss():
            yield {"code": code, "filing": dossier.filing, "jurisdiction": dossier.jurisdiction, "flow": about or None}


def _articles(rules: Mapping[str, RuleRef], figures: Figures) -> Iterator[dict[str, Any]]:
    def order(rule: str) -> tuple[str, ...]:
        ref = rules.get(rule)
        return ("~", "", "", rule) if ref is None else (ref.jurisdiction, ref.instrument, ref.article, rule)

    for rule in sorted(figures.rules, key=order):
        ref = rules.get(rule)
        yield {
            "rule": rule,
            "jurisdiction": None if ref is None else ref.jurisdiction,
            "law": None if ref is None else ref.instrument,
            "article": None if ref is None else ref.article,
            "confidence": None if ref is None else ref.confidence,
            **{role: figures.rules[rule][role] for role in ROLES},
        }


def _retentions(checked: Checked, figures: Figures, until: int) -> Iterator[dict[str, Any]]:
    """The retentions that rules of the period ask for; for those of the log itself also when the oldest detail falls
    under them."""
    told: dict[tuple[str, Retention], dict[str, Any]] = {}
    for policy in checked.policies.values():
        for law in policy.laws:
            for rule in law.rules:
                if rule.id not in figures.rules:
                    continue
                for each in sorted(rule.duty.retain):
                    ends = None
                    of_log = each.category == "log" and each.start == "creation" and not each.lifetime
                    if of_log and figures.oldest_detail is not None:
                        ends = deadline(figures.oldest_detail, Term(each.months, each.days), law.calendar)
                    ref = checked.rules.get(rule.id)
                    told[rule.id, each] = {
                        "rule": rule.id,
                        "citation": None if ref is None else ref.citation,
                        "category": each.category,
                        "bound": each.bound.value,
                        "term": _term(each),
                        "from": each.start,
                        "scope": each.scope or None,
                        "oldest_detail_until": iso(ends),
                        "passed": None if ends is None else ends <= until,
                    }
    yield from (told[key] for key in sorted(told, key=lambda key: (key[0], key[1])))


def _term(retention: Retention) -> str:
    if retention.lifetime:
        return "lifetime"
    parts = [f"{number} {word}" for number, word in ((retention.months, "months"), (retention.days, "days")) if number]
    return " ".join(parts) or "0 days"


def _ages(policy: Policy | None, facts: FactSet, until: int) -> Iterator[dict[str, Any]]:
    for law in () if policy is None else policy.laws:
        yield {**_age(Aged("law", law.name, instant(law.checked, "")), until), "confidence": law.confidence}
    for filing in sorted(facts.filings, key=lambda filing: (filing.kind, filing.date)):
        if filing.date > until:
            continue
        place = filing.kind.partition(".")[0].upper()
        laws = () if policy is None else policy.laws
        offset = next((law.calendar.offset for law in laws if law.jurisdiction == place), 0)  # of that law's clocks
        yield {
            **_age(Aged("filing", f"{filing.kind} {filing.number}", filing.date), until),
            "on": day(filing.date, offset),
            "result": filing.result_at(until).value,
            "next_update": iso(filing.next_update),
            "next_update_on": None if filing.next_update is None else day(filing.next_update, offset),
        }


def _age(aged: Aged, until: int) -> dict[str, Any]:
    days = None if aged.at is None else (until - aged.at) // _DAY
    return {"kind": aged.kind, "name": aged.name, "of": iso(aged.at), "age_days": days}


def file_ages(folder: Path) -> Iterator[Aged]:
    """The keys of a folder, by the time their files were written."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".ed25519", ".mldsa44", ".secret"):
            yield Aged("key", path.name, path.stat().st_mtime_ns // 1000)
