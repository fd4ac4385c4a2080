"""Claims become signals by their verification, evidence comes from verified claims alone, and nothing raises."""

from __future__ import annotations

import pytest
from starlette.authentication import SimpleUser, UnauthenticatedUser

from residency.model.finding import Anchor, Signal, Trust
from residency.model.subject import SubjectId
from residency.signals.identity import ClaimMap, bearer, identity, user_identity

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
    assert said.evidence == {"identity:national_id", "age:at_least_16", "age:at_least_18", "consent:c1"}


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, True, "", "Vietnam", "VNM", "XX", "V\u0130", {}, [None, 3], {"VN": 1}, "N" * 9999]
)
def test_a_place_claim_of_the_wrong_type_or_an_unknown_code_is_no_signal(value: object) -> None:
    assert identity({"nationality": value, "country": value}, NAMES, verified=True, source="jwt").signals == ()


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
def test_nobody_is_nobody(user: object) -> None:
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
