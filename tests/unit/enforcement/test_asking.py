"""The app's own word of who asks is taken whole or refused; a failure never turns a person into nobody."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.enforcement.asking import ask, load_callable
from residency.errors import Unavailable, UsageError
from residency.model import SubjectId
from residency.model.finding import Anchor, Signal, Trust

pytestmark = pytest.mark.anyio
SCOPE: dict[str, Any] = {"type": "http", "headers": []}


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough here; trio's is in the integration tests."""
    return "asyncio"


async def answer(said: object) -> Any:
    """What `ask` makes of a callable that answers `said`."""

    async def who(scope: Mapping[str, Any]) -> Any:
        assert scope is SCOPE
        return said

    return await ask(who, SCOPE)


async def test_an_answer_is_declared_unless_it_says_verified() -> None:
    said = {"subject": "an", "citizenship": "VN", "age": 17, "phone": "+84912345678", "guardian": True}
    declared = await answer(said)
    assert declared.subject == SubjectId("an")
    assert declared.evidence == frozenset()
    assert declared.signals == (
        Signal(Anchor.CITIZENSHIP, "VN", Trust.DECLARED, "callable"),
        Signal(Anchor.RESIDENCE, "VN", Trust.HINT, "callable.phone"),
    )
    verified = await answer({**said, "verified": True})
    assert [signal.trust for signal in verified.signals] == [Trust.VERIFIED, Trust.DECLARED]
    assert verified.evidence == {"age:at_least_7", "age:at_least_16", "consent:guardian"}


async def test_none_is_nobody_and_a_number_is_an_id() -> None:
    assert await answer(None) is None
    assert (await answer({"subject": 0})).subject == SubjectId("0")
    assert (await answer({"citizenship": "VN"})).subject is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("an", "answered str"),
        ([], "answered list"),
        (False, "answered bool"),
        ({"citizenshp": "VN"}, "unknown name"),
        ({1: "VN"}, "unknown name"),
        ({"verified": "yes"}, "neither True nor False"),
        ({"verified": 1}, "neither True nor False"),
        ({"verified": None}, "neither True nor False"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 513}, "subject"),
        ({"subject": True}, "subject"),
        ({"subject": b"an"}, "subject"),
        ({"subject": "\ud800"}, "subject"),
    ],
)
async def test_what_has_no_meaning_is_refused(said: object, why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        await answer(said)


async def test_a_failure_is_told_by_kind_and_line_and_never_by_its_text() -> None:
    async def who(scope: Mapping[str, Any]) -> Mapping[str, object] | None:
        raise LookupError("an@example.vn is not in the database")

    with pytest.raises(Unavailable, match=r"failed with LookupError at test_asking\.py:\d+") as caught:
        await ask(who, SCOPE)
    assert "example" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_timeout_of_the_callables_own_is_a_failure_like_any_other() -> None:
    async def who(scope: Mapping[str, Any]) -> Mapping[str, object] | None:
        raise TimeoutError

    with pytest.raises(Unavailable, match="TimeoutError"):
        await ask(who, SCOPE)


async def test_one_that_does_not_answer_is_not_waited_for() -> None:
    async def who(scope: Mapping[str, Any]) -> Mapping[str, object] | None:
        await anyio.sleep_forever()
        return None

    with pytest.raises(Unavailable, match=r"within 0\.01 s"):
        await ask(who, SCOPE, deadline=0.01)


async def test_a_request_that_is_cancelled_is_cancelled() -> None:
    async def who(scope: Mapping[str, Any]) -> Mapping[str, object] | None:
        await anyio.sleep_forever()
        return None

    with anyio.move_on_after(0.01) as limit:
        await ask(who, SCOPE)
    assert limit.cancelled_caught


@given(
    st.dictionaries(st.sampled_from(["subject", "citizenship", "age", "verified", "sim"]), st.text() | st.integers())
)
def test_no_answer_raises_anything_else_or_shows_itself(said: dict[str, Any]) -> None:
    told = ""
    try:
        anyio.run(answer, said)
    except Unavailable as error:
        told = str(error)
    subject = said.get("subject")
    assert not isinstance(subject, str) or len(subject) < 10 or subject not in told


class Knows:
    """An object that can be called as an async function can."""

    async def __call__(self, scope: Mapping[str, Any]) -> None:
        """Nobody."""


@pytest.fixture
def module() -> Iterator[str]:
    """The name of a module with callables of every kind."""

    async def who(scope: Mapping[str, Any]) -> None: ...

    made: Any = types.ModuleType("an_apps_identity")
    made.who, made.partly, made.knows, made.kind = who, functools.partial(who), Knows(), Knows
    made.sync, made.value, made.inner = (lambda scope: None), 7, types.SimpleNamespace(who=who)
    sys.modules[made.__name__] = made
    yield made.__name__
    del sys.modules[made.__name__]


@pytest.mark.parametrize("name", ["who", "partly", "knows", "inner.who"])
async def test_an_async_callable_is_found_by_its_name(module: str, name: str) -> None:
    assert await ask(load_callable(f"{module}:{name}"), SCOPE) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sync", "not an `async def`"),
        ("value", "not an `async def`"),
        ("kind", "not an `async def`"),
        ("inner", "not an `async def`"),
        ("absent", "no such name"),
        ("inner.absent", "no such name"),
    ],
)
def test_what_is_no_async_callable_is_refused_at_start_by_its_name(module: str, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        load_callable(f"{module}:{name}")
    assert f"{module}:{name}" in str(caught.value)


def test_a_module_that_is_missing_or_fails_is_told() -> None:
    with pytest.raises(UsageError, match=r"no_such_module_of_ours:who.*there is no module"):
        load_callable("no_such_module_of_ours:who")


class Lazy(dict[str, object]):
    """A row that is read from a database which is not there any more."""

    def get(self, key: str, default: object = None) -> object:
        """Raises: LookupError, with what nobody may see in it."""
        raise LookupError("0912345678")


async def test_an_answer_that_fails_when_it_is_read_is_refused_without_its_text() -> None:
    with pytest.raises(Unavailable, match=r"LookupError at test_asking\.py") as caught:
        await answer(Lazy(subject="an"))
    assert "0912345678" not in str(caught.value)
