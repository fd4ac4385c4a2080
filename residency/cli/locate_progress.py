"""How far a long `residency locate` is: stages, lines and bytes in, one line out, on stderr where it is a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["Telling"]


class Telling:
    """Shown only on a terminal, and gone at the end. `shared`: the answers go to the same terminal meanwhile, so stages
    are told once and nothing is drawn."""

    def __init__(self, *, shared: bool = False, size: int | None = None) -> None:
        console = Console(stderr=True)
        terminal = sys.stderr.isatty() and console.is_terminal
        self._aloud = terminal and shared
        self._size = size
        self._lines = self._bytes = 0
        self._since = 0.0
        bar = (BarColumn(),) if size is not None else ()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), *bar, TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not terminal or shared)
        self._task = self._progress.add_task("", total=size)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, text: str) -> None:
        """What is done now, and takes a while."""
        if self._aloud:
            typer.echo(f"{text} …", err=True)
        self._progress.update(self._task, description=text)

    def begin(self) -> None:
        """The stage is over; lines follow, and their rate counts from here."""
        self._since = self._progress.tasks[0].elapsed or 0.0

    def located(self, lines: int, size: int) -> None:
        """So many more lines are answered, which were `size` bytes."""
        if self._progress.disable:
            return
        self._lines += lines
        self._bytes += size
        taken = (self._progress.tasks[0].elapsed or 0.0) - self._since
        rate = f", {self._lines / taken:,.0f}/s" if taken > 0 else ""
        of = "" if self._size is None else f" of {_megabytes(self._size)}"
        text = f"{self._lines:,} lines, {_megabytes(self._bytes)}{of}{rate}"
        self._progress.update(self._task, description=text, completed=self._bytes)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
