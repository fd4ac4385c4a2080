"""A deployment and whose data is meant in; the copies of it, what is known of persons, and a runtime for acts, out.

What `residency retention`, `erase`, `export` and `requests` share. An id comes from a file or from stdin where it is
not to stand in a shell's history; no id is printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NoReturn

import anyio
import anyio.to_thread
import typer
from rich.console import Console
from rich.markup import escape

from residency import wiring
from residency.adapters.keys_files import KeysFiles
from residency.audit.note import Signer, VerifierKey, note_signer
from residency.bootstrap import Residency, build
from residency.cli.where import looked
from residency.enforcement.admission import MISPLACED
from residency.enforcement.ports import ObjectSink
from residency.enforcement.request import subject_id
from residency.enforcement.upkeep import Upkeep, UpkeepAct
from residency.errors import KeysUnavailable, ResidencyError, SinkUnavailable, UsageError
from residency.jurisdiction.resolve import resolve
from residency.model import FactSet, Operation, Pin, SubjectId
from residency.storage.lasting import lasting
from residency.storage.retention import Copy, Person, Terms
from residency.storage.sweep import Begin
from residency.storage.traces import CacheTrace, LocatorTrace, Wiped, located
from residency.wiring.records import records_of
from residency.wiring.requests import requests_of

__all__ = [
    "Copies",
    "Deployment",
    "Json",
    "People",
    "Subject",
    "SubjectFile",
    "acts",
    "begin_for",
    "copies_of",
    "doing",
    "facts_of",
    "fails",
    "look_first",
    "looking",
    "must_be_home",
    "runtime_of",
    "signer_of",
    "subject_of",
    "terms_of",
    "wrong",
]  # fmt: skip

ERASURE_KINDS = ("subject.erase", "subject.erase_by_processor")
Deployment = Annotated[Path, typer.Argument(help="The deployment file.", metavar="DEPLOYMENT")]
Json = Annotated[bool, typer.Option("--json", help="JSON for a program.")]
Subject = Annotated[
    str | None,
    typer.Option("--subject", metavar="ID", help="The person's id as your app knows it; shells remember it."),
]
SubjectFile = Annotated[
    str | None,
    typer.Option("--subject-file", metavar="FILE", help="Instead: a file whose first line is it, - = stdin."),
]


@dataclass(frozen=True, slots=True)
class Copies:
    """Every copy of the stores whose `records` are told, which of them are stores of objects, and the stores whose
    records nobody tells: what lies there is not covered."""

    all: tuple[Copy, ...]
    objects: frozenset[str]
    not_covered: tuple[str, ...]
    traces: tuple[CacheTrace | LocatorTrace, ...]


class People:
    """What is known of subjects by their pins, and by what was asked for them."""

    __slots__ = ("_asked", "_digest", "_fetch", "_policy")

    def __init__(
        self,
        runtime: Residency,
        fetch: Callable[[str], Awaitable[Pin | None]],
        digest: Callable[[str], str],
    ) -> None:
        """`fetch` answers the pin of a digest. Raises: FactsUnavailable where the register cannot be read."""
        self._policy = runtime.deployment
        self._fetch = fetch
        self._digest = digest
        register = requests_of(runtime.deployment, runtime.path)
        self._asked: dict[str, int] = {}
        for kind in ERASURE_KINDS:
            for request in register.of_kind(kind):
                if request.alias is not None:
                    self._asked[request.alias] = min(request.received, self._asked.get(request.alias, request.received))

    async def one(self, subject: str) -> tuple[Person, Pin | None]:
        """What is known of one subject (id), and the pin. Raises: PinsUnavailable."""
        digest = self._digest(subject)
        pin = await self._fetch(digest)
        alias = None if pin is None else pin.alias
        finding = resolve((), pin, self._policy.presume, conflicts_presumed=self._policy.conflicts_presumed)
        asked = {} if alias is None or alias not in self._asked else {"erasure_request": self._asked[alias]}
        return Person(digest, alias, finding, asked), pin

    async def many(self, subjects: Sequence[str]) -> Mapping[str, Person]:
        """As `one`, of many, by id. Raises: PinsUnavailable."""
        return {subject: (await self.one(subject))[0] for subject in subjects}


def runtime_of(deployment: Path) -> Residency:
    """The deployment's runtime, not open; what does not hold is told, and exits 2."""
    try:
        runtime = build(deployment, reload=False)
    except ResidencyError as error:
        wrong(str(error))
    runtime.copies.works = False  # a command that also copied would be told of nowhere
    return runtime


