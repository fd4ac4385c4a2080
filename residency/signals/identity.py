"""Who a person says or is proven to be: claims of a token or of the app in, subject, signals and evidence out.

Claims speak of citizenship and residence. Verified ones (a signature the deployment trusts, or an app the deployment
trusts) are `Trust.VERIFIED`, all others `Trust.DECLARED`, never more. Evidence permits, so it comes from verified
claims alone. A claim of the wrong type or an unknown code is no signal, and never an error: it is a stranger's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from residency.model.finding import Anchor, Signal, Trust
from residency.model.place import is_place
from residency.model.subject import SubjectId

__all__ = ["IDENTITY_KINDS", "ClaimMap", "Identity", "bearer", "identity", "user_identity"]

IDENTITY_KINDS: Final = frozenset({"phone", "national_id", "eid"})
"""What an identity can be verified by, as the `identity:` evidence spells it."""

_AGES: Final = (16, 18)
_OLDEST: Final = 150
_CONSENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_MOST: Final = 32  # members of a list claim that are read


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Names of the claims that carry each fact."""

    subject: str = "sub"
    citizenship: str = "nationality"
    residence: str = "country"
    verified_by: str = "identity_verified_by"
    age: str = "age"
    consents: str = "consents"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who, as far as is known; what that says of citizenship and residence; which clauses it helps to meet.

    Evidence is spelled `identity:phone`, `identity:national_id`, `identity:eid`, `age:at_least_16`,
    `age:at_least_18`, `consent:<id>`.
    """

    subject: SubjectId | None
    signals: tuple[Signal, ...]
    evidence: frozenset[str]


def _texts(value: object) -> list[str]:
    """The texts of a claim that is a text or a list of texts; members of any other type are left out."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple | set | frozenset):
        return [v for v in list(value)[:_MOST] if isinstance(v, str)]
    return []


def _places(value: object) -> list[str]:
    """Known place codes, upper case, in order and once. Two nationalities are two signals."""
    codes = (text.upper() for text in _texts(value) if text.isascii() and len(text) <= 6)
    return [code for code in dict.fromkeys(codes) if is_place(code)]


def _subject(value: object) -> SubjectId | None:
    return SubjectId(value) if isinstance(value, str) and 0 < len(value) <= 512 else None


def _evidence(claims: Mapping[str, object], names: ClaimMap) -> Iterable[str]:
    for kind in _texts(claims.get(names.verified_by)):
        if kind in IDENTITY_KINDS:
            yield f"identity:{kind}"
    age = claims.get(names.age)
    if isinstance(age, int) and not isinstance(age, bool) and 0 <= age <= _OLDEST:
        for least in _AGES:
            if age >= least:
                yield f"age:at_least_{least}"
    for consent in _texts(claims.get(names.consents)):
        if _CONSENT_ID.fullmatch(consent):
            yield f"consent:{consent}"


def identity(claims: Mapping[str, object], names: ClaimMap, *, verified: bool, source: str) -> Identity:
    """What `claims` say; `source` is the signals' source ("jwt", "user", "app"). Never raises on a claim's value."""
    trust = Trust.VERIFIED if verified else Trust.DECLARED
    signals = tuple(
        Signal(anchor, place, trust, source)
        for anchor, claim in ((Anchor.CITIZENSHIP, names.citizenship), (Anchor.RESIDENCE, names.residence))
        for place in _places(claims.get(claim))
    )
    evidence = frozenset(_evidence(claims, names)) if verified else frozenset()
    return Identity(_subject(claims.get(names.subject)), signals, evidence)


def user_identity(user: object, names: ClaimMap, *, verified: bool = False) -> Identity | None:
    """What `scope["user"]` says: None unless `user.is_authenticated` is True.

    The subject is `user.identity`, or `user.display_name` where the class has no identity. A mapping `user.claims`
    is read like a token's claims; `verified` = the deployment says that the app verifies them.
    """
    if _attribute(user, "is_authenticated") is not True:
        return None
    name = _attribute(user, "identity")
    if name is None:
        name = _attribute(user, "display_name")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    claims = _attribute(user, "claims")
    said = identity(claims if isinstance(claims, Mapping) else {}, names, verified=verified, source="user")
    return Identity(_subject(name), said.signals, said.evidence)


def _attribute(user: object, name: str) -> object:
    # Starlette's BaseUser raises NotImplementedError from a property that a subclass left out.
    try:
        return getattr(user, name, None)
    except NotImplementedError:
        return None


def bearer(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The token of the one `Authorization: Bearer` header; None for no such header, or more than one Authorization:
    which of two is meant, an app and we could read differently."""
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1 or values[0][:7].lower() != b"bearer ":
        return None
    return values[0][7:].strip() or None
