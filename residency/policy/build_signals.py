"""Checked pydantic models of `signals:` and `pins:` in; the frozen values of `parsed_signals` out."""

from __future__ import annotations

from typing import Final

from residency.policy import documents_signals as files
from residency.policy.parsed_signals import (
    ClientAddressDoc,
    GeoipDoc,
    IdentityDoc,
    JwtDoc,
    NetworksDoc,
    PinsDoc,
    Secret,
    SessionDoc,
    SignalsDoc,
)

__all__ = ["MAX_AGE", "microseconds", "pins", "signals"]

_DAY: Final = 86_400_000_000
MAX_AGE: Final = 30 * _DAY
"""How old an operator's own address data may be where the file does not say, in microseconds."""
_UNITS: Final = {"ms": 1_000, "s": 10**6, "min": 60 * 10**6, "h": 3_600 * 10**6, "day": _DAY, "days": _DAY}


def microseconds(text: str) -> int:
    """A `Wait` or `Interval` such as "30 days" in microseconds."""
    amount, unit = text.split(" ")
    return int(amount) * _UNITS[unit]


def pins(file: files.Pins | None) -> PinsDoc:
    """Where remembered homes lie."""
    if file is None:
        return PinsDoc(Secret("sqlite:///./residency-data/pins.db"))
    return PinsDoc(Secret(file.url), microseconds(file.stale_for), file.local, file.region)


def signals(file: files.Signals) -> SignalsDoc:
    """What is observed, and how far it is trusted."""
    return SignalsDoc(
        _address(file.client_address), _geoip(file.geoip), _networks(file.networks), _identity(file.identity)
    )


def _address(file: files.ClientAddress | None) -> ClientAddressDoc:
    if file is None:
        return ClientAddressDoc()
    return ClientAddressDoc(file.strategy, file.header, tuple(file.trusted), file.count, file.unix)


def _geoip(file: files.Geoip | None) -> GeoipDoc:
    if file is None:
        return GeoipDoc()
    return GeoipDoc(
        database=file.database,
        second=file.second,
        max_age=_max_age(file),
        stale=file.stale,
        max_change=int(file.max_change.removesuffix("%")) / 100,
        check_every=microseconds(file.check_every),
        tables=file.tables,
    )


def _max_age(file: files.Geoip) -> int | None:
    if file.max_age is not None:
        return microseconds(file.max_age)
    # The table that ships is older than that on most days of its life: its age is told, and is the operator's to limit.
    return None if file.database is None else MAX_AGE


def _networks(file: files.Networks | None) -> NetworksDoc:
    return NetworksDoc() if file is None else NetworksDoc(tuple(file.lists), file.anonymous_ip, file.asn)


def _identity(file: files.Identity | None) -> IdentityDoc:
    if file is None:
        return IdentityDoc()
    jwt, session = file.jwt, file.session
    return IdentityDoc(
        jwt=None
        if jwt is None
        else JwtDoc(
            jwks=jwt.jwks,
            subject=jwt.subject,
            issuer=jwt.issuer,
            audience=jwt.audience,
            algorithms=tuple(jwt.algorithms),
            claims=_claims(jwt.claims),
            header=jwt.header,
            refresh=microseconds(jwt.refresh),
            stale_for=microseconds(jwt.stale_for),
        ),
        user=file.user,
        session=None if session is None else SessionDoc(session.subject, session.trust, _claims(session.claims)),
        callable=file.callable,
    )


def _claims(file: files.Claims) -> dict[str, str]:
    return {name: claim for name, claim in file.model_dump().items() if claim is not None}
