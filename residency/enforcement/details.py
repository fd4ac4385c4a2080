"""What is to be kept of a person beside an entry in; the copies of it, each in its country and for its time, out.

The detail lies in every country whose law covers the person and that the deployment has a place for, as far as `only`
lets it (`residency.audit.detail_terms`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head
from residency.audit.detail_terms import Keeping, Terms, kept_unasked
from residency.enforcement.ports import Entropy
from residency.enforcement.slot import DetailStore, Slot
from residency.jurisdiction.pinned import format_pin
from residency.model import Decision, Pin, Reason

__all__ = ["PIN", "Details"]

PIN: Final = "pin"
"""The class of a detail that tells a subject's pin."""
_BOUND: Final = 4096  # terms kept at most; cleared when full
_QUARTER: Final = 900_000_000  # microseconds; on every clock of the world a day begins at a quarter of an hour

Kept = tuple[tuple[str, Terms], ...]
"""Countries, each with how long the copy there is kept."""


class Details:
    """Keeps details for one worker slot. `origin` is the name of the log whose entries commit to them."""

    __slots__ = ("_entropy", "_keeping", "_known", "_origin", "_slot", "_store")

    def __init__(self, store: DetailStore, keeping: Keeping, origin: str, entropy: Entropy, slot: Slot) -> None:
        self._store = store
        self._keeping = keeping
        self._origin = origin
        self._entropy = entropy
        self._slot = slot
        self._known: dict[tuple[int, str | None], tuple[int, Decision, Kept]] = {}

    def under(self, keeping: Keeping | None) -> Details:
        """For decisions of another policy, into the same places; `keeping` None = as before."""
        return Details(self._store, keeping or self._keeping, self._origin, self._entropy, self._slot)

    def ready(self) -> None:
        """Raise JournalFull or JournalFailed now if a detail might not find room in its country."""
        for country in self._keeping.places:
            self._store.ready(country)

    def barred(self, decision: Decision) -> Reason | None:
        """Why nothing may be done under `decision`: what must be kept of the person may lie in no place that there is.

        None where it may, where nothing is kept of them, and where the deployment only observes.
        """
        only = decision.duty.only
        if only is None or decision.mode == "observe":
            return None
        return Reason.DETAIL_ABROAD if self._keeping.countries(decision.jurisdictions, only)[1] else None

    def places(self, decision: Decision, sink: str | None, now: int) -> Kept:
        """Where the detail of an entry about `decision` (on `sink`) of `now` (microseconds) is kept, and how long."""
        key, quarter = (id(decision), sink), now // _QUARTER
        known = self._known.get(key)
        if known is not None and known[0] == quarter:
            return known[2]
        countries = self._keeping.countries(decision.jurisdictions, decision.duty.only)[0]
        verdict = decision.sink(sink) if sink is not None else None
        retain = decision.duty.retain if verdict is None else decision.duty.retain | verdict.duty.retain
        kept = tuple((each, self._keeping.terms(each, countries, retain, now)) for each in countries)
        if len(self._known) >= _BOUND:
            self._known.clear()
        # With the decision, whose identity is then nobody else's.
        self._known[key] = quarter, decision, kept
        return kept

    def keep(
        self, kept: Kept, entry: str, now: int, alias: str | None, fields: Mapping[str, str | int | None]
    ) -> str | None:
        """Record a detail in each country of `kept`, and answer what commits to it; None where there is none. The
        slot's lock is held. Raises: JournalFull, JournalFailed, KeysUnavailable."""
        if not kept:
            return None
        private = format_detail(fields, self._entropy.token(16))
        commitment = commit(private)
        for country, terms in kept:
            head = Head(self._origin, entry, commitment, alias, now, terms.keeping, terms.keep_until, terms.erase_by)
            # A crash after this line leaves a detail that no entry mentions; it goes when its time is up.
            self._slot.detailed(country, self._store.append(country, head, private))
        return commitment

    def only_home(self, pin: Pin) -> frozenset[str] | None:
        """Where a pin may be kept that no decision is behind: at its home, as no law asks for less than that; where its
        home has no place anywhere, for an older pin would come back from there instead."""
        return frozenset({pin.home}) if pin.home in self._keeping.places else None

    def keep_pin(
        self, pin: Pin, entry: str, now: int, covering: tuple[str, ...], only: frozenset[str] | None
    ) -> str | None:
        """As `keep`, of a pin: in one country, and for as long as what no law asks for."""
        # Where nothing covers the subject any country will do: a pin is a digest and codes.
        let = self._keeping.countries((*covering, pin.home, *sorted(self._keeping.places)), only)[0]
        kept = tuple((country, kept_unasked(PIN, now)) for country in let[:1])
        return self.keep(kept, entry, now, pin.alias, {"pin": format_pin(pin)})
