"""What the demo tells, in; a terminal's live tables, or plain lines without colour, out."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from residency.demo.feed import Row

__all__ = ["Screen"]

_SHOWN = 16  # rows of the live table
_WIDE = 130  # columns of a terminal that has room for the whole table; below, its first two columns are left out
_COLUMNS = (  # name, style, share of the room, or None and a width of its own
    ("log", "dim", None, 11), ("request", "", 4, None), ("who", "", 5, None), ("whose law", "cyan", 4, None),
    ("went to", "bold", None, 11), ("rule, article", "magenta", 8, None),
)  # fmt: skip


class Screen:
    """`live()` around anything that calls `row`; the rest prints at once."""

    def __init__(self) -> None:
        self.tty = sys.stdout.isatty()
        self._console = Console() if self.tty else Console(force_terminal=False, no_color=True, soft_wrap=True)
        self._rows: deque[tuple[str, ...]] = deque(maxlen=_SHOWN)
        self._live: Live | None = None
        self._status = ""
        self.by_sink: dict[str, int] = {}
        self.refused = 0

    def title(self, text: str, below: str = "") -> None:
        """A new part of the demo."""
        if self.tty:
            self._console.rule(f"[bold]{escape(text)}", align="left")
            if below:
                self._console.print(Text(below, style="dim"))
        else:
            self._plain(f"\n== {text}")
            if below:
                self._plain(f"   {below}")

    def say(self, text: str, *, good: bool | None = None) -> None:
        """One line; `good` marks it as something that held (True) or did not (False)."""
        mark = {None: " ", True: "✓", False: "✗"}[good]
        if self.tty:
            style = {None: "", True: "green", False: "bold red"}[good]
            line = Table.grid(padding=(0, 1, 0, 0))
            line.add_row(f" {mark}", Text(text), style=style)
            self._console.print(line)
        else:
            self._plain(f" {mark} {text}")

    def problem(self, status: int, document: dict[str, Any]) -> None:
        """A refusal exactly as the client got it."""
        text = json.dumps(document, ensure_ascii=False, indent=2)
        if self.tty:
            self._console.print(Panel(Text(text), title=f"{status} application/problem+json", border_style="yellow"))
        else:
            self._plain(f"   {status} application/problem+json")
            for line in text.splitlines():
                self._plain(f"   | {line}")

    def status(self, text: str) -> None:
        """A line that changes, on a terminal only."""
        self._status = text
        self._refresh()

    def row(self, row: Row) -> None:
        """A request and what the log says of it."""
        cells = _cells(row)
        if row.answer.claim["outcome"] == "refused":
            self.refused += 1
        else:
            sink = str(row.answer.receipt.get("sink"))
            self.by_sink[sink] = self.by_sink.get(sink, 0) + 1
        self._rows.append(cells)
        if self.tty:
            self._refresh()
        else:
            log, request, who, law, went, rule = cells
            self._plain(f"   {log:<11} {request:<38} {who:<46} {law:<30} {went:<12} {rule}")

    @contextmanager
    def live(self) -> Iterator[None]:
        """On a terminal: one table that moves while this lasts, and stays as it last was."""
        self._rows.clear()
        if not self.tty:
            self._plain(f"   {'log':<11} {'request':<38} {'who':<46} {'whose law':<30} {'went to':<12} rule, article")
            yield
            return
        with Live(self._table(), console=self._console, refresh_per_second=8, transient=False) as self._live:
            try:
                yield
            finally:
                self._status = ""
                self._refresh()
                self._live.refresh()
        self._live = None

    def facts(self, pairs: list[tuple[str, str]]) -> None:
        """Names and values, one a line."""
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            if self.tty:
                self._console.print(Text.assemble((f"   {name:<{width}}  ", "dim"), value), soft_wrap=True)
            else:
                self._plain(f"   {name:<{width}}  {value}")

    def _plain(self, text: str) -> None:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Group:
        table = Table(expand=True, pad_edge=False, show_edge=False, header_style="bold")
        wide = self._console.width >= _WIDE
        for name, style, ratio, width in _COLUMNS if wide else _COLUMNS[2:]:
            table.add_column(name, style=style, ratio=ratio, width=width, no_wrap=True, overflow="ellipsis")
        for cells in self._rows:
            shown = cells if wide else cells[2:]
            table.add_row(*map(escape, shown), style="yellow" if cells[4].startswith("refused") else "")
        counts = "   ".join(f"{sink}: {n}" for sink, n in sorted(self.by_sink.items()))
        return Group(table, Text(f"{counts}   refused: {self.refused}   {self._status}", style="dim"))


def _cells(row: Row) -> tuple[str, ...]:
    """(log, request, who, law, where it went, rule and article) of one row."""
    answer = row.answer
    claim, receipt, person = answer.claim, answer.receipt, answer.person
    log = "-".join(f"#{index}" for index in row.indexes) or "none"
    who = f"{person.name} ({person.where})"
    if claim["outcome"] == "refused":
        laws = sorted({rule["jurisdiction"] for rule in answer.body.get("rules", ())})
        return log, claim["activity"], who, ", ".join(laws), f"refused {answer.status}", _rules(answer.body)
    why = [text.partition("|") for text in receipt["why"]]
    if claim["kind"] == "read":
        rule = "read where the person's data lies"
    elif why:
        articles = dict.fromkeys(article for _, _, article in why)
        rule = f"{'; '.join(articles)} [{', '.join(name for name, _, _ in why)}]"
    else:
        rule = "it follows the person's home" if receipt["laws"] else "no rule moves it"
    return log, claim["activity"], who, ", ".join(receipt["laws"]) or "none of these", receipt["sink"], rule


def _rules(problem: dict[str, Any]) -> str:
    rules = problem.get("rules", ())
    return "; ".join(f"{rule['instrument']} {rule['article']} {rule['id']}" for rule in rules) or problem["reason"]
