"""Who a person says or is proven to be: claims of a token, a session or the app in; subject, signals, evidence out.

| claim       | what it may hold                                      | verified              | unverified            |
|-------------|-------------------------------------------------------|-----------------------|-----------------------|
| citizenship | a country's code (VN, VNM), or a list of them         | citizenship, VERIFIED | citizenship, DECLARED |
| residence   | a country's code (VN, VNM), or a list of them         | residence, VERIFIED   | residence, DECLARED   |
| phone       | a number such as +84 91 234 56 78, or a country       | residence, DECLARED   | residence, HINT       |
| sim         | an MCC or MCC-MNC such as 452-04, or a country        | territory, NETWORK    | territory, HINT       |
| verified_by | `phone`, `national_id`, `eid`, or a list of them      | `identity:<kind>`     | –                     |
| age         | years, or `under_7`, `7_15`, `16_17`, `adult`         | `age:at_least_<n>`    | –                     |
| guardian    | true or an id: a representative has consented         | `consent:guardian`    | –                     |
| consents    | ids of consents                                       | `consent:<id>`        | –                     |

Verified = a signature the deployment trusts, or an app the deployment trusts; nothing else is ever more than DECLARED.
Evidence permits, so it comes from verified claims alone. A phone tells where its contract is and not where its owner
lives; a SIM, where a subscriber is at home, no better than an address does: a declared territory would outrank the
network, and a person could say away the place where he is (ADR 0006). Of a number only the country is kept. A claim of
the wrong type or an unknown code is no signal, and never an error: it is a stranger's text. Where it was to say
citizenship or residence it is `unread`, so that it can be counted: nobody should lose a law to a spelling unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from residency.errors import TokenError
from residency.model.finding import Anchor, Signal, Trust
from residency.model.place import is_place
from residency.model.subject import SubjectId
from residency.signals.calling_codes import phone_country, sim_country
from residency.signals.country_codes import country

__all__ = [
    "IDENTITY_KINDS",
    "NOBODY",
    "OWN_NAMES",
    "OWN_WORDS",
    "ClaimMap",
    "Identity",
    "bearer",
    "identity",
    "joined",
    "session_identity",
    "subject_id",
    "token_in",
    "user_identity",
    "voided",
]

IDENTITY_KINDS: Final = frozenset({"phone", "national_id", "eid"})
"""What an identity can be verified by, as the `identity:` evidence spells it."""

_AGES: Final = (7, 16, 18)
_BANDS: Final = {"under_7": 0, "7_15": 7, "16_17": 16, "adult": 18}
_OLDEST: Final = 150
_CONSENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_GUARDIAN: Final = "guardian"
_NO: Final = frozenset({"", "0", "false", "no", "none", "null", "off", "không"})
_MOST: Final = 32  # members of a list claim that are read


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Names of the claims that carry each fact. None = not read: what tells less, or permits, is asked for by name."""

    subject: str = "sub"
    citizenship: str = "nationality"
    residence: str = "country"
    phone: str | None = None
    sim: str | None = None
    verified_by: str = "identity_verified_by"
    age: str = "age"
    guardian: str | None = None
    consents: str = "consents"


OWN_NAMES: Final = ClaimMap(
    "subject", "citizenship", "residence", "phone", "sim", "verified_by", "age", "guardian", "consents"
)
"""Our own words, by which an app itself speaks: in `identify` and in the answer of `identity.callable`."""
OWN_WORDS: Final = frozenset(ClaimMap.__dataclass_fields__) - {"subject"}
"""The claims of `OWN_NAMES`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who, as far as is known; what that says of where they belong; which clauses it helps to meet.

    Evidence is spelled `identity:phone`, `identity:national_id`, `identity:eid`, `age:at_least_7`, `age:at_least_16`,
    `age:at_least_18`, `consent:guardian`, `consent:<id>`. `void` = of somebody who showed a token that does not hold:
    nothing else may say in its place who that is, or prove anything of them; `of` = whom the signals that are left are
    of, should the app itself say that it is that one. `unread` = anchors of which a claim was
    there and could not be read.
    """

    subject: SubjectId | None
    signals: tuple[Signal, ...]
    evidence: frozenset[str]
    void: bool = False
    unread: frozenset[Anchor] = frozenset()
    of: SubjectId | None = None

    @property
    def speaks_of(self) -> SubjectId | None:
        """Whom the signals are of, whether or not that is who asks."""
        return self.of if self.void else self.subject


