"""`residency audit report`: where a log lies and a period in; an evidence pack as a page, JSON and CSV out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from residency.adapters.clock_system import SystemClock
from residency.audit.checkpoint import Checkpoint, format_verifier_key
from residency.audit.dossiers import dossiers
from residency.audit.figures import Figures
from residency.audit.pairs import Pairs
from residency.audit.recall import Beside, Recall
from residency.audit.sequencer import CHECKPOINT_PATH
from residency.audit.transfers import Transfers
from residency.audit.verify import read_checkpoint
from residency.cli.archive_folder import Archive
from residency.cli.audit.filters import FromOption, ToOption
from residency.cli.audit.period import instant
from residency.cli.audit.register import ArchiveOption, Newest, facts_of
from residency.cli.audit.report_data import Aged, Checked, file_ages, report_document
from residency.cli.audit.report_details import detail_folders, details_at_hand, held_details
from residency.cli.audit.report_page import report_page
from residency.cli.audit.report_words import LANGUAGES
from residency.cli.audit.shared import Json, Key, Place, csv_cell, holding
from residency.cli.log_folder import Read, entries
from residency.cli.log_places import archive_of, name_of, reader_of, verifier_key_at
from residency.cli.replay import candidate_at
from residency.errors import ResidencyError
from residency.policy.compiler import Policy
from residency.policy.replay import Replayer

__all__ = ["report"]

_WORK: Final = "counting the log"
_FOREVER: Final = 1 << 62


def report(
    place: Place,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The page to write, .html; .json and .csv come beside it.")
    ],
    since: FromOption = None,
    until: ToOption = None,
    archive: ArchiveOption = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="The deployment file."),
    ] = None,
    detail: Annotated[
        list[str] | None,
        typer.Option("--detail", metavar="P=DIR", help="Count what is kept: VN=DIR. Default: as --policy says."),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="DIR", help="The folder of keys, to tell how old they are.")
    ] = None,
    language: Annotated[str, typer.Option("--lang", metavar="LANG", help="Of the page: en or vi.")] = "en",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """An evidence pack for an independent audit: what was decided, refused and transferred in a period, by which
    policies and articles; first what was not observed. The whole log is checked, and each decision is made again.

    The same log, archive and period give the same bytes: no clock is read. Ages are told for the end of the period.
    Exit 0 = written, and the records hold; 1 = the log does not hold (nothing is written) or a record is wrong; 2 =
    wrong use, or a place that cannot be reached.

    Example: residency audit report ./residency-data/audit/log --from 2026-07-01 --to 2026-10-01 --out report.html
    """
    if language not in LANGUAGES:
        raise typer.BadParameter(f"one of {', '.join(LANGUAGES)}", param_hint="--lang")
    if out.suffix != ".html":
        raise typer.BadParameter("a file that ends in .html", param_hint="--out")
    start, end = instant(since, "--from"), instant(until, "--to")
    if start is not None and end is not None and end <= start:
        raise typer.BadParameter("the period must end after it begins", param_hint="--to")
    if keys is not None and not keys.is_dir():
        raise typer.BadParameter("not a folder", param_hint="--keys")
    given = None if policy is None else candidate_at(policy)
    folders = details_at_hand(given) if given is not None else {}
    folders |= detail_folders(detail or ())
    opened = Archive(archive_of(place, archive, "--archive"), given)
    with holding(as_json):
        document = _document(place, key, opened, given, keys, folders, (start, end), progress=not as_json)
    try:
        for suffix, text in _files(document, language):
            out.with_suffix(suffix).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise typer.BadParameter(f"cannot be written (errno {error.errno})", param_hint="--out") from None
    wrong = document["verification"]["records_wrong"]
    if as_json:
        print(json.dumps({"holds": not wrong, "findings": document["findings"], "page": str(out)}, ensure_ascii=False))
    else:
        coverage = document["coverage"]
        console = Console()
        console.print(
            f"{coverage['entries']:,} entries, {coverage['decisions']:,} decisions; "
            f"findings: {len(document['findings'])}; written to {out}", markup=False, soft_wrap=True,
        )  # fmt: skip
    if wrong:
        raise typer.Exit(1)


def _document(
    place: str,
    key: Path | None,
    archive: Archive,
    given: Policy | None,
    keys: Path | None,
    details: Mapping[str, Path],
    period: tuple[int | None, int | None],
    *,
    progress: bool,
) -> dict[str, Any]:
    """Read the log once, and tell what it comes to. Raises: IntegrityError."""
    start, end = period
    read = reader_of(place)
    verifier = verifier_key_at(read, key)
    checkpoint = read_checkpoint(read, verifier)
    note = read(CHECKPOINT_PATH) or b""
    figures = Figures(-_FOREVER if start is None else start, _FOREVER if end is None else end)
    transfers = Transfers(archive.policy, archive.facts, since=start, until=end)
    # A dossier's clock may have begun long before the period.
    ever = transfers if start is None else Transfers(archive.policy, archive.facts, until=end)
    newest, pairs = Newest(before=end), Pairs()
    told = (figures, {id(each): each for each in (transfers, ever)}.values(), newest)
    _count(read, checkpoint, pairs, Replayer(archive.policy, archive.facts), told, progress)
    until = 0 if newest.at is None else newest.at + 1
    if end is not None:
        # A period that is not over yet is told as of now: nobody knows what will be due by its end.
        until = min(end, max(until, SystemClock().now()))
    last = transfers.policy(newest.policy) if given is None else given
    facts = facts_of(archive, newest, given)
    flows = transfers.flows()
    in_force = {digest: found for digest in figures.policies if (found := transfers.policy(digest)) is not None}
    checked = Checked(
        folder=name_of(place),
        checkpoint=checkpoint,
        note=note.decode("utf-8", "replace"),
        key=format_verifier_key(verifier),
        key_given=key is not None,
        open=pairs.open,
        policies=in_force,
        unreadable=archive.unreadable,
        rules=archive.rules(),
    )
    due = () if last is None else dossiers(last, facts, ever.flows(), until)
    ages = [*_address_data(given), *(file_ages(keys) if keys is not None else ())]
    held = held_details(details, checkpoint.origin, until) if details else None
    return report_document(checked, figures, transfers, flows, due, last, facts, ages, until, held)


def _count(
    read: Read,
    checkpoint: Checkpoint,
    pairs: Pairs,
    replayer: Replayer,
    counts: tuple[Figures, Collection[Transfers], Newest],
    progress: bool,
) -> None:
    """One pass over the log. Raises: IntegrityError."""
    figures, transfers, newest = counts
    recall = Recall()
    for index, entry in enumerate(entries(read, checkpoint, pairs, progress=progress, what=_WORK)):
        taken = recall.take(entry)
        for each in transfers:
            each.add(index, entry)
        newest.add(entry)
        if isinstance(taken, Beside):
            figures.add(index, entry, taken, None)
        else:
            inside = figures.since <= entry.at < figures.until
            figures.add(index, entry, taken[0], replayer.replay(*taken) if inside else None)
    pairs.finish()
    figures.finish()


def _address_data(policy: Policy | None) -> Iterator[Aged]:
    """How old the address data of a deployment is."""
    if policy is None:
        return
    # It brings the machinery of addresses with it, which nobody else here needs.
    from residency.wiring import address_data

    built: int | None = None
    with suppress(ResidencyError):
        # The clock tells whether the data is too old to serve; of when it is, it says itself.
        data = address_data(policy.deployment, Path(policy.base).joinpath, SystemClock().now)
        data.open()
        built = data.built_at * 1_000_000
    yield Aged("address_data", "embedded" if policy.deployment.signals.geoip.database is None else "own", built)


def _files(document: dict[str, Any], language: str) -> Iterator[tuple[str, str]]:
    yield ".html", report_page(document, language)
    yield ".json", json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    rows = io.StringIO()
    writer: Callable[[tuple[str, str, str]], object] = csv.writer(rows, lineterminator="\n").writerow
    writer(("section", "measure", "value"))
    for section, measure, value in _leaves(document, ()):
        writer((section, measure, value))
    yield ".csv", rows.getvalue()


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Every value of the document, one a row, under its section and the way to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, str(name)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, str(number)))
    else:
        told = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        yield path[0], csv_cell("/".join(path[1:])), csv_cell(told)
