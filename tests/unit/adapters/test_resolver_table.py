"""A table of names answers one after the other, and remembers who asked."""

from __future__ import annotations

import pytest

from residency.adapters.resolver_table import TableResolver
from residency.errors import Unavailable

pytestmark = pytest.mark.anyio


async def test_answers_come_one_after_the_other_and_the_last_one_stands() -> None:
    table = TableResolver({"a": [("1.1.1.1",), ("2.2.2.2", "3.3.3.3")]})
    assert [await table.resolve("a") for _ in range(3)] == [
        ("1.1.1.1",),
        ("2.2.2.2", "3.3.3.3"),
        ("2.2.2.2", "3.3.3.3"),
    ]
    assert table.asked == ["a", "a", "a"]


async def test_a_name_without_an_address_is_unavailable() -> None:
    table = TableResolver({"a": [()], "b": []})
    for name in ("a", "b", "c"):
        with pytest.raises(Unavailable):
            await table.resolve(name)