_SILENT: Final = Identity(None, (), frozenset())
NOBODY: Final = Identity(None, (), frozenset(), void=True)
"""Somebody showed a token that does not hold, and nothing else says where they belong."""


def voided(said: Identity | None) -> Identity:
    """What is left of what others `said` where a token does not hold: where the person belongs, for whoever sends a
    forged token must not take from a law what it would have had without it."""
    if said is None or not said.signals:
        return NOBODY
    return Identity(None, said.signals, frozenset(), void=True, of=said.speaks_of)


def _texts(value: object) -> list[str]:
    """The texts of a claim that is a text or a list of texts; members of any other type are left out."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple | set | frozenset):
        return [v for v in list(value)[:_MOST] if isinstance(v, str)]
    return []


def _place(text: str) -> str | None:
    known = country(text)
    if known is not None:
        return known
    code = text.upper() if text.isascii() and len(text) <= 6 else ""
    return code if is_place(code) else None


def _unread(claims: Mapping[str, object], names: ClaimMap) -> Iterator[Anchor]:
    """Anchors whose claim is there, is not empty and names no place, or something beside places."""
    for anchor, claim in ((Anchor.CITIZENSHIP, names.citizenship), (Anchor.RESIDENCE, names.residence)):
        value = claims.get(claim)
        if value is None or value in ("", [], ()):
            continue
        said = value if isinstance(value, list | tuple | set | frozenset) else [value]
        if not all(isinstance(each, str) and _place(each) is not None for each in list(said)[:_MOST]):
            yield anchor


def subject_id(value: object) -> SubjectId | None:
    """`value` as a subject's id; None where it is none: no text, empty, over 512 characters, no Unicode, or begun with
    a NUL, as the marks are that this package keeps among the pins."""
    if not isinstance(value, str) or not 0 < len(value) <= 512 or value[0] == "\0":
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and no digest can take
        return None
    return SubjectId(value)


def _id(value: object) -> object:
    """A number that an app keeps as its users' id, as a text; all else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**127 else value


def _signals(claims: Mapping[str, object], names: ClaimMap, verified: bool, source: str) -> Iterator[Signal]:
    stated = Trust.VERIFIED if verified else Trust.DECLARED
    yield from _spoken(Anchor.CITIZENSHIP, claims, names.citizenship, _place, stated, source)
    yield from _spoken(Anchor.RESIDENCE, claims, names.residence, _place, stated, source)
    if names.phone is not None:
        # OpenID Connect's `phone_number_verified` = false: the issuer signs that it has not asked.
        proven = verified and claims.get(f"{names.phone}_verified") is not False
        trust = Trust.DECLARED if proven else Trust.HINT
        yield from _spoken(Anchor.RESIDENCE, claims, names.phone, phone_country, trust, f"{source}.phone")
    if names.sim is not None:
        trust = Trust.NETWORK if verified else Trust.HINT
        yield from _spoken(Anchor.TERRITORY, claims, names.sim, sim_country, trust, f"{source}.sim")


def _spoken(
    anchor: Anchor,
    claims: Mapping[str, object],
    claim: str,
    read: Callable[[str], str | None],
    trust: Trust,
    source: str,
) -> Iterator[Signal]:
    """One signal for each place that the claim names, in order and once: two nationalities are two signals."""
    places = (read(text) for text in _texts(claims.get(claim)))
    return (Signal(anchor, place, trust, source) for place in dict.fromkeys(places) if place is not None)


