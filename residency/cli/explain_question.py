"""One imagined request, as command-line options tell it, in; the question that it puts to a policy, out.

Wrong use ends the command with exit 2 and a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

import typer

from residency.adapters.clock_system import SystemClock
from residency.errors import AddressDataUnavailable
from residency.jurisdiction.found import parse_finding
from residency.jurisdiction.resolve import resolve
from residency.model import Activity, Anchor, Finding, Pin, Signal, Trust
from residency.model.place import is_place
from residency.policy.activities import Match
from residency.policy.compiler import Policy
from residency.policy.problems import nearest
from residency.signals.identity import OWN_WORDS, ClaimMap, Identity, identity
from residency.signals.inet import canonical
from residency.signals.network import beside
from residency.signals.peer import ClientAddress
from residency.wiring import address_data, claim_map, strategy_of

__all__ = ["Asked", "Person", "activity_of", "given", "instant_of", "seen_of", "wrong"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Person:
    """What the options say of the person: address or peer and headers, claims and whether they are verified, pin."""

    ip: str | None = None
    peer: str | None = None
    headers: Sequence[str] = ()
    claims: Sequence[str] = ()
    verified: bool = True
    pin: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the policy besides the activity and the instant, and what is told of how it came about.

    `signals` None = the finding was given as it is; `caller` names a sentence of `explain_words`.
    """

    finding: Finding
    evidence: frozenset[str]
    signals: tuple[Signal, ...] | None = None
    pin: Pin | None = None
    client: Mapping[str, str | None] | None = None
    caller: str | None = None


def seen_of(policy: Policy, match: Match, person: Person, at: int | None) -> Asked:
    """The question about a person as a request would show them; `at` (microseconds) None = with today's data."""
    claims = _claims(person.claims, policy)
    client = _client(policy, person.ip, person.peer, person.headers)
    pin = None if person.pin is None else _pin(person.pin)
    names = _names(policy)
    said = identity(claims, names, verified=person.verified, source="claim")
    _tell_mute(claims, names, verified=person.verified)
    try:
        network, kind = _network(policy, client, at)
    except AddressDataUnavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    signals, evidence, caller = _of_subject(match, beside(client, (*network, *said.signals)), said, pin)
    deployment = policy.deployment
    finding = resolve(
        signals, pin, deployment.presume, conflicts_presumed=deployment.conflicts_presumed, strategy=client.strategy
    )
    seen = {
        "address": client.address,
        "strategy": client.strategy,
        "network": kind,
        "problem": None if client.problem is None else client.problem.value,
    }
    return Asked(finding, evidence, signals, pin, seen, caller)


def given(policy: Policy, words: Sequence[str], evidence: Sequence[str]) -> Asked:
    """The question on a finding in words, as an entry of the log or a counterexample tells it."""
    try:
        finding = parse_finding(word for text in words for word in text.split())
    except ValueError as error:
        wrong(f"--finding: {error}")
    for anchor in Anchor:
        for place in finding.anchor(anchor).established | finding.anchor(anchor).contested:
            if not is_place(place):
                wrong(f"--finding: {place} is no country code such as VN, no part of one and not EU")
    deployment = policy.deployment
    finding = replace(finding, presume=deployment.presume, conflicts_presumed=deployment.conflicts_presumed)
    return Asked(finding, frozenset(token for text in evidence for token in text.split()))


def activity_of(policy: Policy, name: str) -> Activity:
    """The activity that the deployment calls so."""
    found = [activity for activity in policy.deployment.activities if activity.name == name]
    if len(found) != 1:
        names = [activity.name for activity in policy.deployment.activities]
        wrong(f"--activity {name}: the deployment has no such activity{nearest(name, names)}")
    return found[0]


def _client(policy: Policy, ip: str | None, peer: str | None, headers: Sequence[str]) -> ClientAddress:
    """The client's address: as given, or as the deployment's strategy finds it."""
    strategy = strategy_of(policy.deployment.signals.client_address)
    if peer is None:
        if headers:
            wrong("--header goes with --peer: who connects, as the server sees it")
        if ip is not None and canonical(ip) is None:
            wrong("--ip is not an address")
        return ClientAddress(None if ip is None else canonical(ip), strategy.name)
    if ip is not None:
        wrong("--ip says the client's address, --peer has it found: give one of them")
    if peer != "unix" and canonical(peer) is None:
        wrong("--peer is not an address, and not `unix`")
    lines = []
    for text in headers:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            wrong('--header is a name and a value, as in "X-Forwarded-For: 203.0.113.7"')
        lines.append((name.strip().lower().encode("latin-1", "replace"), value.strip().encode("latin-1", "replace")))
    return strategy.client(None if peer == "unix" else (peer, 50_000), lines)


