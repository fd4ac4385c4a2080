"""Heads and rows in; a table out where the terminal has room for it, else each row in lines. Nothing is cut short."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Listing"]

_WIDEST: Final = 10_000
Cell = str | Text


class Listing:
    """Rows under heads. Text is read for rich's markup, as in its own tables: callers escape what others wrote."""

    def __init__(self, *heads: str, title: str | None = None) -> None:
        self._heads = heads
        self._title = title
        self._rows: list[tuple[tuple[Cell, ...], str | None]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, *cells: Cell, style: str | None = None) -> None:
        """Add a row, as many cells as there are heads."""
        self._rows.append((cells, style))

    def show(self, console: Console | None = None) -> None:
        """Print all rows. A deadline, an id or a name that a narrow column cuts would be another one."""
        console = console or Console()
        table = Table(*self._heads, title=self._title)
        for cells, style in self._rows:
            table.add_row(*cells, style=style)
        needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
        if needed <= console.width:
            console.print(table)
            return
        if self._title is not None:
            console.print(self._title, style="italic")
        for cells, style in self._rows:
            console.print(self._line(self._heads[:1], cells[:1]), style=style or "", soft_wrap=True)
            if rest := self._line(self._heads[1:], cells[1:]):
                console.print(Text("    ") + rest, style=style or "", soft_wrap=True)

    @staticmethod
    def _line(heads: tuple[str, ...], cells: tuple[Cell, ...]) -> Text:
        told = [
            Text.assemble(f"{head} ", text)
            for head, cell in zip(heads, cells, strict=True)
            if (text := Text.from_markup(cell) if isinstance(cell, str) else cell)
        ]
        return Text("; ").join(told)
