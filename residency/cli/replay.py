"""`residency replay`: an audit folder and a candidate in; what is covered, what is wrong and what would change, out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from residency.adapters.keys_files import KeysFiles
from residency.adapters.policy_files import load, read_file
from residency.audit.checkpoint import Checkpoint
from residency.audit.continuity import Continuity
from residency.audit.entry_reader import Shape, Values
from residency.audit.recall import Beside, Recall, Told
from residency.audit.verify import read_checkpoint
from residency.cli.archive_folder import Archive
from residency.cli.details import evidence_of
from residency.cli.explain_question import instant_of
from residency.cli.log_folder import Read, reader, scanned, verifier_key
from residency.errors import IntegrityError, PolicyError, Unavailable
from residency.policy.archive import variables
from residency.policy.compiler import Policy
from residency.policy.recorded import Recorded, When
from residency.policy.replay import Replayer
from residency.policy.tally import Tally

__all__ = ["candidate_at", "replay"]

_WORK: Final = "deciding again"
_BOUND: Final = 1 << 14
_NEVER: Final = 1 << 62  # of times, what is odd is not asked here


def replay(
    file: Annotated[
        Path | None, typer.Argument(help="The candidate: a deployment file, as --policy.", metavar="FILE")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option("--audit", help="The audit folder: log/, policies/, facts/.", metavar="DIR")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="The deployment file.", metavar="FILE"),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Let the candidate decide as on that day, 2026-09-01.", metavar="DATE")
    ] = None,
    max_changed: Annotated[
        str | None,
        typer.Option("--max-changed", help="The limit, 0.1% or a number of decisions; more exits 1.", metavar="LIMIT"),
    ] = None,
    min_coverage: Annotated[
        str | None,
        typer.Option("--min-coverage", help="With a limit: less coverage exits 1. Default: 100%.", metavar="SHARE"),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="The log's folder, where not DIR/log.", metavar="DIR")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="The verifier key you were given. Default: log.vkey.", metavar="FILE")
    ] = None,
    detail: Annotated[
        list[str] | None,
        typer.Option("--detail", help="Regional detail, with --keys: VN=./residency-data/detail-vn.", metavar="P=DIR"),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="The folder of keys that opens it.", metavar="DIR")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Decide every recorded decision again: verify the log by its own policies, with FILE try a candidate on it.

    Tells coverage first, then who would change and why. Needs the audit folder and nothing else. Exit 0 = holds, 1 =
    the log does not hold, a record is wrong, or a limit is passed, 2 = wrong use, a bad candidate included.

    Example: residency replay new/residency.yaml --audit ./residency-data/audit --max-changed 0.1%
    """
    if file is not None and policy is not None:
        _wrong("name one candidate")
    policy = policy if file is None else file
    if audit is None:
        _wrong("--audit is needed: the folder that the deployment file names under `audit:`")
    if policy is None and (at is not None or max_changed is not None):
        _wrong("--at and --max-changed go with FILE, the candidate")
    if min_coverage is not None and max_changed is None:
        _wrong("--min-coverage goes with --max-changed")
    if (detail is None) != (keys is None):
        _wrong("--detail and --keys go together")
    limit = None if max_changed is None else _limit(max_changed)
    least = Fraction(1) if min_coverage is None else _share(min_coverage, "--min-coverage")
    read = reader(audit, "--audit")
    folder = audit / "log" if log is None else log
    read_log = reader(folder, "--audit" if log is None else "--log")
    candidate = None if policy is None else candidate_at(policy)
    day = None if at is None else instant_of(at)[0]
    tally = Tally()
    archive = Archive(read, candidate)
    try:
        replayer = Replayer(archive.policy, archive.facts, candidate, at=day)
        checkpoint = read_checkpoint(read_log, verifier_key(folder, key))
        details = evidence_of(detail or (), KeysFiles(keys), checkpoint.origin) if keys is not None else {}
        _count(tally, _Recall(details), replayer, read_log, checkpoint, progress=not as_json)
    except (IntegrityError, Unavailable) as error:
        _fails(str(error), as_json)
    problems = [] if limit is None else list(_passed(tally, limit, least))
    if tally.wrongs:
        problems.insert(0, f"{tally.wrongs} records are wrong")
    named = None if candidate is None else f"{candidate.deployment.name}, digest {candidate.digest[:16]}"
    if as_json:
        about = {"holds": not problems, "problems": problems, "origin": checkpoint.origin, "entries": checkpoint.size}
        told = {**about, "candidate": None if candidate is None else candidate.digest, **tally.data()}
        typer.echo(json.dumps({**told, "unreadable": archive.unreadable}, ensure_ascii=False))
    else:
        for line in tally.lines(archive.rules(), candidate=named):
            typer.echo(line)
        for digest, why in archive.unreadable.items():
            typer.echo(f"Archive {digest[:16]}: {why}")
        for problem in problems:
            typer.echo(f"Does not hold: {problem}")
    if problems:
        raise typer.Exit(1)


