"""What the commands about regional detail share: a deployment and a country in; where its details lie and go, out."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from residency.adapters.clock_system import SystemClock
from residency.adapters.detail_filer import DetailFiler, moments
from residency.adapters.detail_store import DetailStore
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail_head import Head
from residency.audit.detail_terms import words_of
from residency.audit.detail_time import Moment
from residency.bootstrap import Residency, build
from residency.enforcement.request import subject_id
from residency.errors import JournalFailed, ResidencyError
from residency.model import Bound, SubjectId
from residency.wiring.details import detail_key, detail_store

__all__ = [
    "Alias",
    "Country",
    "EntryId",
    "Place",
    "Policy",
    "caught_up",
    "fails",
    "held_by",
    "moment",
    "note",
    "place_of",
    "places_of",
    "subject_in",
]

_PATIENCE: Final = 10.0
Policy = Annotated[Path, typer.Option("--policy", metavar="FILE", help="The deployment file.")]
Country = Annotated[str, typer.Option("--country", metavar="CODE", help="The country whose details are meant.")]
Alias = Annotated[str | None, typer.Option("--alias", metavar="HEX", help="Only of the person of this alias.")]
EntryId = Annotated[str | None, typer.Option("--entry", metavar="ID", help="Only of this entry, such as 0.17.")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one country's details lie. `seal_to` is its public key where it is another country that they lie in."""

    runtime: Residency
    country: str
    folder: Path
    seal_to: bytes | None

    @property
    def store(self) -> DetailStore:
        """The country's store."""
        return detail_store(self.folder)

    @property
    def keys(self) -> KeysFiles:
        """The deployment's keys, none of which is made."""
        return KeysFiles(self.runtime.path(self.runtime.deployment.keys_folder))

    def key(self, *, create: bool = False) -> bytes:
        """The key that details are sealed to; one that is missing is made where `create`. Raises: KeysUnavailable."""
        folder = self.runtime.path(self.runtime.deployment.keys_folder)
        return detail_key(KeysFiles(folder, create=create), self.country)


def places_of(policy: Path) -> list[Place]:
    """Every place in which a deployment keeps details; nothing is opened. Exits 2 where it cannot be used."""
    try:
        runtime = build(policy, reload=False)
    except ResidencyError as error:
        typer.echo(f"residency audit detail: {error}", err=True)
        raise typer.Exit(2) from None
    detail = runtime.deployment.audit.detail
    return [Place(runtime, country, runtime.path(kept.folder), kept.seal_to) for country, kept in detail.items()]


def place_of(policy: Path, country: str) -> Place:
    """Where a deployment keeps the details of a country. Exits 2 where it keeps none."""
    places = places_of(policy)
    for place in places:
        if place.country == country:
            return place
    there = ", ".join(sorted(place.country for place in places)) or "no country"
    raise typer.BadParameter(f"the deployment keeps details of {there}", param_hint="--country")


def caught_up(folder: Path) -> DetailStore:
    """The store of `folder`, once all that is recorded by now is filed in it: by us, or by the process that files.

    Raises: JournalCorrupt, JournalFull, JournalFailed.
    """
    store = detail_store(folder)
    filer = DetailFiler(folder, store, moment)
    try:
        until = time.monotonic() + _PATIENCE
        while filer.tick() is None and filer.behind():
            if time.monotonic() > until:
                raise JournalFailed(
                    "what was recorded lately is not filed yet: the service that files does not keep up"
                )
            time.sleep(0.2)
    except OSError as error:
        raise JournalFailed(f"the details cannot be filed (errno {error.errno})") from error
    finally:
        filer.release()
    return store


def moment() -> Moment:
    """What the clocks say now."""
    return moments(SystemClock())()


async def note(runtime: Residency, text: str) -> None:
    """Have the log of an open runtime tell `text`, durably. Raises: JournalFull, JournalFailed."""
    recorder = runtime.point.recorder
    await recorder.durable(recorder.system(text))


def held_by(place: Place, head: Head) -> tuple[str, ...]:
    """The rules of the policy in force whose floor is the one in the detail's class."""
    words = set(head.keeping.removeprefix("log").split(","))
    return tuple(
        rule.id
        for law in place.runtime.policy.laws
        for rule in law.rules
        for r in rule.duty.retain
        if r.category == "log" and r.bound is Bound.AT_LEAST and words_of(r) in words
    )


def subject_in() -> SubjectId:
    """The subject whose id is the first line of stdin, so that no id stands in a shell's history. Exits 2."""
    subject = subject_id(sys.stdin.readline().rstrip("\r\n"))
    if subject is None:
        typer.echo("residency audit detail: stdin holds no subject id: its first line is the id", err=True)
        raise typer.Exit(2)
    return subject


def fails(error: Exception, *, as_json: bool = False) -> NoReturn:
    """Say why it cannot be done, without a path, and end with 1."""
    what = str(error) if isinstance(error, ResidencyError) else f"{type(error).__name__}"
    if as_json:
        print(json.dumps({"done": False, "problem": what}))
    else:
        Console(stderr=True).print(f"[bold red]Not done:[/] {escape(what)}")
    raise typer.Exit(1)
