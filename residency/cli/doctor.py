"""`residency doctor`: a deployment, its app and this process's surroundings in; what would go wrong out."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
import typer

from residency import wiring
from residency.asgi.server_settings import rewriting
from residency.bootstrap import Residency, build
from residency.cli import asked
from residency.cli.doctor_coverage import of_app, of_policy, of_tables, seen
from residency.cli.doctor_findings import Finding, show
from residency.cli.sinks_mark import marked_as
from residency.cli.sinks_probe import ANSWERS, probe
from residency.cli.where import looked
from residency.enforcement.ports import SinkPort
from residency.errors import AddressDataUnavailable, KeysUnavailable, ResidencyError, Unavailable, UsageError
from residency.policy.terms import begun_terms, moment
from residency.storage.location import Seen, Standing, called
from residency.storage.marks_seen import LOST, SeenMarks
from residency.wiring.marks import seen_marks

__all__ = ["doctor"]

_DATA_AGE_DAYS = 30
_TERM_DAYS = 14
_ROOM = 256 * 2**20
_LOCAL = re.compile(r"(?:sqlite(?:\+aiosqlite)?:///|file:(?://)?)([^?]+)")


def doctor(
    file: asked.Argument = None,
    policy: asked.Option = None,
    app: Annotated[
        str | None,
        typer.Option("--app", help="Your app: what of it is covered, and what goes past residency.", metavar="M:A"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Look at a deployment as it would run here: policy, peer, address data, identity keys, sinks, folders, disk; and
    at what is not covered: tables that no `records` name, activities without a store. With --app, your app is imported
    and its source read: which lines open stores through residency, and which reach out past it.

    Opens every sink as a server's start does, so a SQLite sink that is not there yet is made. Exit 0 where nothing is
    bad (what is not covered is a warning), 1 otherwise.

    Example: residency doctor residency.yaml --app shop.main:app
    """
    if not show(_examine(asked.deployment_asked("doctor", file, policy), app), as_json=as_json):
        raise typer.Exit(1)


def _examine(policy: Path, target: str | None) -> Iterator[Finding]:
    app = None
    try:
        # Before anything else, so that it is seen what the app brings, and not what was here.
        app = None if target is None else seen(target)
    except UsageError as error:
        yield Finding("bad", str(error), "run this where the server starts, with the environment that it gets")
    try:
        runtime = build(policy)
    except ResidencyError as error:
        mend = "mend the line named; `residency check` tells more of such lines" if policy.exists() else ""
        yield Finding("bad", str(error), mend)
        return
    deployment = runtime.policy.deployment
    yield Finding("ok", f"policy {deployment.name} holds ({len(runtime.policy.laws)} laws, mode {deployment.mode})")
    yield from _peer(runtime)
    yield from _addresses(runtime)
    yield from _identity(runtime)
    if deployment.assume is not None:
        yield Finding("warn", f"dev.assume is {deployment.assume}: only loopback is served", "remove `dev:`")
    if deployment.unclassified == "permit":
        yield Finding("warn", "routes that no activity names are permitted", "set `unclassified: deny`")
    for doubt in wiring.mirror_doubts(runtime.policy):
        yield Finding("warn", doubt, "see docs/how-to/object-lock.md")
    for each in wiring.locator_doubts(deployment):
        yield Finding("warn", each.message, "see docs/how-to/fleet.md", (f"{each.file}:{each.line}",))
    for each in wiring.provider_doubts(deployment):
        yield Finding("warn", each.message, "say whose law reaches that company", (f"{each.file}:{each.line}",))
    tables: dict[str, set[str]] = {}
    yield from anyio.run(_sinks, runtime, tables)
    yield from _places(runtime)
    yield from anyio.run(_pins, runtime)
    yield from _noted(runtime)
    details = [(f"detail ({place})", kept.folder, True) for place, kept in deployment.audit.detail.items()]
    for name, folder, journal in (
        ("audit", deployment.audit.folder, True),
        ("keys", deployment.keys_folder, False),
        *details,
    ):
        yield from _folder(name, runtime.path(folder), journal)
    yield from of_policy(runtime.policy)
    yield from of_tables(runtime.policy, tables, app)
    if app is not None:
        sinks = {sink.name: sink for store in runtime.stores.names for sink in runtime.stores.sinks_of(store)}
        yield from of_app(runtime.policy, app, sinks)


