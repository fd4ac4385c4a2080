"""Retentions of a decision's joined duty in; in which countries its detail is kept, and for how long there, out.

1. A detail lies in each country whose law covers the person and that has a place for it, where `only` lets it lie. A
   place may be a spool in another country, sealed: then it is that country that must be let.
2. What a law asks of `log` binds the copy in its own country; what laws without a place of their own ask binds the
   first copy. A ceiling on every category ("*") binds as one on `log`; a floor on every category is about the data of
   the activity and not about the log of it.
3. The log of an act is created by the act: of the events that terms are counted from, `creation` alone has happened.
4. Nothing asked is not for ever: such a detail is kept for `DEFAULT_DAYS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from residency.audit.detail_head import FOREVER
from residency.model import PLAIN, Bound, Calendar, Retention, Term, deadline, retained_until
from residency.model.place import within

__all__ = ["DEFAULT_DAYS", "NONE", "Keeping", "Terms", "kept_unasked", "terms", "words_of"]

DEFAULT_DAYS: Final = 90
"""Days for which a detail is kept that no law speaks of: the shortest time for which any law in the packs wants such
fields (Decree 330/2026 art. 34.1.c), so that a law that is found to apply later finds them; and no longer, for nothing
asks for it."""
NONE: Final = "none"
_LOG: Final = "log"


@dataclass(frozen=True, slots=True)
class Terms:
    """How long one detail is kept: its class in words, its floor and its ceiling (microseconds, UTC; None = none)."""

    keeping: str
    keep_until: int | None
    erase_by: int | None


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a deployment and its laws say of detail.

    `places` are the countries for which it is kept, each with the place where its bytes rest (its own, or that of an
    instance that spools for it; "" = not known). `owners` are the jurisdictions whose laws ask a retention, `calendars`
    the clocks of each jurisdiction.
    """

    places: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[Retention, frozenset[str]] = field(default_factory=dict)
    calendars: Mapping[str, Calendar] = field(default_factory=dict)

    def countries(self, jurisdictions: Iterable[str], only: frozenset[str] | None) -> tuple[tuple[str, ...], bool]:
        """(countries in which the detail of a person under `jurisdictions` is to lie, whether `only` bars them all).

        `only` None = anywhere.
        """
        placed = [country for country in jurisdictions if country in self.places]
        if only is None:
            return tuple(placed), False
        let = [country for country in placed if any(within(self.places[country], place) for place in only)]
        return tuple(let), bool(placed) and not let

    def terms(self, country: str, chosen: tuple[str, ...], retain: Iterable[Retention], now: int) -> Terms:
        """How long the copy in `country` is kept that is made at `now` (microseconds); `chosen` are all copies."""
        asked = []
        for retention in retain:
            owners = self.owners.get(retention, frozenset())
            if country in owners or (country == chosen[0] and owners.isdisjoint(chosen)):
                asked.append(retention)
        return terms(asked, now, self.calendars.get(country, PLAIN))


def terms(retain: Iterable[Retention], now: int, calendar: Calendar = PLAIN) -> Terms:
    """What `retain` comes to for a log entry of `now` (microseconds, UTC)."""
    about = sorted(
        r for r in retain if r.category == _LOG or (r.category == "*" and r.bound is Bound.AT_MOST and not r.lifetime)
    )
    kept = retained_until(about, (_LOG,), {"creation": now}, calendar=calendar)
    words = ",".join(dict.fromkeys(words_of(r) for r in (*kept.floors, *kept.ceilings, *kept.overdue)))
    if kept.until is None and kept.erase_by is None:
        return kept_unasked(NONE, now, calendar)
    return Terms(f"{_LOG}{words}", _end(kept.until), _end(kept.erase_by))


def kept_unasked(keeping: str, now: int, calendar: Calendar = PLAIN) -> Terms:
    """Terms of class `keeping` under which a detail of `now` (microseconds) is kept that no law asks for."""
    return Terms(keeping, None, deadline(now, Term(days=DEFAULT_DAYS), calendar))


def _end(at: int | None) -> int | None:
    return None if at is None else min(at, FOREVER)


def words_of(retention: Retention) -> str:
    """One retention as a class tells it, e.g. `>=12m`."""
    sign = ">=" if retention.bound is Bound.AT_LEAST else "<="
    if retention.lifetime:
        return f"{sign}lifetime"
    parts = [f"{n}{unit}" for n, unit in ((retention.months, "m"), (retention.days, "d")) if n]
    since = "" if retention.start == "creation" else f"@{retention.start}"
    return sign + ("+".join(parts) or "0d") + since
