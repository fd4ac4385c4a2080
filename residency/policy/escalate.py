"""Escalations of laws, counts and what was up in; whom an act counts for, and what is up, out.

A law may say that data of a class counts as a higher one from so many subjects on. Subjects are counted once each, in a
counter that stands for a jurisdiction and a class of data (of a calendar year, where the law counts by years), whatever
the escalation is called: a law that renames it or moves its threshold finds its count as it was. Between the number at
which an escalation comes up and the lower one at which it falls, it stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from residency.model import Activity
from residency.model.data import expand
from residency.policy.detect import detected
from residency.policy.parsed import Detector, Escalation, LawDoc

__all__ = ["Escalations"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOUND: Final = 4096


@dataclass(frozen=True, slots=True)
class _Counted:
    """An escalation, and what its law says of whom it counts and when a year begins."""

    escalation: Escalation
    jurisdiction: str
    offset: int
    detectors: tuple[Detector, ...]

    def counter(self, now: int) -> str:
        """The counter that its subjects are counted in at `now` (microseconds)."""
        base = f"{self.jurisdiction}:{'+'.join(sorted(self.escalation.data))}"
        return base if self.escalation.per == "ever" else f"{base}:{self._there(now).year}"

    def changes(self, now: int) -> int | None:
        """The instant (microseconds) from which another counter takes its place; None = never."""
        if self.escalation.per == "ever":
            return None
        new_year = datetime(self._there(now).year + 1, 1, 1, tzinfo=UTC) - timedelta(minutes=self.offset)
        return (new_year - _EPOCH) // timedelta(microseconds=1)

    def concerns(self, activity: Activity) -> bool:
        """Whether data of the activity is of the class that is counted, as its own law's detectors see it too."""
        found = (d.data for d in self.detectors if detected(d.fields, d.media, activity.fields, activity.media))
        return not expand((*activity.data, *found)).isdisjoint(self.escalation.data)

    def _there(self, now: int) -> datetime:
        return _EPOCH + timedelta(microseconds=now, minutes=self.offset)


class Escalations:
    """The escalations of the laws of one policy."""

    __slots__ = ("_all", "_known", "_until", "ids")

    def __init__(self, laws: Iterable[LawDoc]) -> None:
        self._all = tuple(
            _Counted(escalation, law.jurisdiction, law.calendar.offset, law.detectors)
            for law in laws
            for escalation in law.escalations
        )
        self.ids: Final = frozenset(each.escalation.id for each in self._all)
        # Counters by activity and jurisdictions: the same few all the time, until the next year begins somewhere.
        self._known: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._until = 0

    def concern(self, activity: Activity) -> bool:
        """Whether what may be done with the activity's data depends on a count."""
        return any(each.concerns(activity) for each in self._all)

    def counters(self, activity: Activity, jurisdictions: tuple[str, ...], now: int) -> tuple[str, ...]:
        """Where to count the subject of a write by `activity` whom the laws of `jurisdictions` cover."""
        if not self._all:
            return ()
        if now >= self._until:
            self._known = {}
            self._until = min((at for each in self._all if (at := each.changes(now)) is not None), default=1 << 62)
        key = activity.name, jurisdictions
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _BOUND:
                self._known = {}
            found = self._known[key] = tuple(
                dict.fromkeys(
                    each.counter(now)
                    for each in self._all
                    if each.jurisdiction in jurisdictions and each.concerns(activity)
                )
            )
        return found

    def by_id(self, now: int) -> dict[str, tuple[Escalation, str]]:
        """Each escalation with its counter of now, by id."""
        return {each.escalation.id: (each.escalation, each.counter(now)) for each in self._all}

    def up(self, counts: Mapping[str, int], was: frozenset[str], now: int) -> frozenset[str]:
        """The ids that are up, of these laws and of none of them alike, by the subjects of each counter.

        A counter that `counts` does not tell leaves its escalations what they were.
        """
        found = set(was)
        for escalation, counter in self.by_id(now).values():
            count = counts.get(counter)
            if count is None:
                continue
            if count >= escalation.subjects:
                found.add(escalation.id)
            elif count < escalation.falls_below:
                found.discard(escalation.id)
        return frozenset(found)