def _addresses(runtime: Residency) -> Iterator[Finding]:
    network = runtime.network
    try:
        age = network.age_seconds() / 86_400
    except AddressDataUnavailable as error:
        yield Finding("bad", f"address data: {error}", "bring that file back whole; none is in force from before")
        return
    mend = "name a newer country mmdb in signals.geoip (ip-location-db, DB-IP, MaxMind), or a newer release of ours"
    if network.is_stale:
        effect = "it is refused" if runtime.deployment.signals.geoip.stale == "refuse" else "it gives hints only"
        yield Finding("warn", f"the address data is {age:.0f} days old, beyond geoip.max_age: {effect}", mend)
    elif age > _DATA_AGE_DAYS:
        yield Finding("warn", f"the address data is {age:.0f} days old", mend)
    else:
        yield Finding("ok", f"the address data is {age:.0f} days old")
    for outcome, times in network.outcomes.items():
        if times and outcome != "taken":
            what = f"the address data on disk is not taken ({outcome}); what was in force stays"
            yield Finding("warn", what, "the line on stderr names the file; docs/how-to/address-data.md has the rules")


def _identity(runtime: Residency) -> Iterator[Finding]:
    keys = runtime.identity_keys
    if keys is None:
        return
    try:
        keys.start()
    except KeysUnavailable as error:
        yield Finding("bad", f"identity keys: {error}", "look at signals.identity.jwt.jwks")
    else:
        yield Finding("ok", "the identity keys can be read")
    finally:
        keys.stop()