def _of_subject(
    match: Match, signals: tuple[Signal, ...], said: Identity, pin: Pin | None
) -> tuple[tuple[Signal, ...], frozenset[str], str | None]:
    """What the caller's signals say of a subject whom the path or a header names, as the pipeline takes them."""
    source = match.activity.subject if match.activity is not None else None
    if source is None or source.kind not in ("path", "header"):
        return signals, said.evidence, None
    if said.subject is None:
        if pin is not None:
            return (), frozenset(), "unknown_pinned"
        hinted = tuple(replace(signal, trust=Trust.HINT) for signal in signals)
        return hinted, frozenset(), "unknown"
    if source.kind == "path" and said.subject.value == match.params.get(source.name):
        return signals, said.evidence, "subject"
    return (), frozenset(), "another"


def _pin(text: str) -> Pin:
    """An imagined pin: `VN` = home and territory; further `anchor=PLACE` are remembered too, as verified."""
    home, *more = text.split(",")
    if not is_place(home):
        wrong("--pin begins with the home's place, as in VN or VN,citizenship=VN")
    anchors = [(Anchor.TERRITORY, home, Trust.NETWORK)]
    for each in more:
        name, _, place = each.partition("=")
        if name not in list(Anchor) or not is_place(place):
            wrong(f"--pin remembers {', '.join(Anchor)}, as in VN,citizenship=VN")
        anchors.append((Anchor(name), place, Trust.VERIFIED))
    return Pin("imagined", home, tuple(anchors), "00", "first_write", "", 0)


def _network(policy: Policy, client: ClientAddress, at: int | None) -> tuple[tuple[Signal, ...], str | None]:
    """What the network says of a client, and the network's class, by the data that is here: as old as it was on that
    day, and new on a day before it was built."""
    moment = now = SystemClock().now()
    data = address_data(policy.deployment, Path(policy.base).joinpath, lambda: moment)
    data.open()
    moment = now if at is None else max(at, data.built_at * 1_000_000)
    data.look()
    table, address = data.table, client.address
    return data.signals_of(client), None if address is None else table.rows[table.lookup(address)].network


def _tell_mute(claims: Mapping[str, object], names: ClaimMap, *, verified: bool) -> None:
    """Tell on stderr of claims that say nothing: in a request they are no error, at a command line likely one."""
    for name, value in claims.items():
        said = identity({name: value}, names, verified=verified, source="claim")
        if name != names.subject and not said.signals and not said.evidence:
            typer.echo(f"residency explain: --claim {name} as given is neither signal nor evidence", err=True)


def wrong(message: str) -> NoReturn:
    """End the command: it was used wrongly."""
    typer.echo(f"residency explain: {message}", err=True)
    raise typer.Exit(2)


def instant_of(at: str | None) -> tuple[int, str]:
    """(microseconds, as shown). A bare day means its noon in UTC, which is that day nearly everywhere."""
    try:
        moment = datetime.now(UTC) if at is None else datetime.fromisoformat(at)
    except ValueError:
        wrong("--at is a day, as in 2026-09-01")
    if at is not None and len(at) == len("2026-09-01"):
        moment = moment.replace(hour=12, tzinfo=UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1), at or moment.date().isoformat()


def _names(policy: Policy) -> ClaimMap:
    """The deployment's names of claims; what its tokens do not carry goes by our own word, as `identify` takes it."""
    names = claim_map(policy.deployment.signals.identity.jwt)
    return replace(names, **{word: word for word in OWN_WORDS if getattr(names, word) is None})


def _claims(pairs: Sequence[str], policy: Policy) -> Mapping[str, object]:
    names = _names(policy)
    ours = {word: getattr(names, word) for word in sorted(OWN_WORDS)}
    known = sorted({*ours.values(), names.subject} - {*ours})
    claims: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            wrong("--claim is a name and a value, as in --claim citizenship=VN")
        name = ours.get(key, key)
        if name not in known and name not in ours.values():
            hint = nearest(key, [*ours, *known]) or f"; known: {', '.join([*ours, *known])}"
            wrong(f"--claim {key}: nothing reads such a claim{hint}")
        if name in (names.verified_by, names.consents) or (
            name in (names.citizenship, names.residence) and "," in value
        ):
            claims[name] = value.split(",")
        elif name == names.age and value.isascii() and value.isdecimal() and len(value) < 4:
            claims[name] = int(value)
        else:
            claims[name] = value
    return claims
