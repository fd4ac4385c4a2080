"""What was seen of the ways to a sink in; whether it lies where it says it does, and why that is thought, out. Pure.

| seen                                                  | says                                                     |
|-------------------------------------------------------|----------------------------------------------------------|
| the bucket's own answer, of a cloud whose regions     | consistent or contradicted; addresses are then the       |
| are known                                             | front door's, and only told                              |
| a bucket in another region than its URL says          | contradicted                                             |
| a public address in the sink's country                | consistent                                               |
| a public address elsewhere, in an ordinary network    | contradicted                                             |
| one of a network of another kind (hosting, relay ...) | a doubt: the table has who registered it, not where it is|
| an address that the databases disagree on, or do not  | a doubt                                                  |
| know; a private one; this machine itself              |                                                          |
| two sinks nearer to each other than their countries   | a doubt about both, or contradicts the one that nothing  |
|                                                       | else speaks for                                          |
| two sinks in two countries that are one file, or one    | contradicts the one that nothing else speaks for, or both|
| database of one server, by what these say of themselves|                                                          |
| the certificate's countries, the autonomous system    | are told: they say who, not where; a change is news      |

A doubt is undetermined, unless an attestation stands: a filing of kind `location` that is bounded to the sink and has
an expiry. An attestation never outweighs what contradicts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import Final

from residency.model import Filing
from residency.model.filing import ATTESTATION
from residency.model.place import within
from residency.storage.distances import least_km, reach_km

__all__ = [
    "EVENTS", "Address", "BucketAnswer", "Certificate", "Seen", "Standing", "Verdict", "Watched", "Which",
    "attested", "behind", "called", "follow", "followed", "judge", "lapsed", "near", "same",
]  # fmt: skip

EVENTS: Final = ("contradicted", "lost", "well", "changed", "unseen")
"""What a look may bring: a sink that lies elsewhere; one that no longer is shown to lie where it did; one that does
again; something else about it that changed; one that could not be looked at."""


class Standing(StrEnum):
    """Whether a sink lies where it says it does."""

    CONSISTENT = "consistent"
    CONTRADICTED = "contradicted"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a way: `reach` is `public`, `private` or `local`; the rest as the address table has it, and
    `system`, the autonomous system that announces it, as `AS64500 name`."""

    text: str
    reach: str
    country: str | None = None
    second: str | None = None
    network: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server's certificate says: the countries of its subject and issuer, and the issuer's organisation."""

    verified: bool
    subject: str | None = None
    issuer: str | None = None
    issued_by: str = ""


@dataclass(frozen=True, slots=True)
class BucketAnswer:
    """The region that a bucket says it lies in, the one its URL says (None = it says none), and the country of the
    former where the cloud that answered is one whose regions are known."""

    region: str
    wanted: str | None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Which:
    """What the servers behind a sink, or its file, say of themselves: `words` that they go by and no other, the
    addresses of those that follow them, standbys and other readers of their changes, and those that they are `reached`
    at, whatever stands in between."""

    words: frozenset[str] = frozenset()
    followers: tuple[str, ...] = ()
    reached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at one way brought. `here` = it is a file or a socket of this machine; `which` = what it says of
    itself, where it was asked; `front` = its addresses are the front door of a cloud, and do not say where data rests;
    `round_trip` is the least of several, in microseconds; `problem` = why something could not be seen."""

    here: bool = False
    which: Which = Which()
    front: bool = False
    addresses: tuple[Address, ...] = ()
    certificate: Certificate | None = None
    bucket: BucketAnswer | None = None
    round_trip: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sink lies in its place, why, what else is to be told, and the marks by which a change is seen.

    `unseen` = a way could not be looked at, so that this says less than it might. `attested` = an attestation is all
    that stands for it. `followed` = what is to be told of servers elsewhere that get all that is written to it.
    """

    standing: Standing
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    marks: frozenset[str] = frozenset()
    unseen: bool = False
    attested: bool = False
    followed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """A sink from look to look. `base` is its standing when it last did not drift, None = it never was well.
    `drift` = it lies elsewhere, or is no longer shown to lie where it did. `marks` are those last told."""

    verdict: Verdict
    drift: bool = False
    base: Standing | None = None
    marks: frozenset[str] = frozenset()
    told_unseen: bool = False


def called(name: str) -> str:
    """What is told by `name`: a sink; or by its key in the file, which has a slash, another of those who get something
    of people."""
    return name if "/" in name else f"sink {name}"


def attested(filings: Iterable[Filing], sink: str, now: int) -> bool:
    """Whether an attestation stands for `sink` at `now` (microseconds). One for all sinks, or for ever, is none."""
    return any(
        f.kind == ATTESTATION and f.sinks is not None and sink in f.sinks and f.expires is not None and f.stands(now)
        for f in filings
    )


def lapsed(filings: Iterable[Filing], sink: str, now: int) -> bool:
    """Whether an attestation for `sink` has run out by `now` (microseconds)."""
    return any(
        f.kind == ATTESTATION and f.sinks is not None and sink in f.sinks and f.expires is not None and f.expires <= now
        for f in filings
    )


def judge(place: str, ways: Sequence[Seen], *, attested: bool, lapsed: bool = False) -> Verdict:
    """What the looks at all the ways to one sink say of its being in `place`; `lapsed` = where none stands, one did."""
    says: dict[str, list[str]] = {"for": [], "against": [], "doubt": [], "note": []}
    for seen in ways:
        for what, text in _of_way(place, seen):
            if text not in says[what]:
                says[what].append(text)
    unseen = any(seen.problem is not None for seen in ways)
    notes, marks = tuple(says["note"]), frozenset(mark for seen in ways for mark in _marks(seen))
    if says["against"]:
        return Verdict(Standing.CONTRADICTED, tuple(says["against"]), notes, marks, unseen)
    if says["for"] and not says["doubt"]:
        return Verdict(Standing.CONSISTENT, tuple(says["for"]), notes, marks, unseen)
    doubts = tuple(says["doubt"]) or ("nothing was seen of it",)
    if attested:
        return Verdict(Standing.CONSISTENT, ("attested in the register",), doubts + notes, marks, unseen, attested=True)
    if lapsed:
        doubts = ("its attestation has run out", *doubts)
    return Verdict(Standing.UNDETERMINED, doubts, notes, marks, unseen)


def near(
    verdicts: Mapping[str, Verdict], places: Mapping[str, str], round_trips: Mapping[str, int]
) -> dict[str, Verdict]:
    """`verdicts` with what the round trips say besides, taken from one machine: two sinks whose answers came so fast
    that both cannot lie in their countries, wherever this machine is.

    `round_trips` in microseconds, of sinks with public addresses alone: before a private one a relay may stand.
    """
    found = dict(verdicts)
    for one, other in combinations(sorted(round_trips), 2):
        apart = least_km(places[one], places[other])
        if apart is None or apart <= reach_km(round_trips[one]) + reach_km(round_trips[other]):
            continue
        if Standing.CONTRADICTED in (verdicts[one].standing, verdicts[other].standing):
            continue  # that one is not where it says, so nothing follows of the other
        shown = [name for name in (one, other) if _shown(verdicts[name])]
        for name, twin in ((one, other), (other, one)):
            if shown == [name]:
                continue
            standing = Standing.CONTRADICTED if shown == [twin] else Standing.UNDETERMINED
            place, there = places[name], places[twin]
            why = f"it answers too fast to lie in {place}, if {twin} lies in {there}: {apart:.0f} km are between them"
            if found[name].standing is not Standing.CONTRADICTED:
                found[name] = _with(found[name], standing, why)
    return found


def same(
    verdicts: Mapping[str, Verdict], places: Mapping[str, str], which: Mapping[str, frozenset[str]]
) -> dict[str, Verdict]:
    """`verdicts` with what follows where two sinks in two countries are one: a thing lies in one place.

    `which` has the words that servers and files go by, of which no two share one. No attestation outweighs it.
    """
    found = dict(verdicts)
    for one, other in combinations(sorted(which), 2):
        if which[one].isdisjoint(which[other]) or _in(places[one], places[other]):
            continue
        shown = [name for name in (one, other) if _shown(verdicts[name])]
        for name, twin in ((one, other), (other, one)):
            if shown != [name]:
                why = f"it is the same as {twin}, which is said to lie in {places[twin]}"
                found[name] = _with(found[name], Standing.CONTRADICTED, why)
    return found


def followed(place: str, followers: Iterable[Address]) -> tuple[str, ...]:
    """What is to be told of servers that get all that is written to a sink in `place`: those that are elsewhere."""
    return tuple(f"a server that follows {text}" for text in _against(place, followers))


def behind(place: str, verdict: Verdict, reached: Iterable[Address]) -> Verdict:
    """`verdict` with what a server says of the addresses that it is reached at: one elsewhere contradicts, also behind
    a relay at home. One at home shows nothing, for whoever lies would say so."""
    for text in _against(place, reached):
        verdict = _with(verdict, Standing.CONTRADICTED, f"its server says that {text}")
    return verdict


def follow(before: Watched | None, seen: Verdict) -> tuple[Watched, str | None]:
    """A sink after one more look, and which of `EVENTS` that was, None = nothing new.

    What could not be looked at stays what it was, unless what was seen of it contradicts it: a resolver that is away
    for a minute moves nothing.
    """
    if seen.unseen and seen.standing is not Standing.CONTRADICTED:
        if before is None:
            return Watched(seen, told_unseen=True), "unseen"
        return replace(before, told_unseen=True), None if before.told_unseen else "unseen"
    if seen.standing is Standing.CONTRADICTED:
        again = before is not None and before.drift and before.verdict.standing is Standing.CONTRADICTED
        base = before.base if before is not None else None
        return Watched(seen, True, base, seen.marks), None if again else "contradicted"
    if seen.standing is Standing.UNDETERMINED and before is not None and before.base is Standing.CONSISTENT:
        return Watched(seen, True, before.base, seen.marks), None if before.drift else "lost"
    now = Watched(seen, False, seen.standing, seen.marks)
    if before is not None and before.drift:
        return now, "well"
    first = before is None or before.base is None
    return now, None if first or before is None or before.marks == seen.marks else "changed"


def _of_way(place: str, seen: Seen) -> Iterable[tuple[str, str]]:
    if seen.problem is not None:
        yield "doubt", seen.problem
    if seen.here:
        yield "doubt", "it lies on this machine"
    if seen.bucket is not None:
        bucket = seen.bucket
        if bucket.wanted is not None and bucket.region != bucket.wanted:
            yield "against", f"its bucket lies in region {bucket.region}, and its URL says {bucket.wanted}"
        if bucket.country is not None:
            there = _in(bucket.country, place)
            yield "for" if there else "against", f"its bucket says that it lies in {bucket.country} ({bucket.region})"
    for address in seen.addresses:
        what, text = _of_address(place, address)
        yield "note" if seen.front else what, text
        if address.system is not None:
            yield "note", f"it has an address of {address.system}"
    if seen.certificate is not None:
        yield "note", _told(seen.certificate)


def _against(place: str, addresses: Iterable[Address]) -> list[str]:
    told = (_of_address(place, address) for address in addresses)
    return sorted({text for what, text in told if what == "against"})


def _of_address(place: str, address: Address) -> tuple[str, str]:
    if address.reach != "public":
        return "doubt", "it has an address of this machine" if address.reach == "local" else "it has a private address"
    known = [each for each in (address.country, address.second) if each is not None]
    if not known:
        return "doubt", "it has an address that no country is known of"
    where = " or ".join(dict.fromkeys(known))
    inside = [_in(each, place) for each in known]
    if all(inside):
        return "for", f"it has an address in {where}"
    if any(inside):
        return "doubt", f"the databases disagree on an address of it ({where})"
    if address.network is not None:
        return "doubt", f"it has an address in {where}, of a network ({address.network}) that may be anywhere"
    return "against", f"it has an address in {where}"


def _told(certificate: Certificate) -> str:
    by = certificate.issued_by or "nobody who is named"
    whose = "" if certificate.subject is None else f" to somebody in {certificate.subject}"
    where = "" if certificate.issuer is None else f" ({certificate.issuer})"
    return f"its certificate was issued{whose} by {by}{where}{'' if certificate.verified else ', and does not verify'}"


def _marks(seen: Seen) -> Iterable[str]:
    for address in seen.addresses:
        yield f"address in {address.country or address.reach}"
        if address.system is not None:
            yield f"address of {address.system.partition(' ')[0]}"
    if seen.bucket is not None:
        yield f"bucket in {seen.bucket.region}"
    if seen.certificate is not None:
        yield f"certificate by {seen.certificate.issued_by or 'nobody'}"
        yield f"certificate {'verifies' if seen.certificate.verified else 'does not verify'}"


def _shown(verdict: Verdict) -> bool:
    return verdict.standing is Standing.CONSISTENT and not verdict.attested


def _with(verdict: Verdict, standing: Standing, why: str) -> Verdict:
    kept = verdict.why if verdict.standing is standing else ()
    notes = verdict.notes if verdict.standing is standing else verdict.why + verdict.notes
    return replace(verdict, standing=standing, why=(*kept, why), notes=notes, attested=False)


def _in(country: str, place: str) -> bool:
    return within(country, place) or within(place, country)