def _evidence(claims: Mapping[str, object], names: ClaimMap) -> Iterable[str]:
    for kind in _texts(claims.get(names.verified_by)):
        if kind in IDENTITY_KINDS:
            yield f"identity:{kind}"
    age = claims.get(names.age)
    if isinstance(age, str):
        age = _BANDS.get(age)
    if isinstance(age, int) and not isinstance(age, bool) and 0 <= age <= _OLDEST:
        for least in _AGES:
            if age >= least:
                yield f"age:at_least_{least}"
    if names.guardian is not None and _agreed(claims.get(names.guardian)):
        yield f"consent:{_GUARDIAN}"
    for consent in _texts(claims.get(names.consents)):
        # What a child agreed to under that name is not its guardian's consent.
        if consent != _GUARDIAN and _CONSENT_ID.fullmatch(consent):
            yield f"consent:{consent}"


def _agreed(value: object) -> bool:
    """Whether a guardian claim says yes: True, or the id of the person or the form. A text that says no is no id."""
    value = _id(value)
    return value is True or (isinstance(value, str) and len(value) <= 512 and value.strip().lower() not in _NO)


def identity(claims: Mapping[str, object], names: ClaimMap, *, verified: bool, source: str) -> Identity:
    """What `claims` say; `source` is the signals' source ("jwt", "user", "app"). Never raises on a claim's value."""
    signals = tuple(_signals(claims, names, verified, source))
    evidence = frozenset(_evidence(claims, names)) if verified else frozenset()
    unread = frozenset(_unread(claims, names))
    return Identity(subject_id(claims.get(names.subject)), signals, evidence, unread=unread)


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
    claims = _attribute(user, "claims")
    said = identity(claims if isinstance(claims, Mapping) else {}, names, verified=verified, source="user")
    return replace(said, subject=subject_id(_id(name)))


def _attribute(user: object, name: str) -> object:
    # Starlette's BaseUser raises NotImplementedError from a property that a subclass left out.
    try:
        return getattr(user, name, None)
    except NotImplementedError:
        return None


def session_identity(session: object, names: ClaimMap, *, verified: bool) -> Identity | None:
    """What `scope["session"]` says: None unless it is a mapping that holds something of ours.

    The subject may be a number. `verified` = the deployment says that the app verified what it put in.
    """
    if not isinstance(session, Mapping):
        return None
    said = identity(session, names, verified=verified, source="session")
    said = replace(said, subject=subject_id(_id(session.get(names.subject))))
    return None if said == _SILENT else said


def joined(caller: Identity | None, said: Identity | None) -> Identity | None:
    """`caller` with what the app's own callable `said` beside it.

    Where both name one person, or only one of them names anybody, all of it holds. Where the app names another subject
    than the token did, the app's word stands, and what was proven of the other is of this one no more than declared.
    """
    if caller is None or said is None:
        return said if caller is None else caller
    if caller.void:
        first, second = caller.of, said.subject
        of = first if second is None else second if first in (None, second) else None  # of two people: of neither
        return voided(replace(caller, signals=tuple(dict.fromkeys((*caller.signals, *said.signals))), of=of))
    signals, evidence = caller.signals, caller.evidence
    if None not in (caller.subject, said.subject) and caller.subject != said.subject:
        signals = tuple(replace(signal, trust=min(signal.trust, Trust.DECLARED)) for signal in signals)
        evidence = frozenset()
    return Identity(
        said.subject if said.subject is not None else caller.subject,
        tuple(dict.fromkeys((*signals, *said.signals))),
        evidence | said.evidence,
        unread=caller.unread | said.unread,
    )


def bearer(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The token of the one `Authorization: Bearer` header; None for no such header, or more than one Authorization:
    which of two is meant, an app and we could read differently."""
    values = [value for name, value in headers if name == b"authorization"]
    return _after_bearer(values[0]) if len(values) == 1 else None


def _after_bearer(value: bytes) -> bytes | None:
    return value[7:].strip() or None if value[:7].lower() == b"bearer " else None


def token_in(headers: Sequence[tuple[bytes, bytes]], header: bytes = b"authorization") -> bytes | None:
    """The token that `header` (lower case) carries: after `Bearer` in Authorization, bare in a gateway's own header.

    None where there is none. Raises: TokenError where the header is there twice, for an app and we could read
    different ones.
    """
    values = [value for name, value in headers if name == header]
    if not values:
        return None
    if len(values) > 1:
        raise TokenError("more than one header carries an identity token")
    return _after_bearer(values[0]) if header == b"authorization" else values[0].strip() or None
