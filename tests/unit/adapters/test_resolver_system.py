"""This machine's own resolver: what it knows, and what it cannot."""

from __future__ import annotations

import socket
import threading
from typing import Any

import anyio
import pytest

from residency.adapters.resolver_system import SystemResolver
from residency.errors import Unavailable

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("abandons", [False, True])
async def test_this_machine_has_a_loopback_address(abandons: bool) -> None:
    found = await SystemResolver(abandons=abandons).resolve("localhost")
    assert set(found) & {"127.0.0.1", "::1"}
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["nobody.invalid", "", "x" * 70 + ".invalid", "a b"])
@pytest.mark.parametrize("abandons", [False, True])
async def test_a_name_that_nobody_has_is_unavailable_and_not_repeated(name: str, abandons: bool) -> None:
    with pytest.raises(Unavailable, match=r"^a name cannot be resolved$"):
        await SystemResolver(abandons=abandons).resolve(name)


def test_who_gives_up_on_a_name_that_hangs_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*arguments: Any, **named: Any) -> None:
        released.wait(60)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def ask() -> None:
        with anyio.move_on_after(0.1):
            await SystemResolver(abandons=True).resolve("db.example")

    anyio.run(ask)  # the loop has ended, and the name hangs
    assert not released.is_set()
    assert any(each.name.startswith("AnyIO worker") for each in threading.enumerate()), "it hangs in a thread"
    released.set()
