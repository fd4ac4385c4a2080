"""`residency explain`: a policy and one imagined request in, the decision told as a person would, out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from residency.adapters.clock_system import SystemClock
from residency.adapters.policy_files import load
from residency.errors import AddressDataUnavailable, PathError, PolicyError, Refused, UnknownStore
from residency.jurisdiction.resolve import resolve
from residency.model import Anchor, Decision, Effect, Pin, Reason, Signal, Trust
from residency.model.place import is_place
from residency.policy.activities import Match
from residency.policy.compiler import Policy
from residency.policy.explain import explain as tell
from residency.policy.problems import nearest
from residency.signals.identity import OWN_WORDS, ClaimMap, Identity, identity
from residency.signals.inet import canonical
from residency.signals.peer import ClientAddress
from residency.storage.routing import choose
from residency.wiring import address_data, claim_map, strategy_of

__all__ = ["explain", "instant_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def explain(
    policy: Annotated[Path | None, typer.Option("--policy", help="The deployment file.", metavar="FILE")] = None,
    route: Annotated[
        str | None, typer.Option("--route", help='Method and path: "POST /v1/people".', metavar="ROUTE")
    ] = None,
    ip: Annotated[str | None, typer.Option("--ip", help="The client's address.", metavar="A")] = None,
    peer: Annotated[
        str | None, typer.Option("--peer", help="Instead of --ip: who connects, as the server sees it.", metavar="A")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", help='With --peer: "X-Forwarded-For: 203.0.113.7".', metavar="H")
    ] = None,
    claim: Annotated[
        list[str] | None, typer.Option("--claim", help="A claim of a verified identity.", metavar="K=V")
    ] = None,
    declared: Annotated[bool, typer.Option("--declared", help="The claims are not verified.")] = False,
    pin: Annotated[
        str | None,
        typer.Option("--pin", help="The subject's remembered home: VN, or VN,citizenship=VN.", metavar="P"),
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help="The day, as 2026-09-01; else now.", metavar="DATE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell what would be decided for one request, and why; only rules in force at DATE are cited.

    Claims are named by our words (citizenship, residence, phone, sim, verified_by, age, guardian, consents) or as the
    token names them. Exit 0 = permitted, 1 = refused, 2 = wrong use, a policy that does not hold included.

    Example: residency explain --policy policies/deployments/social-api.yaml --route "POST /v1/people" --ip 14.160.0.1
    """
    if policy is None or route is None:
        _wrong('--policy and --route are needed, as in --policy F --route "POST /v1/people"')
    method, _, path = route.partition(" ")
    if not method or not path.startswith("/"):
        _wrong('--route is a method and a path, as in "POST /v1/people"')
    if "?" in path or "#" in path:
        _wrong("--route is a path without a query")
    try:
        loaded = load(policy)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    now, shown = _instant(at)
    claims = _claims(claim or (), loaded)
    client = _client(loaded, ip, peer, header or ())
    remembered = None if pin is None else _pin(pin)
    try:
        match = loaded.activities.match(method, path)
    except PathError as error:
        if as_json:
            typer.echo(json.dumps({"route": route, "effect": "deny", "reason": Reason.PATH_AMBIGUOUS.value}))
        else:
            typer.echo(f"{route}: refused ({Reason.PATH_AMBIGUOUS.value}): {error}")
        raise typer.Exit(1) from None
    if match.exempt:
        typer.echo(json.dumps({"route": route, "effect": "permit", "exempt": True}) if as_json else f"{route}: exempt")
        return
    said = identity(claims, _names(loaded), verified=not declared, source="claim")
    _tell_mute(claims, _names(loaded), verified=not declared)
    try:
        network, kind = _network(loaded, client.address, now if at is not None else None)
    except AddressDataUnavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    signals, evidence, about = _of_subject(match, (*network, *said.signals), said, remembered)
    presumed = loaded.deployment.conflicts_presumed
    finding = resolve(
        signals, remembered, loaded.deployment.presume, conflicts_presumed=presumed, strategy=client.strategy
    )
    decision = loaded.decide(match.activity, finding, evidence, loaded.facts, now)
    seen = {
        "address": client.address,
        "strategy": client.strategy,
        "network": kind,
        "problem": None if client.problem is None else client.problem.value,
    }
    told = tell(decision, signals, pin=remembered, client=seen, route=route, at=shown)
    goes = _goes(loaded, decision, remembered)
    if as_json:
        typer.echo(json.dumps({**told.data, "goes_to": goes, "caller": about}, ensure_ascii=False))
    else:
        first, *rest = told.lines
        typer.echo("\n".join([first, *([f"  The caller {about}."] if about is not None else []), *rest]))
        if goes is not None and remembered is not None:
            typer.echo(f"The subject's pin sends this to {goes}")
    if decision.effect is not Effect.PERMIT:
        raise typer.Exit(1)