def _count(
    tally: Tally, recall: _Recall, replayer: Replayer, read: Read, checkpoint: Checkpoint, *, progress: bool
) -> None:
    continuity = Continuity(now=_NEVER, max_gap=_NEVER)
    for start, shapes, values in scanned(read, checkpoint, progress=progress, what=_WORK):
        continuity.take(start, shapes, values)
        for index, shape, held in zip(count(start), shapes, values):
            taken = recall.take(shape, held)
            if isinstance(taken, Beside):
                tally.beside[taken.value] += 1
            else:
                recorded, when, alias = taken
                tally.add(index, alias, recorded.policy, replayer.replay(recorded, when))
    continuity.finish()


class _Recall:
    """As `Recall`, which is asked once for all entries of one shape and slot; with details, for each entry."""

    def __init__(self, details: Mapping[str, Told]) -> None:
        self._recall = Recall(details)
        self._apart = bool(details)
        self._known: dict[tuple[Shape, bytes], Recorded | Beside] = {}

    def take(self, shape: Shape, held: Values) -> tuple[Recorded, When, str | None] | Beside:
        """The decision that an entry tells of, its instants and its subject's alias, or what else the entry is.

        Raises: EntryError, VerificationError.
        """
        names = shape.names
        if self._apart or shape.kind == "system":
            self._known.clear()  # from here on this slot may mean other facts by an epoch
            entry = shape.build(held)
            taken = self._recall.take(entry)
            return taken if isinstance(taken, Beside) else (*taken, entry.subject)
        key = shape, held[shape.at_own].partition(b".")[0]
        known = self._known.get(key)
        if known is None:
            taken = self._recall.take(shape.build(held))
            if len(self._known) >= _BOUND:
                self._known.clear()
            known = self._known[key] = taken if isinstance(taken, Beside) else taken[0]
        if isinstance(known, Beside):
            return known
        requested = int(held[names.index("requested")]) if "requested" in names else None
        alias = held[names.index("subject")].decode() if "subject" in names else None
        return known, When(int(held[names.index("decided")]), requested, shape.entry.collected), alias


def _passed(tally: Tally, limit: Fraction | int, least: Fraction) -> Iterator[str]:
    """What speaks against the candidate. Nothing replayed is no proof that nothing changes."""
    if not tally.replayed:
        yield "no decision could be replayed"
    elif tally.coverage < least:
        yield f"coverage is {float(tally.coverage):.2%}, below {float(least):.2%}"
    over = tally.changed > limit if isinstance(limit, int) else tally.share > limit
    if over:
        told = str(limit) if isinstance(limit, int) else f"{float(limit):.4%}"
        yield f"{tally.changed} decisions change ({float(tally.share):.4%}), over the limit of {told}"


def candidate_at(path: Path) -> Policy:
    """The policy of a deployment file, whose variables need no value where they decide nothing. Ends the command where
    it does not hold."""
    try:
        return load(path, variables(read_file(path), str(path), os.environ))
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _limit(text: str) -> Fraction | int:
    if text.isascii() and text.isdecimal():
        return int(text)
    return _share(text, "--max-changed")


def _share(text: str, option: str) -> Fraction:
    try:
        share = Fraction(text.removesuffix("%")) / 100 if text.endswith("%") else None
    except (ValueError, ZeroDivisionError):
        share = None
    if share is None or not 0 <= share <= 1:
        _wrong(f"{option} is a share such as 0.1%" + (" or a number of decisions" if "max" in option else ""))
    return share


def _fails(message: str, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"holds": False, "problems": [message]}, ensure_ascii=False))
    else:
        Console(stderr=True).print(f"Does not hold: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _wrong(message: str) -> NoReturn:
    typer.echo(f"residency replay: {message}", err=True)
    raise typer.Exit(2)
