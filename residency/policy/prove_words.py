"""Proofs in; what is told of them, and the command that asks a counterexample again, out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from residency.jurisdiction.found import finding_words
from residency.policy.parsed import Must
from residency.policy.prove import Case, Proof
from residency.policy.prove_reports import Report, report
from residency.policy.terms import moment

__all__ = ["case_data", "command", "proof_data", "proof_report"]


def proof_report(proof: Proof, file: str) -> Report | None:
    """What is to be told of a proof: a refutation, what was not proved, what holds of nothing; None where it holds.

    `file` is the policy as the command names it.
    """
    must, path = proof.must, proof.must.path
    if proof.holds is None:
        return report(proof.source, path, "warning", "not_proved", f"must `{must.id}`: not proved: {proof.why}")
    if not proof.holds and proof.counter is not None:
        case = proof.counter
        names = tuple(other.activity.name for other in (case, *proof.others))
        message = f"must `{must.id}` does not hold: {_told(case)}"
        if must.why:
            message += f"; {must.why}"
        if proof.others:
            more = "too" if len(proof.others) == 1 else f"and {len(proof.others) - 1} more too"
            message += f" (activity `{names[1]}` {more})"
        asked = command(file, case)
        message += f"\n    {asked}" if asked else "\n    (residency explain cannot ask this: see --json)"
        return report(proof.source, path, "error", "must", message, activities=names)
    if proof.meant == 0:
        message = f"must `{must.id}` holds of nothing: no act of this deployment meets `{written(must)}`"
        return report(proof.source, path, "warning", "must_of_nothing", message)
    return None


def proof_data(proof: Proof, file: str) -> dict[str, object]:
    """A proof for programs."""
    counter = proof.counter
    return {
        "id": proof.must.id,
        "never": written(proof.must),
        "holds": proof.holds,
        "cases": proof.cases,
        "about": proof.meant,
        "because": list(proof.rules),
        "why_not_proved": proof.why,
        "counterexamples": [case_data(case, file) for case in ((counter, *proof.others) if counter else ())],
    }


def case_data(case: Case, file: str) -> dict[str, object]:
    """A counterexample for programs; times as ISO 8601, UTC."""
    return {
        "activity": case.activity.name,
        "sink": None if case.sink is None else case.sink.name,
        "finding": list(finding_words(case.finding)),
        "evidence": sorted(case.evidence),
        "at": moment(case.at),
        "escalated": sorted(case.escalated),
        "requested": None if case.requested is None else moment(case.requested),
        "collected": None if case.collected is None else moment(case.collected),
        "command": command(file, case),
    }


def command(file: str, case: Case) -> str | None:
    """The command line that asks a counterexample again; None where `explain` has no words for it."""
    if case.escalated or case.requested is not None or case.collected is not None:
        return None
    words: list[str] = ["residency", "explain", "--policy", file, "--activity", case.activity.name]
    words += ["--finding", " ".join(finding_words(case.finding))]
    if case.evidence:
        words += ["--evidence", " ".join(sorted(case.evidence))]
    return shlex.join([*words, "--at", moment(_second(case.at))])


def written(must: Must) -> str:
    """An invariant's condition as it is written."""
    return ", ".join(f"{key}: {'not ' if negated else ''}{_words(sorted(words))}" for key, negated, words in must.never)


def _words(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"


def _told(case: Case) -> str:
    at = "" if case.sink is None else f" at sink `{case.sink.name}` ({case.sink.place})"
    told = f"activity `{case.activity.name}` is permitted{at} on {moment(case.at)[:10]}"
    if case.escalated:
        told += f", once {', '.join(sorted(case.escalated))} is up"
    if case.requested is not None:
        told += f", asked on {moment(case.requested)[:10]}"
    if case.collected is not None:
        told += f", of data collected on {moment(case.collected)[:10]}"
    return told


def _second(at: int) -> int:
    """The instant itself where it is a whole second, else the next: boundaries are whole seconds."""
    return -(-at // 1_000_000) * 1_000_000
