"""`residency laws`: the law files that are installed in; what each says, how surely, and what it leaves out, out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from residency.adapters.policy_files import available_laws, read_file
from residency.cli.laws_pages import Pack, write_pages
from residency.errors import PolicyError
from residency.policy.parser import parse_law
from residency.policy.problems import nearest_law
from residency.policy.yamldoc import parse_yaml

__all__ = ["laws", "read_packs"]

_LEVELS: Final = ("high", "medium", "low")


def laws(
    name: Annotated[
        str | None, typer.Argument(help="A law such as vn/decree-333-2026, a folder such as vn.", metavar="NAME")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a law.")] = False,
    folder: Annotated[
        list[Path] | None, typer.Option("--from", help="A folder of your own laws too.", metavar="DIR")
    ] = None,
    pages: Annotated[Path | None, typer.Option("--write-pages", help="Write a page for each.", metavar="DIR")] = None,
) -> None:
    """List the law packs: dates, confidence, open readings, what is not covered. With a NAME, its rules too.

    Exit 0 = listed, 1 = a law does not hold, 2 = wrong use, a NAME that is no law included.

    Example: residency laws vn/personal-data-91-2025
    """
    try:
        known = read_packs(tuple(folder or ()))
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    chosen = [pack for pack in known if name is None or _named(pack.name, name)]
    if not chosen:
        told = nearest_law(name or "", {pack.name for pack in known})
        typer.echo(f"residency laws: no law `{name}`{told}", err=True)
        raise typer.Exit(2)
    if pages is not None:
        for path in write_pages(chosen, pages):
            typer.echo(f"wrote {path}", err=True)
        return
    for pack in chosen:
        if as_json:
            typer.echo(json.dumps(_told(pack, whole=name is not None), ensure_ascii=False))
        elif name is None:
            typer.echo(_line(pack))
        else:
            _tell(pack)
    if not as_json and name is None:
        rules = sum(len(pack.law.rules) for pack in chosen)
        typer.echo(f"{len(chosen)} laws, {rules} rules. Not legal advice. More: residency laws NAME")


def read_packs(folders: Sequence[Path] = ()) -> list[Pack]:
    """The shipped laws and those of `folders`, by name.

    Raises:
        PolicyError: where one cannot be read or does not hold.
    """
    packs = []
    for name, file in sorted(available_laws(tuple(folders)).items()):
        data = read_file(file)
        law = parse_law(data, str(file), name)
        written = parse_yaml(data, str(file)).value
        packs.append(Pack(name, law, dict(written) if isinstance(written, dict) else {}))
    return packs


def _named(name: str, asked: str) -> bool:
    asked = asked.rstrip("/")
    return fnmatchcase(name, asked) or name.startswith(f"{asked}/")


def _counts(pack: Pack) -> dict[str, int]:
    counted = Counter(rule.confidence for rule in pack.law.rules)
    return {level: counted[level] for level in _LEVELS if counted[level]}


def _line(pack: Pack) -> str:
    sure = ", ".join(f"{number} {level}" for level, number in _counts(pack).items())
    more = [_several(len(pack.law.readings), "open reading")] if pack.law.readings else []
    more += [f"{_several(len(pack.law.not_covered), 'point')} not covered"] if pack.law.not_covered else []
    head = f"{pack.name:28} {pack.dates:26} {pack.law.instrument}"
    return f"{head}\n    {_several(len(pack.law.rules), 'rule')} ({sure}){''.join(f'; {text}' for text in more)}"


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _told(pack: Pack, *, whole: bool) -> dict[str, Any]:
    law = pack.law
    told: dict[str, Any] = {
        "name": pack.name,
        "jurisdiction": law.jurisdiction,
        "instrument": law.instrument,
        "title": law.title,
        "title_vi": law.title_vi,
        "link": law.link,
        "in_force": pack.written.get("in_force", {}),
        "replaced_by": law.replaced_by,
        "extends": law.extends,
        "checked": law.checked,
        "confidence": law.confidence,
        "rules": len(law.rules),
        "rules_by_confidence": _counts(pack),
        "rules_by_mode": dict(sorted(Counter(rule.mode for rule in law.rules).items())),
        "readings": {
            question: {"text": reading.text, "options": list(reading.options), "default": reading.default}
            for question, reading in law.readings.items()
        },
        "escalations": [escalation.id for escalation in law.escalations],
        "not_covered": list(law.not_covered),
        "sha256": law.sha256,
    }
    if whole:
        told["rule"] = [
            {
                "id": rule.id,
                "article": rule.article,
                "mode": rule.mode,
                "confidence": rule.confidence,
                "in_force": pack.rule(rule.id).get("in_force", pack.written.get("in_force", {})),
                "text": rule.text,
                "text_vi": rule.text_vi,
                "fine": rule.fine,
                "source": rule.source,
            }
            for rule in law.rules
        ]
    return told


def _tell(pack: Pack) -> None:
    law = pack.law
    typer.echo(f"{pack.name}: {law.title}")
    if law.title_vi:
        typer.echo(f"    {law.title_vi}")
    typer.echo(f"    in force {pack.dates}; checked {law.checked}, confidence {law.confidence}")
    if law.link:
        typer.echo(f"    {law.link}")
    for rule in law.rules:
        about = [rule.confidence, *([rule.mode] if rule.mode != "enforce" else [])]
        typer.echo(f"\n{rule.id}  {rule.article}  ({', '.join(about)})\n    {rule.text}")
        if rule.fine:
            typer.echo(f"    Fine: {rule.fine}")
    for question, reading in law.readings.items():
        options = ", ".join(f"{word} (default)" if word == reading.default else word for word in reading.options)
        typer.echo(f"\nreading {question}: {reading.text}\n    {options}")
    for escalation in law.escalations:
        data = ", ".join(sorted(escalation.data))
        typer.echo(f"\n{escalation.id}: {data} of {escalation.subjects:,} subjects counts as {escalation.becomes}")
    if law.not_covered:
        typer.echo("\nnot covered:")
        for point in law.not_covered:
            typer.echo(f"  - {point}")
    if law.note:
        typer.echo(f"\n{law.note}")
    typer.echo("")