def _client(policy: Policy, ip: str | None, peer: str | None, headers: Sequence[str]) -> ClientAddress:
    """The client's address: as given, or as the deployment's strategy finds it."""
    strategy = strategy_of(policy.deployment.signals.client_address)
    if peer is None:
        if headers:
            _wrong("--header goes with --peer: who connects, as the server sees it")
        if ip is not None and canonical(ip) is None:
            _wrong("--ip is not an address")
        return ClientAddress(None if ip is None else canonical(ip), strategy.name)
    if ip is not None:
        _wrong("--ip says the client's address, --peer has it found: give one of them")
    if peer != "unix" and canonical(peer) is None:
        _wrong("--peer is not an address, and not `unix`")
    lines = []
    for text in headers:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            _wrong('--header is a name and a value, as in "X-Forwarded-For: 203.0.113.7"')
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
            return (), frozenset(), "is not known, and the subject has a pin: the pin speaks, the address does not"
        hinted = tuple(replace(signal, trust=Trust.HINT) for signal in signals)
        return hinted, frozenset(), "is not known, and may be the subject or not: what is seen is a hint"
    if source.kind == "path" and said.subject.value == match.params.get(source.name):
        return signals, said.evidence, "is the subject"
    return (), frozenset(), "is another than the subject: what is seen says nothing of the subject"


def _pin(text: str) -> Pin:
    """An imagined pin: `VN` = home and territory; further `anchor=PLACE` are remembered too, as verified."""
    home, *more = text.split(",")
    if not is_place(home):
        _wrong("--pin begins with the home's place, as in VN or VN,citizenship=VN")
    anchors = [(Anchor.TERRITORY, home, Trust.NETWORK)]
    for each in more:
        name, _, place = each.partition("=")
        if name not in list(Anchor) or not is_place(place):
            _wrong(f"--pin remembers {', '.join(Anchor)}, as in VN,citizenship=VN")
        anchors.append((Anchor(name), place, Trust.VERIFIED))
    return Pin("imagined", home, tuple(anchors), "00", "first_write", "", 0)


def _network(policy: Policy, address: str | None, at: int | None) -> tuple[tuple[Signal, ...], str | None]:
    """What the network says of an address, and the network's class, by the data that is here: as old as it was on that
    day, and new on a day before it was built."""
    moment = now = SystemClock().now()
    data = address_data(policy.deployment, Path(policy.base).joinpath, lambda: moment)
    data.open()
    moment = now if at is None else max(at, data.built_at * 1_000_000)
    data.look()
    table = data.table
    return data.signals(address), None if address is None else table.rows[table.lookup(address)].network


def _tell_mute(claims: Mapping[str, object], names: ClaimMap, *, verified: bool) -> None:
    """Tell on stderr of claims that say nothing: in a request they are no error, at a command line likely one."""
    for name, value in claims.items():
        said = identity({name: value}, names, verified=verified, source="claim")
        if name != names.subject and not said.signals and not said.evidence:
            typer.echo(f"residency explain: --claim {name} as given is neither signal nor evidence", err=True)


def instant_of(day: str) -> int:
    """The instant (microseconds) that `--at` means."""
    return _instant(day)[0]


def _goes(policy: Policy, decision: Decision, pin: Pin | None) -> str | None:
    """The sink that the first act would use; None where none would be."""
    if decision.activity is None or decision.activity.store is None or not decision.sinks:
        return None
    try:
        verdict = choose(decision, pin, None, order=policy.deployment.stores[decision.activity.store])
    except (Refused, UnknownStore):
        return None
    return verdict.sink.name if verdict.effect is Effect.PERMIT else None


def _wrong(message: str) -> NoReturn:
    typer.echo(f"residency explain: {message}", err=True)
    raise typer.Exit(2)


def _instant(at: str | None) -> tuple[int, str]:
    """(microseconds, as shown). A bare day means its noon in UTC, which is that day nearly everywhere."""
    try:
        moment = datetime.now(UTC) if at is None else datetime.fromisoformat(at)
    except ValueError:
        _wrong("--at is a day, as in 2026-09-01")
    if at is not None and len(at) == len("2026-09-01"):
        moment = moment.replace(hour=12, tzinfo=UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1), at or moment.date().isoformat()


def _names(policy: Policy) -> ClaimMap:
    """The deployment's names of claims; what its tokens do not carry goes by our own word, as `identify` takes it."""
    names = claim_map(policy.deployment.signals.identity.jwt)
    return replace(names, **{word: word for word in OWN_WORDS if getattr(names, word) is None})


def _claims(pairs: list[str] | tuple[str, ...], policy: Policy) -> Mapping[str, object]:
    names = _names(policy)
    ours = {word: getattr(names, word) for word in sorted(OWN_WORDS)}
    known = sorted({*ours.values(), names.subject} - {*ours})
    claims: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            _wrong("--claim is a name and a value, as in --claim citizenship=VN")
        name = ours.get(key, key)
        if name not in known and name not in ours.values():
            hint = nearest(key, [*ours, *known]) or f"; known: {', '.join([*ours, *known])}"
            _wrong(f"--claim {key}: nothing reads such a claim{hint}")
        if name in (names.verified_by, names.consents) or (
            name in (names.citizenship, names.residence) and "," in value
        ):
            claims[name] = value.split(",")
        elif name == names.age and value.isascii() and value.isdecimal() and len(value) < 4:
            claims[name] = int(value)
        else:
            claims[name] = value
    return claims
