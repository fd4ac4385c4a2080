"""Claims become signals by their verification, evidence comes from verified claims alone, and nothing raises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.authentication import SimpleUser, UnauthenticatedUser

from residency.errors import TokenError
from residency.model.finding import Anchor, Signal, Trust
from residency.model.subject import SubjectId
from residency.signals.identity import (
    NOBODY,
    OWN_NAMES,
    OWN_WORDS,
    ClaimMap,
    Identity,
    bearer,
    identity,
    joined,
    session_identity,
    subject_id,
    token_in,
    user_identity,
    voided,
)

NAMES = ClaimMap()
FULL: dict[str, object] = {
    "sub": "u-1",
    "nationality": "VN",
    "country": "DE",
    "identity_verified_by": ["phone", "eid"],
    "age": 17,
    "consents": ["marketing-2026", "ai.training:v2"],
}


def test_verified_claims_are_verified_signals_and_evidence() -> None:
    said = identity(FULL, NAMES, verified=True, source="jwt")
    assert said.subject == SubjectId("u-1")
    assert said.signals == (
        Signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED, "jwt"),
        Signal(Anchor.RESIDENCE, "DE", Trust.VERIFIED, "jwt"),
    )
    assert said.evidence == {
        "identity:phone",
        "identity:eid",
        "age:at_least_7",
        "age:at_least_16",
        "consent:marketing-2026",
        "consent:ai.training:v2",
    }


def test_unverified_claims_are_declared_and_no_evidence() -> None:
    said = identity(FULL, NAMES, verified=False, source="app")
    assert {signal.trust for signal in said.signals} == {Trust.DECLARED}
    assert said.evidence == frozenset()


def test_two_nationalities_are_two_signals() -> None:
    said = identity({"nationality": ["VN", "de", "VN"]}, NAMES, verified=True, source="jwt")
    assert [signal.place for signal in said.signals] == ["VN", "DE"]


def test_claims_are_found_under_the_names_of_the_deployment() -> None:
    names = ClaimMap(subject="uid", citizenship="cit", residence="res", verified_by="by", age="years", consents="ok")
    claims = {"uid": "u", "cit": "VN", "res": "LA", "by": "national_id", "years": 18, "ok": "c1", "sub": "other"}
    said = identity(claims, names, verified=True, source="jwt")
    assert said.subject == SubjectId("u")
    assert [signal.place for signal in said.signals] == ["VN", "LA"]
    assert said.evidence == {
        "identity:national_id",
        "age:at_least_7",
        "age:at_least_16",
        "age:at_least_18",
        "consent:c1",
    }


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, True, "", "Vietnam", "QQQ", "XX", "V\u0130", {}, [None, 3], {"VN": 1}, "N" * 9999]
)
def test_a_place_claim_of_the_wrong_type_or_an_unknown_code_is_no_signal(value: object) -> None:
    assert identity({"nationality": value, "country": value}, NAMES, verified=True, source="jwt").signals == ()


def test_a_passports_code_is_the_countrys() -> None:
    said = identity({"nationality": ["VNM", "D<<"], "country": "LAO"}, NAMES, verified=True, source="jwt")
    assert [signal.place for signal in said.signals] == ["VN", "DE", "LA"]
    assert said.unread == frozenset()


@pytest.mark.parametrize("value", ["Vietnam", "XXA", 7, ["VN", "Laos"], ["VN", 3], {"VN": 1}, False])
def test_a_place_claim_that_cannot_be_read_is_told_apart_from_none(value: object) -> None:
    assert identity({"nationality": value}, NAMES, verified=True, source="jwt").unread == {Anchor.CITIZENSHIP}
    assert identity({"country": value}, NAMES, verified=False, source="jwt").unread == {Anchor.RESIDENCE}


@pytest.mark.parametrize("value", [None, "", [], "VN", "CA-QC", "EU", ["VN", "DEU"]])
def test_a_place_claim_that_is_read_or_empty_is_not_unread(value: object) -> None:
    assert identity({"nationality": value}, NAMES, verified=True, source="jwt").unread == frozenset()


def test_what_could_not_be_read_of_either_is_unread_of_both() -> None:
    token = identity({"nationality": "Laos"}, NAMES, verified=True, source="jwt")
    own = identity({"residence": "Laos"}, OWN_NAMES, verified=True, source="app")
    both = joined(token, own)
    assert both is not None
    assert both.unread == {Anchor.CITIZENSHIP, Anchor.RESIDENCE}


@pytest.mark.parametrize("value", [None, 0, True, "", "x" * 513, ["u"], {"id": 1}])
def test_a_subject_of_the_wrong_type_or_length_is_no_subject(value: object) -> None:
    assert identity({"sub": value}, NAMES, verified=True, source="jwt").subject is None


@pytest.mark.parametrize("value", [True, "18", 18.0, -1, 151, 10**400, None, [18]])
def test_an_age_that_is_no_plausible_integer_is_no_evidence(value: object) -> None:
    assert identity({"age": value}, NAMES, verified=True, source="jwt").evidence == frozenset()


@pytest.mark.parametrize("value", ["sms", "identity:phone", "PHONE", True, {"phone": True}, 7])
def test_an_unknown_way_of_verifying_is_no_evidence(value: object) -> None:
    assert identity({"identity_verified_by": value}, NAMES, verified=True, source="jwt").evidence == frozenset()


@pytest.mark.parametrize("value", ["", " ", "a b", "x" * 65, "c\n", "consent/1", 7])
def test_a_consent_id_outside_its_alphabet_is_no_evidence(value: object) -> None:
    assert identity({"consents": [value]}, NAMES, verified=True, source="jwt").evidence == frozenset()


class User(SimpleUser):
    """A user as an app's own authentication backend might make it."""

    def __init__(self, identity: object, claims: object) -> None:
        super().__init__("shown")
        self._identity, self.claims = identity, claims

    @property
    def identity(self) -> str:
        return self._identity  # type: ignore[return-value]


