"""What is read off a request before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from starlette.authentication import SimpleUser

from residency.enforcement.request import Identifying, Request, asker, statutory_detail
from residency.errors import KeysUnavailable, TokenError
from residency.model import SubjectId
from residency.model.finding import Anchor, Signal, Trust
from residency.signals.identity import NOBODY, ClaimMap, Identity
from residency.signals.peer import ClientAddress

GATEWAY = b"cf-access-jwt-assertion"


class Tokens:
    """Takes the token `good` and no other; has no keys at all where told so."""

    def __init__(self, *, keys: bool = True) -> None:
        self.keys = keys

    def verify(self, token: bytes) -> Mapping[str, object]:
        """The claims of `good`."""
        if not self.keys:
            raise KeysUnavailable("too old")
        if token != b"good":
            raise TokenError("no")
        return {"sub": "from-token", "nationality": "VN"}


def asked(
    *headers: tuple[bytes, bytes],
    user: str | None = None,
    session: object = None,
    header: bytes = b"authorization",
    keys: bool = True,
) -> str | None:
    """Who asks, by the subject's id; "nobody" where a token does not hold."""
    how = Identifying(
        Tokens(keys=keys), ClaimMap(), "declared", header, ClaimMap(subject="user_id"), session_trust="declared"
    )
    found = asker(
        Request("GET", "/", b"/", headers, None, SimpleUser(user) if user is not None else None, session), how
    )
    if found is NOBODY:
        return "nobody"
    return None if found is None or found.subject is None else found.subject.value


@pytest.mark.parametrize(
    ("peer", "port"),
    [
        (("113.160.0.1", 50_123), 50_123),
        (("10.0.0.9", 50_123), None),  # the port of a proxy of ours is not the person's
        (("113.160.0.1", 0), None),  # a server that took the address from a header knows no port, and writes 0
        (None, None),
    ],
)
def test_the_source_port_is_the_persons_own_or_unknown(peer: tuple[str, int] | None, port: int | None) -> None:
    detail = statutory_detail(SubjectId("an"), ClientAddress("113.160.0.1", "peer"), peer, 7)
    assert detail == {
        "account": "an", "address": "113.160.0.1", "strategy": "peer", "port": port, "at": 7,
    }  # fmt: skip


def test_the_token_speaks_before_the_user_and_the_user_before_the_session() -> None:
    token, session = (b"authorization", b"Bearer good"), {"user_id": "from-session"}
    assert asked(token, user="from-user", session=session) == "from-token"
    assert asked(user="from-user", session=session) == "from-user"
    assert asked(session=session) == "from-session"
    assert asked() is None


def test_a_token_that_does_not_verify_lets_nothing_else_speak_in_its_place() -> None:
    assert asked((b"authorization", b"Bearer bad"), user="from-user", session={"user_id": "x"}) == "nobody"


def test_a_forged_token_takes_nothing_from_the_law_that_others_speak_for() -> None:
    how = Identifying(Tokens(), ClaimMap(), session=ClaimMap(subject="user_id", age="age"), session_trust="verified")
    session = {"user_id": "an", "nationality": "VN", "age": 30}
    vn = (Signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED, "session"),)
    for headers in (((b"authorization", b"Bearer bad"),), ((b"authorization", b"Bearer good"),) * 2):
        found = asker(Request("GET", "/", b"/", headers, None, None, session), how)
        assert found == Identity(None, vn, frozenset(), void=True, of=SubjectId("an"))


def test_two_token_headers_are_nobody_whatever_they_carry() -> None:
    token = (b"authorization", b"Bearer good")
    assert asked(token, token, user="from-user") == "nobody"
    assert asked((GATEWAY, b"good"), (GATEWAY, b"good"), header=GATEWAY, user="from-user") == "nobody"


def test_a_gateways_header_is_read_where_named_and_authorization_is_then_not() -> None:
    assert asked((GATEWAY, b"good"), header=GATEWAY) == "from-token"
    assert asked((b"authorization", b"Bearer good"), header=GATEWAY) is None
    assert asked((GATEWAY, b"good")) is None


def test_a_token_that_cannot_be_judged_does_not_pass_for_none() -> None:
    with pytest.raises(KeysUnavailable):
        asked((b"authorization", b"Bearer good"), keys=False)
    assert asked(user="from-user", keys=False) == "from-user"


class Remembering:
    """Answers each token's claims with the same mapping, until told to forget."""

    def __init__(self) -> None:
        self.claims: dict[bytes, Mapping[str, object]] = {}

    def verify(self, token: bytes) -> Mapping[str, object]:
        """Claims of whoever the token names."""
        return self.claims.setdefault(token, {"sub": token.decode()})


def test_claims_are_read_once_and_never_taken_for_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residency.enforcement.request._BOUND", 8)
    verifier = Remembering()
    how = Identifying(verifier, ClaimMap())

    def who(name: str) -> Identity:
        headers = ((b"authorization", f"Bearer {name}".encode()),)
        found = asker(Request("GET", "/", b"/", headers, None), how)
        assert found is not None
        return found

    assert who("an") is who("an")
    for number in range(100):
        assert who(f"u{number}").subject == SubjectId(f"u{number}")
        verifier.claims.clear()  # so that another mapping may come to lie where an old one lay
        assert len(how.read) <= 8


def test_a_session_is_looked_at_only_where_the_deployment_says_so() -> None:
    request = Request("GET", "/", b"/", (), None, None, {"sub": "s", "user_id": "s", "nationality": "VN"})
    assert asker(request, Identifying(None, ClaimMap())) is None
    named = Identifying(None, ClaimMap(), session=ClaimMap(subject="user_id"), session_trust="verified")
    found = asker(request, named)
    assert found is not None
    assert found.signals == (Signal(Anchor.CITIZENSHIP, "VN", Trust.VERIFIED, "session"),)
