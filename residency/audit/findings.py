"""What was seen of a log in; what somebody should look at, though the log holds, out.

A finding is no proof of anything: clocks are set, nights are quiet, processes die. What contradicts itself is no
finding; it raises.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from residency.audit.continuity import TOLERANCE, Continuity, Oddity

if TYPE_CHECKING:
    from residency.audit.redecide import Redecide

__all__ = ["Finding", "findings_of", "span"]

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` is a word for programs, `message` a sentence. `index` is the first entry concerned, None where there is
    no such."""

    what: str
    message: str
    count: int = 1
    index: int | None = None

    def data(self) -> dict[str, Any]:
        """Its fields by name, for JSON."""
        return asdict(self)


def findings_of(continuity: Continuity, redecide: Redecide | None, now: int, max_gap: int) -> tuple[Finding, ...]:
    """Everything odd of a log that was read to its end. `redecide` is None where no decision was made again; `now` and
    `max_gap` are microseconds."""
    found = [
        _odd("clock_step", continuity.steps_back, "a slot's clock went backwards", "by {}"),
        _odd("time_gap", continuity.gaps, f"nothing was recorded for more than {span(max_gap)}", "for {}"),
        _odd("future", continuity.ahead, "an entry's time has not come yet", "by {}"),
        _odd("before_first", continuity.before_first, "an entry's time lies before the log's first", "by {}"),
    ]
    old = [(index, entry) for index, entry in continuity.open if now - entry.at > TOLERANCE]
    if old:
        index, entry = min(old, key=lambda pair: pair[1].at)
        told = f"an act began and has no outcome: {_times(len(old))}, the oldest {span(now - entry.at)} ago"
        found.append(Finding("open_intents", f"{told}, entry {index} ({entry.id})", len(old), index))
    if redecide is None:
        found.append(Finding("not_replayed", "no decision was made again: there is no archive of policies", 0))
    else:
        found += [
            Finding("not_replayed", f"{_times(count)} a decision was not made again: {gap}", count)
            for gap, count in sorted(redecide.gaps.items())
        ]
        found += [
            _odd("decided_apart", redecide.apart, "a decision was not made when it was recorded", "by {}"),
            _odd("undecided", redecide.undecided, "an act or a permit has no decision behind it", ""),
            _odd("unregistered", redecide.unregistered, "facts that are not those of the policy's registers", ""),
        ]
    return tuple(finding for finding in found if finding is not None)


def _odd(what: str, odd: Oddity, message: str, by: str) -> Finding | None:
    if odd.largest is None:
        return None
    first, largest = odd.first[0], odd.largest
    told = f"{message}: {_times(odd.count)}, first at entry {first.index} ({first.id})"
    if by:
        told += f" {by.format(span(first.by))}"
    if largest != first:
        told += f", most at entry {largest.index} ({largest.id}) {by.format(span(largest.by))}"
    return Finding(what, told, odd.count, first.index)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def span(microseconds: int) -> str:
    """A length of time (microseconds) as people write it."""
    seconds = microseconds / _SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    if seconds >= 1:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + " s"