def test_a_user_declares_unless_the_deployment_says_that_the_app_verifies() -> None:
    user = User("u-1", FULL)
    declared, verified = user_identity(user, NAMES), user_identity(user, NAMES, verified=True)
    assert declared is not None
    assert verified is not None
    assert declared.subject == verified.subject == SubjectId("u-1")
    assert {(s.trust, s.source) for s in declared.signals} == {(Trust.DECLARED, "user")}
    assert {(s.trust, s.source) for s in verified.signals} == {(Trust.VERIFIED, "user")}
    assert declared.evidence == frozenset()
    assert "identity:phone" in verified.evidence


def test_the_user_not_its_claims_names_the_subject() -> None:
    said = user_identity(User("u-1", {"sub": "somebody else"}), NAMES)
    assert said is not None
    assert said.subject == SubjectId("u-1")


@pytest.mark.parametrize("user", [None, object(), UnauthenticatedUser(), "u-1", {"is_authenticated": True}])
def test_a_user_who_is_not_authenticated_is_nobody(user: object) -> None:
    assert user_identity(user, NAMES) is None


def test_a_user_without_identity_goes_by_its_display_name() -> None:
    class Bare(User):
        @property
        def identity(self) -> str:
            raise NotImplementedError

    said = user_identity(Bare("", None), NAMES)
    assert said is not None
    assert said.subject == SubjectId("shown")
    assert said.signals == ()


def test_a_database_key_is_a_subject() -> None:
    said = user_identity(User(0, None), NAMES)
    assert said is not None
    assert said.subject == SubjectId("0")


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER  "])
def test_the_bearer_token_is_found(scheme: bytes) -> None:
    assert bearer([(b"host", b"x"), (b"authorization", scheme + b"a.b.c ")]) == b"a.b.c"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic dTpw")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer  ")],
        [(b"authorization", b"Bearer a.b.c"), (b"authorization", b"Bearer d.e.f")],
    ],
)
def test_no_bearer_token_or_two_are_none(headers: list[tuple[bytes, bytes]]) -> None:
    assert bearer(headers) is None


# -- phone and SIM ---------------------------------------------------------------------------------------------------

ALL = ClaimMap(phone="phone_number", sim="sim", guardian="guardian")


@pytest.mark.parametrize(("verified", "trust"), [(True, Trust.DECLARED), (False, Trust.HINT)])
def test_a_phone_speaks_of_residence_one_step_below_its_verification(verified: bool, trust: Trust) -> None:
    said = identity({"phone_number": "+84 91 234 56 78"}, ALL, verified=verified, source="jwt")
    assert said.signals == (Signal(Anchor.RESIDENCE, "VN", trust, "jwt.phone"),)


def test_a_phone_that_its_issuer_did_not_verify_is_a_hint_in_a_signed_token_too() -> None:
    claims = {"phone_number": "+84912345678", "phone_number_verified": False}
    (signal,) = identity(claims, ALL, verified=True, source="jwt").signals
    assert signal.trust is Trust.HINT


@pytest.mark.parametrize(("verified", "trust"), [(True, Trust.NETWORK), (False, Trust.HINT)])
def test_a_sim_speaks_of_territory_and_never_louder_than_the_network(verified: bool, trust: Trust) -> None:
    said = identity({"sim": "452-04"}, ALL, verified=verified, source="jwt")
    assert said.signals == (Signal(Anchor.TERRITORY, "VN", trust, "jwt.sim"),)


