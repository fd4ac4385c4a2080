"""`residency audit register`: where a log lies and the archive beside it in; the register of transfers abroad out."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from residency.adapters.clock_system import SystemClock
from residency.audit.dossiers import dossiers
from residency.audit.entry import Entry
from residency.audit.pairs import Pairs
from residency.audit.transfers import Flow, Transfers
from residency.audit.verify import read_checkpoint
from residency.cli.archive_folder import Archive
from residency.cli.audit.period import instant
from residency.cli.audit.register_rows import flow_rows, register_document, register_lines
from residency.cli.audit.shared import Json, Key, Place, holding
from residency.cli.log_folder import entries
from residency.cli.log_places import archive_of, reader_of, verifier_key_at
from residency.cli.replay import candidate_at
from residency.model import FactSet
from residency.policy.compiler import Policy

__all__ = ["ArchiveOption", "Newest", "facts_of", "register"]

_WORK: Final = "looking for transfers"
ArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--archive", metavar="DIR", help="The folder of policies/ and facts/. Default: above the log, or in it."
    ),
]


class Newest:
    """The policy and the facts that were in force last, by the entries `before` an instant (microseconds)."""

    def __init__(self, before: int | None = None) -> None:
        self.policy: str | None = None
        self.facts: str | None = None
        self.at: int | None = None
        """The time of the newest entry."""
        self._before = before
        self._policy_at = self._facts_at = -(1 << 62)

    def add(self, entry: Entry) -> None:
        """Take in one entry."""
        at = entry.at
        if self._before is not None and at >= self._before:
            return
        self.at = at if self.at is None else max(self.at, at)
        if entry.policy is not None and at >= self._policy_at:
            self._policy_at, self.policy = at, entry.policy
        if entry.facts is not None and at >= self._facts_at:
            self._facts_at, self.facts = at, entry.facts


def register(
    place: Place,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="The deployment file."),
    ] = None,
    archive: ArchiveOption = None,
    key: Key = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="DATE", help="Tell the dossiers as of that day. Default: now.")
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The flows as CSV, one a line.")] = False,
) -> None:
    """The transfer register: which data of whom went abroad, where to, since when, how often, on what ground; which
    dossiers that makes due, and which flows they do not mention.

    Laws and sinks are those of the archived policies; filings those of --policy, where it is given. Exit 0 = all is in
    order, 1 = the log does not hold, or something is amiss with a dossier, 2 = wrong use, or a place that cannot be
    reached.

    Example: residency audit register ./residency-data/audit/log --policy policies/deployments/ai-chat.yaml
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json or --csv, not both", param_hint="--csv")
    now = instant(at, "--at")
    if now is None:
        now = SystemClock().now()
    given = None if policy is None else candidate_at(policy)
    opened = Archive(archive_of(place, archive, "--archive"), given)
    transfers, newest, pairs = Transfers(opened.policy, opened.facts), Newest(), Pairs()
    read = reader_of(place)
    quiet = as_json or as_csv
    with holding(as_json):
        checkpoint = read_checkpoint(read, verifier_key_at(read, key))
        for index, entry in enumerate(entries(read, checkpoint, pairs, progress=not quiet, what=_WORK)):
            transfers.add(index, entry)
            newest.add(entry)
        pairs.finish()
        flows = transfers.flows()
        last = transfers.policy(newest.policy) if given is None else given
        due = () if last is None else dossiers(last, facts_of(opened, newest, given), flows, now)
    problems = [*_amiss(transfers, flows, last), *(line for each in due for line in each.problems())]
    if as_json:
        print(json.dumps(register_document(last, flows, due, transfers, problems, now), ensure_ascii=False))
    elif as_csv:
        csv.writer(sys.stdout, lineterminator=os.linesep).writerows(flow_rows(last, flows))
    else:
        for line in register_lines(last, opened.rules(), flows, due, transfers.acts, now):
            typer.echo(line)
        for problem in problems:
            Console(stderr=True).print(f"[bold red]Amiss:[/] {escape(problem)}", soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def facts_of(archive: Archive, newest: Newest, given: Policy | None) -> FactSet:
    """The facts that stand: filings and orders of the policy at hand, and every event that was noted."""
    noted = None if newest.facts is None else archive.facts(newest.facts)
    if given is None:
        return FactSet(0) if noted is None else noted
    events = given.facts.events if noted is None else (*given.facts.events, *noted.events)
    return FactSet(0, given.facts.filings, given.facts.stop_orders, given.facts.orders, given.facts.exemptions, events)


def _amiss(transfers: Transfers, flows: Iterable[Flow], policy: Policy | None) -> Iterator[str]:
    if policy is None:
        yield "no policy is archived or given: nobody can say where data went (--archive, --policy)"
    if transfers.unplaced:
        yield f"{transfers.unplaced} acts went nobody can say where: their policies are not archived"
    for flow in flows:
        for ground, count in flow.grounds.items():
            if ground.refused is not None:
                about = f"{flow.key.activity} to {flow.key.sink}"
                yield f"{count} acts of {about} went on, though enforcing would refuse them: {ground.refused}"
