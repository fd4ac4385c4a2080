"""`residency explain`: a policy and one imagined request in, the decision told as a person would, out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from residency.adapters.mmdb import MmdbCountries, embedded
from residency.adapters.policy_files import load
from residency.errors import AddressDataUnavailable, PathError, PolicyError
from residency.jurisdiction.resolve import resolve
from residency.model import Effect, Reason
from residency.policy.compiler import Policy
from residency.policy.explain import explain as tell
from residency.policy.problems import nearest
from residency.signals.country import CountryTable, network_signals
from residency.signals.identity import ClaimMap, identity
from residency.signals.inet import canonical

__all__ = ["explain"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def explain(
    policy: Annotated[Path | None, typer.Option("--policy", help="The deployment file.", metavar="F")] = None,
    route: Annotated[str | None, typer.Option("--route", help='Method and path: "POST /v1/people".')] = None,
    ip: Annotated[str | None, typer.Option("--ip", help="The client's address.", metavar="A")] = None,
    claim: Annotated[
        list[str] | None, typer.Option("--claim", help="A claim of a verified identity.", metavar="K=V")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help="The day, as 2026-09-01; else now.", metavar="DATE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell what would be decided for one request, and why; only rules in force at DATE are cited.

    Claims count as verified: by our words (citizenship, residence, verified_by, age, consents) or by the token's.
    Exit 0 = permitted, 1 = refused, 2 = wrong use, a policy that does not hold included.

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
    address = None
    if ip is not None and (address := canonical(ip)) is None:
        _wrong("--ip is not an address")
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
    names = _names(loaded)
    who = identity(claims, names, verified=True, source="claim")
    try:
        signals = (*network_signals(address, _table(loaded)), *who.signals)
    except AddressDataUnavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    finding = resolve(signals, None, loaded.deployment.presume)
    decision = loaded.decide(match.activity, finding, who.evidence, loaded.facts, now)
    told = tell(decision, signals, route=route, at=shown)
    if as_json:
        typer.echo(json.dumps(told.data, ensure_ascii=False))
    else:
        typer.echo("\n".join(told.lines))
    if decision.effect is not Effect.PERMIT:
        raise typer.Exit(1)


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
    jwt = policy.deployment.signals.identity.jwt
    return ClaimMap() if jwt is None else ClaimMap(subject=jwt.subject, **jwt.claims)


def _claims(pairs: list[str] | tuple[str, ...], policy: Policy) -> Mapping[str, object]:
    names = _names(policy)
    ours = {word: getattr(names, word) for word in ("citizenship", "residence", "verified_by", "age", "consents")}
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
        if name in (names.verified_by, names.consents):
            claims[name] = value.split(",")
        elif name == names.age and value.isascii() and value.isdecimal() and len(value) < 4:
            claims[name] = int(value)
        else:
            claims[name] = value
    return claims


def _table(policy: Policy) -> CountryTable:
    own = policy.deployment.signals.geoip.database
    return embedded() if own is None else MmdbCountries(Path(policy.base) / own)