def subject_of(given: str | None, file: str | None) -> SubjectId:
    """The subject that is meant. Exits 2 where none is, or both ways are used."""
    if (given is None) == (file is None):
        wrong("say whose data it is: --subject-file FILE (- = stdin), or --subject ID")
    text = given
    if file is not None:
        try:
            text = sys.stdin.readline() if file == "-" else Path(file).read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError):
            wrong("the file of --subject-file cannot be read")
    subject = subject_id((text or "").rstrip("\r\n"))
    if subject is None:
        wrong("that is no id: 1 to 512 characters of Unicode text")
    return subject


def copies_of(runtime: Residency, only: Collection[str] = ()) -> Copies:
    """Every copy of the stores that `records:` of the deployment names, or of those in `only`. The runtime's sinks must
    be started before they are read. Raises: UsageError for a store that has no `records`, or where nothing has;
    SinkUnavailable where one of them, or a cache that holds traces, may not be used."""
    deployment = runtime.deployment
    if not deployment.records:
        raise UsageError(
            "the deployment has no `records`, so nobody can tell whose anything is: say it there first"
            " (docs/reference/policy-files.md)"
        )
    for store in only:
        if store not in deployment.records:
            raise UsageError(f"`records` of the deployment tells nothing of a store {store!r}")
    found: list[Copy] = []
    objects: set[str] = set()
    traces: list[CacheTrace | LocatorTrace] = []
    homes = {region.place for region in deployment.regions.values()}
    for store, docs in deployment.records.items():
        if only and store not in only:
            continue
        for sink in runtime.stores.sinks_of(store):
            if isinstance(sink, Wiped):
                continue  # a cache: all of a subject's keys go by what they begin with
            must_be_home(runtime, sink.name)
            via = {doc.name: doc.via[1] for doc in docs if doc.via is not None}
            copy = Copy(store, deployment.sinks[sink.name].sink, records_of(sink, docs, ending=True), via)
            found.append(located(copy, runtime.stores.locators))
            if isinstance(sink, ObjectSink):
                objects.add(store)
    services = set(deployment.http.values())
    told = {copy.store for copy in found} | services
    for store in runtime.stores.names:
        for sink in runtime.stores.sinks_of(store):
            if isinstance(sink, Wiped):
                if not only:
                    must_be_home(runtime, sink.name)
                traces.append(CacheTrace(deployment.name, store, sink, sink.name, homes))
                told.add(store)
    if runtime.stores.locators is not None:
        traces.append(LocatorTrace(runtime.stores.locators))
    left = tuple(store for store in runtime.stores.names if store not in told)
    return Copies(tuple(found), frozenset(objects), left, tuple(traces))


def must_be_home(runtime: Residency, sink: str) -> None:
    """Raise SinkUnavailable where no act may use `sink`: it is not where it must be, as far as anybody has looked."""
    if runtime.deployment.mode != "observe" and sink in runtime.stores.misplaced:
        raise lasting(SinkUnavailable(f"sink {sink!r} {MISPLACED}; `residency where` tells what was seen"))


async def look_first(runtime: Residency) -> None:
    """Where drift is refused, look where the sinks of a runtime lie that is not open, before `must_be_home` is asked;
    an open one looks by itself. Raises: Unavailable."""
    if runtime.deployment.location.drift == "refuse":
        runtime.stores.misplaced = (await looked(runtime)).misplaced


