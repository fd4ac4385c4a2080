"""This machine's own resolver: what it knows, and what it cannot."""

from __future__ import annotations

import pytest

from residency.adapters.resolver_system import SystemResolver
from residency.errors import Unavailable

pytestmark = pytest.mark.anyio


async def test_this_machine_has_a_loopback_address() -> None:
    found = await SystemResolver().resolve("localhost")
    assert set(found) & {"127.0.0.1", "::1"}
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["nobody.invalid", "", "x" * 70 + ".invalid", "a b"])
async def test_a_name_that_nobody_has_is_unavailable_and_not_repeated(name: str) -> None:
    with pytest.raises(Unavailable, match=r"^a name cannot be resolved$"):
        await SystemResolver().resolve(name)
