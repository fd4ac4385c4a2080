"""`residency doctor`: a deployment file and this process's surroundings in, what would go wrong in production out."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import anyio
import anyio.to_thread
import typer
from rich.console import Console

from residency import wiring
from residency.asgi.server_settings import rewriting
from residency.bootstrap import Residency, build
from residency.errors import AddressDataUnavailable, KeysUnavailable, ResidencyError, Unavailable
from residency.policy.terms import begun_terms, moment

__all__ = ["doctor"]

_DATA_AGE_DAYS = 30
_TERM_DAYS = 14
_ROOM = 256 * 2**20
_LOCAL = re.compile(r"(?:sqlite(?:\+aiosqlite)?:///|file:(?://)?)([^?]+)")


@dataclass(frozen=True, slots=True)
class _Finding:
    level: Literal["ok", "warn", "bad"]
    what: str
    mend: str = ""


def doctor(
    policy: Annotated[Path, typer.Option("--policy", help="The deployment file.", metavar="FILE")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Look at a deployment as it would run here: policy, peer, address data, identity keys, sinks, folders, disk.

    Opens every sink as a server's start does, so a SQLite sink that is not there yet is made. Exit 0 where nothing is
    bad, 1 otherwise.

    Example: residency doctor --policy policies/deployments/social-api.yaml
    """
    found = list(_examine(policy))
    console = Console()
    marks = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "bad": "[red]bad [/]"}
    for finding in found:
        if as_json:
            typer.echo(json.dumps({"level": finding.level, "what": finding.what, "mend": finding.mend}))
        else:
            # What others wrote is no markup: 'residency[http]' is to be read whole, and not folded into a log's lines.
            console.print(marks[finding.level], end=" ")
            console.print(finding.what, markup=False, highlight=False, soft_wrap=True)
            if finding.mend:
                console.print(f"     mend: {finding.mend}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if any(f.level == "bad" for f in found) else 0)


def _examine(policy: Path) -> Iterator[_Finding]:
    try:
        runtime = build(policy)
    except ResidencyError as error:
        yield _Finding("bad", str(error), "mend the line named and ask again")
        return
    deployment = runtime.policy.deployment
    yield _Finding("ok", f"policy {deployment.name} holds ({len(runtime.policy.laws)} laws, mode {deployment.mode})")
    yield from _peer(runtime)
    yield from _addresses(runtime)
    yield from _identity(runtime)
    if deployment.assume is not None:
        yield _Finding("warn", f"dev.assume is {deployment.assume}: only loopback is served", "remove `dev:`")
    if deployment.unclassified == "permit":
        yield _Finding("warn", "routes that no activity names are permitted", "set `unclassified: deny`")
    for doubt in wiring.mirror_doubts(runtime.policy):
        yield _Finding("warn", doubt, "see docs/how-to/object-lock.md")
    yield from anyio.run(_sinks, runtime)
    yield from anyio.run(_pins, runtime)
    yield from _noted(runtime)
    details = [(f"detail ({place})", kept.folder, True) for place, kept in deployment.audit.detail.items()]
    for name, folder, journal in (
        ("audit", deployment.audit.folder, True),
        ("keys", deployment.keys_folder, False),
        *details,
    ):
        yield from _folder(name, runtime.path(folder), journal)


def _addresses(runtime: Residency) -> Iterator[_Finding]:
    network = runtime.network
    try:
        age = network.age_seconds() / 86_400
    except AddressDataUnavailable as error:
        yield _Finding("bad", f"address data: {error}", "bring that file back whole; none is in force from before")
        return
    mend = "name a newer country mmdb in signals.geoip (ip-location-db, DB-IP, MaxMind), or a newer release of ours"
    if network.is_stale:
        effect = "it is refused" if runtime.deployment.signals.geoip.stale == "refuse" else "it gives hints only"
        yield _Finding("warn", f"the address data is {age:.0f} days old, beyond geoip.max_age: {effect}", mend)
    elif age > _DATA_AGE_DAYS:
        yield _Finding("warn", f"the address data is {age:.0f} days old", mend)
    else:
        yield _Finding("ok", f"the address data is {age:.0f} days old")
    for outcome, times in network.outcomes.items():
        if times and outcome != "taken":
            what = f"the address data on disk is not taken ({outcome}); what was in force stays"
            yield _Finding("warn", what, "the line on stderr names the file; docs/how-to/address-data.md has the rules")


def _identity(runtime: Residency) -> Iterator[_Finding]:
    keys = runtime.identity_keys
    if keys is None:
        return
    try:
        keys.start()
    except KeysUnavailable as error:
        yield _Finding("bad", f"identity keys: {error}", "look at signals.identity.jwt.jwks")
    else:
        yield _Finding("ok", "the identity keys can be read")
    finally:
        keys.stop()


def _folder(name: str, place: Path, journal: bool) -> Iterator[_Finding]:
    nearest = next(p for p in (place, *place.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield _Finding("bad", f"the {name} folder cannot be written", f"give this user write access to {nearest}")
        return
    yield _Finding("ok", f"the {name} folder can be written")
    if journal and (free := shutil.disk_usage(nearest).free) < _ROOM:
        mend = "each worker's journal takes 32 MiB and grows; a full disk refuses every request"
        yield _Finding("warn", f"{free // 2**20} MiB are free for the {name} folder", mend)


def _peer(runtime: Residency) -> Iterator[_Finding]:
    # The server's own options are not to be seen from here; its start looks at them again.
    strategy = runtime.strategy
    problem = rewriting(strategy.name, os.environ, ())
    if problem is not None:
        yield _Finding("bad", problem.what, problem.mend)
    elif strategy.warning is not None:
        yield _Finding("warn", strategy.warning)
    elif strategy.name == "server":
        yield _Finding("ok", "client address: as the server's own proxy handling gives it")
    else:
        yield _Finding("ok", f"client address: strategy {strategy.name}")


def _is_new(runtime: Residency, sink: str) -> bool:
    """Whether the sink is an SQLite file or a folder that is not there yet."""
    found = _LOCAL.match(runtime.deployment.sinks[sink].url.reveal())
    return found is not None and not runtime.path(found[1]).exists()


async def _sinks(runtime: Residency) -> list[_Finding]:
    found = []
    for store in runtime.stores.names:
        for sink in runtime.stores.sinks_of(store):
            new = _is_new(runtime, sink.name)
            try:
                await sink.start()
                await sink.ping()
                found.append(_Finding("ok", f"sink {sink.name} ({sink.region.place}) takes writes"))
                if new:
                    mend = (
                        "if your data lies there already, mend its url: a path starts from the deployment file's folder"
                    )
                    found.append(_Finding("warn", f"sink {sink.name} was not there and has been made, empty", mend))
            except Unavailable as error:
                found.append(_Finding("bad", str(error), f"look at the url of sink {sink.name}"))
            finally:
                await sink.aclose()
    return found


def _noted(runtime: Residency) -> Iterator[_Finding]:
    """The terms that have begun, by the register and by what all processes noted."""
    facts, now = runtime.facts.current(), runtime.clock.now()
    if any(rule.graces for law in runtime.policy.laws for rule in law.rules):
        noted = wiring.open_noted(runtime.deployment, runtime.path)
        try:
            events = noted.events()
        except Unavailable as error:
            yield _Finding("bad", str(error), "look at pins.url: first events and counts are noted beside the pins")
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
        yield _Finding("warn" if near else "ok", what, mend if near else "")


async def _pins(runtime: Residency) -> list[_Finding]:
    """Whether a shared store of pins answers; where it is a file or memory, nothing can be away."""
    url = runtime.deployment.pins.url.reveal()
    if url == "memory:" or url.startswith("sqlite:"):
        return []
    from residency.adapters.pins_redis import PinsRedis

    try:
        pins = await anyio.to_thread.run_sync(PinsRedis, url)
    except Unavailable as error:
        return [_Finding("bad", str(error), "look at pins.url, and at the server")]
    await pins.aclose()
    found = [_Finding("ok", "the pins' store answers")]
    if not runtime.deployment.audit.detail:
        mend = "name a folder in audit.detail: pins that the store loses are put back from there"
        found.append(_Finding("warn", "pins that the store loses in a failover are lost", mend))
    return found
