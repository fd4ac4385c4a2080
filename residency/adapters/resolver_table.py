"""A table of names in, their addresses out: a resolver without a network, whose answers may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from residency.errors import Unavailable

__all__ = ["TableResolver"]


class TableResolver:
    """The `Resolver` port over a table. `asked` holds every name that was asked for, in order."""

    __slots__ = ("_table", "asked")

    def __init__(self, table: Mapping[str, Sequence[tuple[str, ...]]]) -> None:
        """`table` = for each name its answers one after the other; the last one stands."""
        self._table = {name: list(answers) for name, answers in table.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> tuple[str, ...]:
        """The next answer for `host`. Raises: Unavailable where the table has none, or an empty one."""
        self.asked.append(host)
        answers = self._table.get(host, [])
        found = answers.pop(0) if len(answers) > 1 else answers[0] if answers else ()
        if not found:
            raise Unavailable("a name cannot be resolved")
        return found
