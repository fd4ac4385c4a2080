"""Whether a benchmark's bars hold in; how it is told and how its process ends, out: that a bar was missed is no failure
to run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table

__all__ = ["MISSED", "Bar", "end", "table_of"]

MISSED: Final = 3
"""The exit code of a benchmark that ran to its end and missed a bar of its own. A failure is Python's own 1."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What was found, beside what it should be, and beside what the least program that does the same comes to."""

    what: str
    found: float
    bar: float
    floor: float | None = None
    """None = nobody measured one."""
    least: bool = False
    """`bar` is the least that will do; else the most."""
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bar is held."""
        return self._meets(self.found)

    @property
    def beyond(self) -> bool:
        """Whether the floor misses the bar itself: then nothing written in Python holds it here."""
        return self.floor is not None and not self._meets(self.floor)

    @property
    def word(self) -> str:
        """How it went, for a table."""
        if self.holds:
            return "holds"
        return "MISSED, beyond the floor" if self.beyond else "MISSED"

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "holds": self.holds, "beyond": self.beyond}

    def _meets(self, value: float) -> bool:
        return value >= self.bar if self.least else value <= self.bar


def table_of(bars: Iterable[Bar]) -> Table:
    """Bars as a table."""
    table = Table(title="Bars: found, the floor of this machine (benchmarks/floors.py), and what it should be")
    for head in ("", "found", "floor", "bar", " "):
        table.add_column(head, justify="left" if not head.strip() else "right", no_wrap=bool(head))
    for bar in bars:
        floor = "" if bar.floor is None else f"{bar.floor:.3g}{bar.unit}"
        wanted = f"{'>=' if bar.least else '<='} {bar.bar:g}{bar.unit}"
        table.add_row(bar.what, f"{bar.found:.3g}{bar.unit}", floor, wanted, bar.word)
    return table


def end(holds: bool) -> None:
    """Raises: SystemExit where a bar was missed."""
    if not holds:
        raise SystemExit(MISSED)
