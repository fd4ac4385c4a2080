"""What evidence says of where a sink lies, and what becomes of a sink from look to look."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from residency.model import Filing, FilingResult
from residency.storage.location import (
    Address,
    BucketAnswer,
    Certificate,
    Seen,
    Standing,
    Verdict,
    Watched,
    attested,
    follow,
    judge,
    near,
    same,
)

GOOD, BAD, OPEN = Standing.CONSISTENT, Standing.CONTRADICTED, Standing.UNDETERMINED
HOME = Address("203.0.113.1", "public", "VN")
AWAY = Address("198.51.100.1", "public", "SG")
PRIVATE = Address("10.0.0.1", "private")


def seen(*addresses: Address, **more: object) -> Seen:
    """One look at one way."""
    return replace(Seen(addresses=addresses), **more)  # type: ignore[arg-type]


def standing(*ways: Seen, place: str = "VN", attest: bool = False) -> Standing:
    """What the looks come to."""
    return judge(place, ways, attested=attest).standing


@pytest.mark.parametrize(
    ("addresses", "comes_to"),
    [
        ((HOME,), GOOD),
        ((HOME, replace(HOME, text="203.0.113.2")), GOOD),
        ((HOME, AWAY), BAD),
        ((AWAY,), BAD),
        ((PRIVATE,), OPEN),
        ((HOME, PRIVATE), OPEN),
        ((AWAY, PRIVATE), BAD),
        ((Address("127.0.0.1", "local"),), OPEN),
        ((Address("203.0.113.9", "public"),), OPEN),
        ((replace(AWAY, network="hosting"),), OPEN),
        ((replace(HOME, network="hosting"),), GOOD),
        ((replace(HOME, second="SG"),), OPEN),
        ((replace(AWAY, second="VN"),), OPEN),
        ((replace(AWAY, second="US"),), BAD),
        ((), OPEN),
    ],
)
def test_every_address_counts(addresses: tuple[Address, ...], comes_to: Standing) -> None:
    assert standing(seen(*addresses)) is comes_to


def test_a_file_of_this_machine_is_nowhere_that_can_be_seen() -> None:
    assert standing(Seen(here=True)) is OPEN


@pytest.mark.parametrize(
    ("country", "place", "comes_to"),
    [("DE", "EU", GOOD), ("SG", "EU", BAD), ("CA", "CA-QC", GOOD), ("US", "CA-QC", BAD)],
)
def test_a_bloc_and_a_part_of_a_country_are_judged_by_their_countries(
    country: str, place: str, comes_to: Standing
) -> None:
    assert standing(seen(replace(HOME, country=country)), place=place) is comes_to


def test_every_member_counts() -> None:
    assert standing(seen(HOME), seen(HOME)) is GOOD
    assert standing(seen(HOME), seen(PRIVATE)) is OPEN
    assert standing(seen(HOME), seen(AWAY)) is BAD


@pytest.mark.parametrize("attest", [False, True])
def test_an_attestation_stands_for_what_cannot_be_seen_and_never_against_what_is_seen(attest: bool) -> None:
    assert standing(seen(PRIVATE), attest=attest) is (GOOD if attest else OPEN)
    assert standing(seen(AWAY), attest=attest) is BAD
    verdict = judge("VN", [seen(HOME)], attested=attest)
    assert (verdict.standing, verdict.attested) == (GOOD, False)


def test_a_bucket_s_own_answer_decides_and_its_front_door_is_only_told() -> None:
    front = {"front": True}
    here, there = BucketAnswer("ap-southeast-1", "ap-southeast-1", "SG"), BucketAnswer("us-east-1", "us-east-1", "US")
    us = replace(AWAY, country="US")
    assert standing(seen(us, bucket=here, **front), place="SG") is GOOD
    assert standing(seen(HOME, bucket=there, **front)) is BAD
    assert "it has an address in US" in judge("SG", [seen(us, bucket=here, **front)], attested=False).notes
    # Where it does not answer now, the front door says nothing in its place.
    assert standing(seen(us, problem="its bucket does not say", **front)) is OPEN


def test_a_bucket_in_another_region_than_its_url_says_is_elsewhere() -> None:
    assert standing(seen(HOME, bucket=BucketAnswer("hcm01", "han01"))) is BAD
    assert standing(seen(HOME, bucket=BucketAnswer("han01", "han01"))) is GOOD
    assert standing(seen(HOME, bucket=BucketAnswer("han01", None))) is GOOD  # a URL of Google's names none


def test_a_certificate_s_countries_say_who_and_not_where() -> None:
    certificate = Certificate(True, "US", "US", "Example CA")
    verdict = judge("VN", [seen(HOME, certificate=certificate)], attested=False)
    assert verdict.standing is GOOD
    assert verdict.notes == ("its certificate was issued to somebody in US by Example CA (US)",)
    assert standing(seen(certificate=replace(certificate, subject="VN"))) is OPEN


@pytest.mark.parametrize(
    ("change", "stands"),
    [
        ({}, True),
        ({"kind": "dossier"}, False),
        ({"sinks": None}, False),
        ({"sinks": frozenset({"other"})}, False),
        ({"expires": None}, False),
        ({"expires": 50}, False),
        ({"date": 51}, False),
        ({"result": FilingResult.FAILED}, False),
    ],
)
def test_an_attestation_is_bounded_to_its_sink_and_to_a_time(change: dict[str, object], stands: bool) -> None:
    filing = Filing("location", "1/2026", 0, FilingResult.PASSED, 100, sinks=frozenset({"people-vn"}))
    assert attested([replace(filing, **change)], "people-vn", 50) is stands  # type: ignore[arg-type]


def pair(one: Standing, other: Standing, took: int, *, attest: bool = False) -> tuple[Standing, Standing]:
    """Two sinks, in Vietnam and Singapore, each of which answered in `took` microseconds."""
    verdicts = {"a": Verdict(one, attested=attest and one is GOOD), "b": Verdict(other)}
    found = near(verdicts, {"a": "VN", "b": "SG"}, {"a": took, "b": took})
    return found["a"].standing, found["b"].standing


def test_two_sinks_that_answer_faster_than_light_between_their_countries_are_not_both_there() -> None:
    # Their circles are 563 km apart: 5.63 ms of round trips together.
    assert pair(GOOD, OPEN, 2_000) == (GOOD, BAD)
    assert pair(OPEN, GOOD, 2_000) == (BAD, GOOD)
    assert pair(GOOD, GOOD, 2_000) == (OPEN, OPEN)  # one of the two is wrong, and nobody knows which
    assert pair(OPEN, OPEN, 2_000) == (OPEN, OPEN)
    assert pair(BAD, GOOD, 2_000) == (BAD, GOOD)
    assert pair(GOOD, OPEN, 2_000, attest=True) == (OPEN, OPEN)  # what is attested was not seen
    assert pair(GOOD, GOOD, 3_000) == (GOOD, GOOD)


def test_of_a_country_that_no_table_has_nothing_is_said() -> None:
    verdicts = {"a": Verdict(GOOD), "b": Verdict(GOOD)}
    assert near(verdicts, {"a": "VN", "b": "AQ"}, {"a": 1, "b": 1}) == verdicts


def one(first: Standing, second: Standing, *words: str, there: str = "SG", attest: bool = False) -> list[Standing]:
    """Two sinks, in Vietnam and `there`, whose servers go by these words."""
    verdicts = {"a": Verdict(first, attested=attest), "b": Verdict(second)}
    found = same(verdicts, {"a": "VN", "b": there}, {"a": frozenset({"x", "y"}), "b": frozenset(words)})
    return [found["a"].standing, found["b"].standing]


def test_two_sinks_that_are_one_do_not_lie_in_two_countries() -> None:
    assert one(GOOD, OPEN, "y", "z") == [GOOD, BAD]
    assert one(OPEN, GOOD, "y") == [BAD, GOOD]
    assert one(OPEN, OPEN, "y") == [BAD, BAD]  # one of the two is wrong, and nobody knows which
    assert one(GOOD, GOOD, "y") == [BAD, BAD]
    assert one(GOOD, OPEN, "y", attest=True) == [BAD, BAD]
    assert one(OPEN, OPEN, "z") == [OPEN, OPEN]
    assert one(OPEN, OPEN) == [OPEN, OPEN]
    assert one(OPEN, OPEN, "y", there="VN-HN") == [OPEN, OPEN]
    verdicts = {"a": Verdict(OPEN), "b": Verdict(OPEN)}
    found = same(verdicts, {"a": "VN", "b": "SG"}, dict.fromkeys("ab", frozenset({"x"})))
    assert found["a"].why == ("it is the same as b, which is said to lie in SG",)


def looks(*verdicts: Verdict) -> list[tuple[bool, str | None]]:
    """(whether it drifts, the event) after each look."""
    watched: Watched | None = None
    found = []
    for verdict in verdicts:
        watched, event = follow(watched, verdict)
        found.append((watched.drift, event))
    return found


def test_a_sink_is_followed_from_look_to_look() -> None:
    good, bad, doubt = Verdict(GOOD), Verdict(BAD), Verdict(OPEN)
    assert looks(good, good) == [(False, None), (False, None)]
    assert looks(bad, bad, good) == [(True, "contradicted"), (True, None), (False, "well")]
    assert looks(good, doubt, doubt, good) == [(False, None), (True, "lost"), (True, None), (False, "well")]
    assert looks(good, doubt, bad) == [(False, None), (True, "lost"), (True, "contradicted")]
    assert looks(doubt, doubt, bad, doubt) == [(False, None), (False, None), (True, "contradicted"), (False, "well")]


def test_what_changed_without_doubt_is_told_once() -> None:
    one, other = Verdict(GOOD, marks=frozenset({"certificate by A"})), Verdict(GOOD, marks=frozenset({"by B"}))
    assert looks(one, one, other, other) == [(False, None), (False, None), (False, "changed"), (False, None)]


def test_a_look_that_saw_nothing_moves_nothing() -> None:
    good, bad, blind = Verdict(GOOD), Verdict(BAD), Verdict(OPEN, unseen=True)
    assert looks(good, blind, blind, good) == [(False, None), (False, "unseen"), (False, None), (False, None)]
    assert looks(bad, blind, good) == [(True, "contradicted"), (True, "unseen"), (False, "well")]
    assert looks(blind, good) == [(False, "unseen"), (False, None)]
    assert looks(good, Verdict(BAD, unseen=True)) == [(False, None), (True, "contradicted")]


def test_from_no_state_is_a_contradicted_sink_well_or_a_lost_one_silently_well_again() -> None:
    """Every sequence of three looks: what lies elsewhere drifts, and what was shown and is not any more drifts."""
    verdicts = (Verdict(GOOD), Verdict(BAD), Verdict(OPEN), Verdict(OPEN, unseen=True))
    for sequence in product(verdicts, repeat=3):
        drifts = looks(*sequence)
        for number, (verdict, (drift, event)) in enumerate(zip(sequence, drifts, strict=True)):
            before = number > 0 and drifts[number - 1][0]
            if verdict.standing is BAD:
                assert drift
            if verdict.standing is GOOD:
                assert not drift
            if before and not drift:
                assert event == "well"
            if drift and not before:
                assert event in ("contradicted", "lost")
            if before and verdict.unseen:
                assert drift