def test_phone_sim_and_guardian_are_read_only_where_the_deployment_names_them() -> None:
    claims: dict[str, object] = {"phone": "+84", "phone_number": "+84", "sim": "452", "guardian": True}
    assert identity(claims, NAMES, verified=True, source="jwt") == Identity(None, (), frozenset())


def test_nothing_of_a_number_but_its_country_is_kept() -> None:
    said = identity({"phone_number": "+84912345678"}, ALL, verified=True, source="jwt")
    assert "12345" not in repr(said)


# -- age, guardian ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "least"),
    [
        (0, 0),
        (6, 0),
        (7, 7),
        (15, 7),
        (16, 16),
        (17, 16),
        (18, 18),
        (150, 18),
        ("under_7", 0),
        ("7_15", 7),
        ("16_17", 16),
        ("adult", 18),
    ],
)
def test_an_age_or_a_band_is_evidence_of_each_age_it_reaches(value: object, least: int) -> None:
    expected = {f"age:at_least_{age}" for age in (7, 16, 18) if age <= least}
    assert identity({"age": value}, NAMES, verified=True, source="jwt").evidence == expected


@pytest.mark.parametrize("value", ["Adult", "ADULT ", "18_99", "-1", ["adult"], {"adult": True}])
def test_an_unknown_band_is_no_evidence(value: object) -> None:
    assert identity({"age": value}, NAMES, verified=True, source="jwt").evidence == frozenset()


@pytest.mark.parametrize("value", [True, "parent-7", 7, "form 12/2026"])
def test_a_verified_guardian_is_evidence(value: object) -> None:
    assert identity({"guardian": value}, ALL, verified=True, source="jwt").evidence == {"consent:guardian"}
    assert identity({"guardian": value}, ALL, verified=False, source="jwt").evidence == frozenset()


@pytest.mark.parametrize("value", [False, None, 0, "", " ", "false", "No", "NULL", "không", "0", [], ["x"], {}, 1.5])
def test_a_guardian_claim_that_says_no_or_nothing_is_no_evidence(value: object) -> None:
    assert identity({"guardian": value}, ALL, verified=True, source="jwt").evidence == frozenset()


def test_a_consent_of_the_guardians_name_is_not_the_guardians() -> None:
    said = identity({"consents": ["guardian", "c1"]}, ALL, verified=True, source="jwt")
    assert said.evidence == {"consent:c1"}


# -- sessions --------------------------------------------------------------------------------------------------------

KEYS = ClaimMap(subject="user_id", citizenship="citizenship")


def test_a_session_says_what_its_keys_hold_as_far_as_the_deployment_trusts_it() -> None:
    session = {"user_id": 7, "citizenship": "VN", "age": 20}
    declared, verified = (session_identity(session, KEYS, verified=v) for v in (False, True))
    assert declared == Identity(
        SubjectId("7"), (Signal(Anchor.CITIZENSHIP, "VN", Trust.DECLARED, "session"),), frozenset()
    )
    assert verified is not None
    assert verified.signals == (Signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED, "session"),)
    assert "age:at_least_18" in verified.evidence


@pytest.mark.parametrize("session", [None, {}, {"cart": [1]}, [], "user_id", object(), {"user_id": None}])
def test_a_session_that_holds_nothing_of_ours_is_nobody(session: object) -> None:
    assert session_identity(session, KEYS, verified=True) is None


@pytest.mark.parametrize("value", [True, 2**127, -(2**9999), "", "x" * 513, "\ud800", 1.5, ["u"], {"id": 1}])
def test_what_is_no_id_in_a_session_is_no_subject(value: object) -> None:
    assert session_identity({"user_id": value}, KEYS, verified=True) is None


def test_a_visitor_without_an_account_can_declare() -> None:
    said = session_identity({"citizenship": "VN"}, KEYS, verified=False)
    assert said is not None
    assert (said.subject, len(said.signals)) == (None, 1)


# -- two sources -----------------------------------------------------------------------------------------------------

VN = Signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED, "jwt")
US = Signal(Anchor.CITIZENSHIP, "US", Trust.DECLARED, "callable")
TOKEN = Identity(SubjectId("idp|7"), (VN,), frozenset({"identity:phone"}))