def _folder(name: str, place: Path, journal: bool) -> Iterator[Finding]:
    nearest = next(p for p in (place, *place.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("bad", f"the {name} folder cannot be written", f"give this user write access to {nearest}")
        return
    yield Finding("ok", f"the {name} folder can be written")
    if journal and (free := shutil.disk_usage(nearest).free) < _ROOM:
        mend = "each worker's journal takes 32 MiB and grows; a full disk refuses every request"
        yield Finding("warn", f"{free // 2**20} MiB are free for the {name} folder", mend)


def _peer(runtime: Residency) -> Iterator[Finding]:
    # The server's own options are not to be seen from here; its start looks at them again.
    strategy = runtime.strategy
    problem = rewriting(strategy.name, os.environ, ())
    if problem is not None:
        yield Finding("bad", problem.what, problem.mend)
    elif strategy.warning is not None:
        yield Finding("warn", strategy.warning)
    elif strategy.name == "server":
        yield Finding("ok", "client address: as the server's own proxy handling gives it")
    else:
        yield Finding("ok", f"client address: strategy {strategy.name}")


def _is_new(runtime: Residency, sink: str) -> bool:
    """Whether the sink is an SQLite file or a folder that is not there yet."""
    found = _LOCAL.match(runtime.deployment.sinks[sink].url.reveal())
    return found is not None and not runtime.path(found[1]).exists()


async def _sinks(runtime: Residency, tables: dict[str, set[str]]) -> list[Finding]:
    """How the sinks are; the tables of each sink of rows are put into `tables`."""
    logging.getLogger("residency").addHandler(logging.NullHandler())  # what is found is told here
    found, asked = [], set()
    for store in runtime.stores.names:
        for sink in runtime.stores.sinks_of(store):
            if sink.name in asked:
                continue
            asked.add(sink.name)
            new = _is_new(runtime, sink.name)
            kind = wiring.kind_of(runtime.deployment.sinks[sink.name])
            try:
                await sink.start()
                await probe(sink, kind)
                found.append(Finding("ok", f"sink {sink.name} ({sink.region.place}) {ANSWERS[kind]}"))
                found += await _mark(sink, seen_marks(runtime.deployment, runtime.path))
                if kind == "rows":
                    tables[sink.name] = await _tables(sink)
                if new:
                    mend = (
                        "if your data lies there already, mend its url: a path starts from the deployment file's folder"
                    )
                    found.append(Finding("warn", f"sink {sink.name} was not there and has been made, empty", mend))
            except Unavailable as error:
                source = runtime.deployment.source
                where = source.problem(("sinks", sink.name, "url"), "")
                mend = f"look at the url of sink {sink.name}, {where.file}:{where.line}"
                optional = runtime.deployment.sinks[sink.name].sink.scope == "cache"
                what = f"{error}: a cache may be away, and answers misses until it is back" if optional else str(error)
                found.append(Finding("warn" if optional else "bad", what, mend))
            finally:
                await sink.aclose()
    return found


def _places(runtime: Residency) -> Iterator[Finding]:
    """Which sinks lie where they say, backups, members and what else gets something of people too."""
    try:
        watch = anyio.run(looked, runtime)
    except Unavailable as error:
        yield Finding("warn", f"it could not be looked where sinks lie: {error}", "run `residency where`")
        return
    for name, watched in watch.watched.items():
        place, why = watch.places[name], "; ".join(watched.verdict.why)
        standing = watched.verdict.standing
        if standing is Standing.CONTRADICTED:
            mend = "mend its url or its region; `residency where` tells all that was seen"
            yield Finding("bad", f"{called(name)} does not lie in {place}: {why}", mend)
        elif standing is Standing.CONSISTENT:
            yield Finding("ok", f"{called(name)} lies in {place}: {why}")
        elif not all(map(_local, watch.seen[name])):  # on one machine alone nobody asks yet
            mend = "attest it in the register, as docs/how-to/location.md says"
            yield Finding("warn", f"{called(name)} is not shown to lie in {place}: {why}", mend)
        for each in watched.verdict.followed:
            mend = "see that the law lets its data lie there too, and name it as a sink of `scope: replica` or `backup`"
            yield Finding("warn", f"{called(name)}: {each}", mend)


def _local(seen: Seen) -> bool:
    """Whether a way leads to this machine."""
    return seen.here or (bool(seen.addresses) and all(each.reach == "local" for each in seen.addresses))


async def _mark(sink: SinkPort, seen: SeenMarks) -> list[Finding]:
    """Whether a sink bears its own mark."""
    try:
        marked = await marked_as(sink, seen)
    except Unavailable as error:
        return [Finding("bad", str(error), "see that its url is right, then run `residency sinks mark FILE`")]
    if marked == "lost":
        mend = "see that its url is right and what became of its data, then run `residency sinks mark FILE`"
        return [Finding("bad", f"sink {sink.name} {LOST}", mend)]
    if marked != "no":
        return []
    what = f"sink {sink.name} bears no mark, so nobody notices where its url and another's are mixed up"
    return [Finding("warn", what, "run `residency sinks mark FILE` once, when you know that every url is right")]


async def _tables(sink: Any) -> set[str]:
    """The tables that a database has, none where it does not tell."""
    from sqlalchemy import inspect  # it is there: the sink is one of rows
    from sqlalchemy.exc import SQLAlchemyError

    try:
        async with sink.engine.connect() as connection:
            return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    except SQLAlchemyError:
        return set()


def _noted(runtime: Residency) -> Iterator[Finding]:
    """The terms that have begun, by the register and by what all processes noted."""
    facts, now = runtime.facts.current(), runtime.clock.now()
    if any(rule.graces for law in runtime.policy.laws for rule in law.rules):
        noted = wiring.open_noted(runtime.deployment, runtime.path, elsewhere=runtime.pins_elsewhere)
        try:
            events = noted.events()
        except Unavailable as error:
            yield Finding("bad", str(error), "look at pins.url: first events and counts are noted beside the pins")
            return
        finally:
            noted.close()
        facts = replace(facts, events=(*facts.events, *events))
    for term in begun_terms(runtime.policy.laws, facts):
        if term.deadline is None:
            continue
        what = f"{term.token} {'runs' if now < term.deadline else 'has run'} out at {moment(term.deadline)}"
        near = term.deadline - now < _TERM_DAYS * 86_400_000_000
        mend = "register the filing that it gives time for; what leans on it is refused after that"
        yield Finding("warn" if near else "ok", what, mend if near else "")


async def _pins(runtime: Residency) -> list[Finding]:
    """Whether a shared store of pins answers; where it is a file or memory, nothing can be away."""
    url = runtime.deployment.pins.url.reveal()
    if url == "memory:" or url.startswith("sqlite:"):
        return []
    from residency.adapters.pins_redis import PinsRedis

    try:
        pins = await anyio.to_thread.run_sync(lambda: PinsRedis(url, elsewhere=runtime.pins_elsewhere))
    except Unavailable as error:
        return [Finding("bad", str(error), "look at pins.url, and at the server")]
    forgetful = pins.is_forgetful()
    await pins.aclose()
    found = [Finding("ok", "the pins' store answers")]
    if forgetful:
        what = "the pins' server keeps no append-only file: a restart loses the homes that it was told last"
        found.append(Finding("warn", what, "set `appendonly yes` there, as docs/how-to/pins-on-redis.md says"))
    if runtime.deployment.pins.region is None:
        what = "nobody looks where the pins lie, which hold digests of people: the file does not say where they should"
        found.append(Finding("warn", what, "write `pins.region`, as docs/how-to/location.md says"))
    if not runtime.deployment.audit.detail:
        mend = "name a folder in audit.detail: pins that the store loses are put back from there"
        found.append(Finding("warn", "pins that the store loses in a failover are lost", mend))
    return found