@asynccontextmanager
async def looking(runtime: Residency) -> AsyncIterator[People]:
    """While inside, the sinks are started and pins can be read; nothing is recorded. Raises: Unavailable of any kind.

    Where no key was ever made there are no pins either, and presumption alone tells whose law covers.
    """
    try:
        await look_first(runtime)
        await runtime.stores.start()
        try:
            KeysFiles(runtime.path(runtime.deployment.keys_folder)).secret("subjects")
        except KeysUnavailable as error:
            if "missing" not in str(error):
                raise
            yield People(runtime, _no_pin, lambda subject: "")
            return
        async with runtime.reading_pins() as (pins, digest):

            async def fetch(known: str) -> Pin | None:
                pin, sure = pins.peek(known)
                return pin if sure else await pins.get(known)

            yield People(runtime, fetch, digest)
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.stores.aclose()


@asynccontextmanager
async def doing(runtime: Residency) -> AsyncIterator[People]:
    """While inside, the runtime is open: acts are recorded. Raises: Unavailable of any kind."""
    try:
        await runtime.start()
        point = runtime.point
        yield People(runtime, point.homes.fetch, lambda subject: point.digest(SubjectId(subject)))
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.aclose()


def facts_of(runtime: Residency) -> FactSet:
    """The facts in force; where the runtime is not open, those of the registers and what is noted beside the pins.

    Raises: FactsUnavailable.
    """
    facts = runtime.facts.current()
    if runtime.is_open:
        return facts
    noted = wiring.open_noted(runtime.deployment, runtime.path, elsewhere=runtime.pins_elsewhere)
    try:
        return replace(facts, events=(*facts.events, *noted.events()), escalated=noted.escalated())
    finally:
        noted.close()


async def terms_of(runtime: Residency) -> Terms:
    """How long records stay, as of now. Raises: FactsUnavailable."""
    facts = await anyio.to_thread.run_sync(facts_of, runtime)
    return Terms(runtime.policy, facts, runtime.clock.now())


def acts(runtime: Residency) -> Upkeep:
    """Acts on the open runtime."""
    return Upkeep(runtime.point)


def begin_for(upkeep: Upkeep, alias: str | None, operation: Operation = Operation.ERASE) -> Begin:
    """What begins an act on a copy, under a subject's alias."""

    async def begin(copy: Copy, why: str, rules: tuple[str, ...]) -> UpkeepAct:
        return await upkeep.begin(copy.store, copy.sink, operation, why, alias=alias, rules=rules)

    return begin


def signer_of(runtime: Residency) -> tuple[Signer, VerifierKey]:
    """What signs as the deployment's log does, and the key that verifies it. Raises: KeysUnavailable."""
    keys = KeysFiles(runtime.path(runtime.deployment.keys_folder))
    return note_signer(runtime.deployment.audit.origin or runtime.deployment.name, keys.signing_key("log"))


def wrong(message: str) -> NoReturn:
    """Say what is wrong with the command, and end with 2."""
    typer.echo(f"residency: {message}", err=True)
    raise typer.Exit(2)


def fails(error: Exception, *, as_json: bool = False) -> NoReturn:
    """Say why it cannot be done, and end with 1."""
    what = str(error) if isinstance(error, ResidencyError) else type(error).__name__
    if as_json:
        print(json.dumps({"done": False, "problem": what}))
    else:
        Console(stderr=True).print(f"[bold red]Not done:[/] {escape(what)}")
    raise typer.Exit(1)


async def _no_pin(_digest: str) -> Pin | None:
    return None


def citations(runtime: Residency, rules: Iterable[str]) -> dict[str, str]:
    """How each of these rules is cited."""
    known = ((rule, runtime.policy.rule(rule)) for rule in rules)
    return {rule: ref.citation for rule, ref in known if ref is not None}