def test_what_the_app_says_of_the_same_person_stands_beside_what_the_token_says() -> None:
    said = Identity(TOKEN.subject, (US,), frozenset({"age:at_least_18"}))
    both = Identity(TOKEN.subject, (VN, US), frozenset({"identity:phone", "age:at_least_18"}))
    assert joined(TOKEN, said) == both
    assert joined(TOKEN, Identity(None, (US,), frozenset({"age:at_least_18"}))) == both


def test_what_was_proven_of_another_subject_is_declared_and_its_evidence_gone() -> None:
    both = joined(TOKEN, Identity(SubjectId("an"), (US,), frozenset()))
    assert both is not None
    assert both.subject == SubjectId("an")
    assert both.signals == (Signal(Anchor.CITIZENSHIP, "VN", Trust.DECLARED, "jwt"), US)
    assert both.evidence == frozenset()


def test_whichever_is_silent_leaves_the_other_and_a_bad_token_stays_nobody() -> None:
    assert joined(None, TOKEN) is TOKEN
    assert joined(TOKEN, None) is TOKEN
    assert joined(None, None) is None
    assert joined(NOBODY, Identity(SubjectId("an"), (), frozenset({"age:at_least_18"}))) is NOBODY
    assert joined(NOBODY, None) is NOBODY


def test_beside_a_bad_token_the_app_still_says_where_the_person_belongs_and_nothing_else() -> None:
    both = joined(voided(TOKEN), Identity(SubjectId("an"), (US,), frozenset({"age:at_least_18"})))
    assert both == Identity(None, (*TOKEN.signals, US), frozenset(), void=True)


def test_what_is_left_beside_a_bad_token_is_of_whom_it_was_said_and_of_two_people_it_is_nobodys() -> None:
    said = Identity(TOKEN.subject, (US,), frozenset())
    unnamed, another = replace(said, subject=None), replace(said, subject=SubjectId("an"))
    assert voided(TOKEN).speaks_of == TOKEN.subject == TOKEN.speaks_of
    assert [both.speaks_of for each in (said, unnamed, another) if (both := joined(voided(TOKEN), each))] == [
        TOKEN.subject,
        TOKEN.subject,
        None,
    ]
    both = joined(voided(replace(TOKEN, subject=None)), another)
    assert both is not None
    assert both.speaks_of == SubjectId("an")


# -- headers ---------------------------------------------------------------------------------------------------------


def test_a_gateways_header_carries_the_token_bare() -> None:
    name = b"cf-access-jwt-assertion"
    assert token_in([(b"host", b"x"), (name, b" a.b.c ")], name) == b"a.b.c"
    assert token_in([(b"authorization", b"Bearer x.y.z")], name) is None
    assert token_in([(name, b"  ")], name) is None


def test_authorization_carries_it_after_bearer() -> None:
    assert token_in([(b"authorization", b"Bearer a.b.c")]) == b"a.b.c"
    assert token_in([(b"authorization", b"a.b.c")]) is None


@pytest.mark.parametrize("name", [b"authorization", b"x-goog-iap-jwt-assertion"])
def test_a_token_header_that_is_there_twice_is_an_error(name: bytes) -> None:
    with pytest.raises(TokenError, match="more than one") as caught:
        token_in([(name, b"Bearer a.b.c"), (name, b"Bearer a.b.c")], name)
    assert "a.b.c" not in str(caught.value)


# -- anything --------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["VN", "+84912345678", "452-04", "adult", "eid", "guardian", "c1", "\ud800", "+"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(sorted(OWN_WORDS | {"subject", "phone_verified"})), values),
    st.booleans(),
    st.booleans(),
)
def test_no_claims_raise_and_none_say_more_than_their_source_may(
    claims: dict[str, object], verified: bool, session: bool
) -> None:
    said = identity(claims, OWN_NAMES, verified=verified, source="x")
    if session:
        said = session_identity(claims, OWN_NAMES, verified=verified) or NOBODY
    most = {Anchor.TERRITORY: Trust.NETWORK, Anchor.COLLECTION: Trust.HINT}
    for signal in said.signals:
        assert signal.trust <= (Trust.VERIFIED if verified else Trust.DECLARED)
        assert signal.trust <= most.get(signal.anchor, Trust.VERIFIED)
        assert not signal.source.endswith(".phone") or signal.trust <= (Trust.DECLARED if verified else Trust.HINT)
    assert verified or not said.evidence


@pytest.mark.parametrize("mark", ["\0", "\0residency: who moves people", "\0residency: whoever has no pin is new"])
def test_nobody_is_called_as_a_mark_among_the_pins_is(mark: str) -> None:
    assert subject_id(mark) is None
    assert identity({OWN_NAMES.subject: mark}, OWN_NAMES, verified=True, source="token").subject is None
    assert subject_id(mark.strip("\0") or "a") is not None
