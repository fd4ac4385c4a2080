"""Subjects with records in a sink, what is known of them and the policy in; who lies in the wrong place, since when,
and what of theirs, out.

Home is where every activity that writes to the stores with `records` may put the subject's data. Where a pin remembers
a place that may stay, it stays; else the first place that all of them permit. A subject for whom there is none is
left where it is and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from residency.enforcement.admission import CHANGES
from residency.jurisdiction.resolve import resolve
from residency.model import Activity, Decision, Effect, FactSet, Finding, Pin, Reason, Signal, Sink
from residency.policy.compiler import Policy
from residency.policy.parsed_storage import RecordDoc
from residency.storage.records import Records

__all__ = ["Dated", "Exposure", "Homing", "Lying", "Place", "survey"]

_PAGE: Final = 20_000
_BOUND: Final = 65_536
# What stands against a sink for where it lies, and not for what the person or the operator still owes.
_PLACING: Final = frozenset({Reason.ONLY_IN_COUNTRY, Reason.NOT_HOME, Reason.STOP_ORDER, Reason.LAW_FORBIDS})


@runtime_checkable
class Dated(Protocol):
    """Records that know how old they are."""

    async def earliest(self) -> int | None:
        """The first instant (microseconds) at which one came to be. Raises: SinkUnavailable."""


@dataclass(frozen=True, slots=True)
class Place:
    """One sink of a store, its records, and how the deployment tells them."""

    store: str
    sink: Sink
    records: Records
    docs: tuple[RecordDoc, ...]


@dataclass(frozen=True, slots=True)
class Lying:
    """A subject (id, keyed digest) with records in a sink, and `home`, where they should lie: None = nowhere."""

    id: str
    digest: str
    pin: Pin | None
    home: str | None
    finding: Finding


@dataclass(slots=True)
class Exposure:
    """What lies wrong in one sink. `records` are estimated by category: those of the sink, by its share of subjects.
    `laws` counts subjects by the rule that stands against the sink; `since` is in microseconds."""

    store: str
    sink: str
    subjects: int = 0
    wrong: int = 0
    nowhere: int = 0
    records: Counter[str] = field(default_factory=Counter)
    laws: Counter[str] = field(default_factory=Counter)
    to: Counter[str] = field(default_factory=Counter)
    since: int | None = None


class Homing:
    """Tells where subjects' data should lie, by the policy and the facts of now."""

    __slots__ = ("_activities", "_decisions", "_facts", "_findings", "_now", "_policy", "_stores")

    def __init__(self, policy: Policy, stores: Sequence[str], facts: FactSet, now: int) -> None:
        """`stores` are those whose records move together; `now` in microseconds."""
        self._policy = policy
        self._facts = facts
        self._now = now
        self._stores = {store: frozenset(policy.deployment.stores[store]) for store in stores}
        named = [each for each in policy.deployment.activities if self._stores.keys() & set(each.stores)]
        writing = [each for each in named if each.operation in CHANGES]
        # The one that puts most there first: what it is told is what is told of the sink.
        self._activities = sorted(writing or named, key=lambda each: (-len(each.data), each.name))
        self._findings: dict[tuple[object, object], Finding] = {}
        self._decisions: dict[int, tuple[Finding, tuple[Decision, ...]]] = {}

    def finding(self, signals: tuple[Signal, ...], pin: Pin | None) -> Finding:
        """Whose law covers a subject of whom these signals and this pin tell; else presumption does."""
        key = (signals, None if pin is None else pin.anchors)
        found = self._findings.get(key)
        if found is None:
            if len(self._findings) >= _BOUND:
                self._findings.clear()
            told = self._policy.deployment
            found = resolve(signals, pin, told.presume, conflicts_presumed=told.conflicts_presumed)
            self._findings[key] = found
        return found

    def home(self, finding: Finding, pin: Pin | None) -> str | None:
        """The place where all that is covered by `finding` should lie; None = no place will do."""
        decisions = self.decisions(finding)
        # A sink that a request may use once something is proven is no wrong place for what is there.
        places = [
            (decision, {v.sink.name: v for v in decision.sinks}, any(v.effect is Effect.PERMIT for v in decision.sinks))
            for decision in decisions
        ]

        def fits(place: str) -> bool:
            for decision, verdicts, strictly in places:
                for store in decision.activity.stores if decision.activity is not None else ():
                    names = self._stores.get(store)
                    if names is None:
                        continue
                    at = [verdicts[name] for name in names if name in verdicts and verdicts[name].sink.place == place]
                    if len(names) == 1:
                        continue  # all of the store's data lies there, whoever's it is
                    if not any(v.effect is Effect.PERMIT or (not strictly and v.reason not in _PLACING) for v in at):
                        return False
            return True

        if pin is not None and fits(pin.home):
            return pin.home
        order = [verdict.sink.place for decision in decisions for verdict in decision.sinks]
        return next((place for place in dict.fromkeys(order) if fits(place)), None)

    def decisions(self, finding: Finding) -> tuple[Decision, ...]:
        """What each writing activity may do with the data of such a subject, the widest first."""
        known = self._decisions.get(id(finding))
        if known is None:
            if len(self._decisions) >= _BOUND:
                self._decisions.clear()
            made = tuple(self._decide(activity, finding) for activity in self._activities)
            # With the finding, whose identity is then nobody else's.
            known = self._decisions[id(finding)] = (finding, made)
        return known[1]

    def alone(self, store: str) -> bool:
        """Whether all of the store lies in one sink, whoever's it is: a mailing service, say. None is brought home."""
        return len(self._stores[store]) == 1

    def bars(self, finding: Finding, sink: str) -> bool:
        """Whether the sink may not have such a subject's data for where it lies."""
        verdicts = (decision.sink(sink) for decision in self.decisions(finding))
        return any(each is not None and each.reason in _PLACING for each in verdicts)

    def against(self, finding: Finding, sink: str) -> tuple[str, ...]:
        """The rules that stand against a sink, as instrument and article."""
        for decision in self.decisions(finding):
            verdict = decision.sink(sink)
            if verdict is not None and verdict.effect is not Effect.PERMIT:
                return tuple(dict.fromkeys(rule.citation for rule in verdict.rules))
        return ()

    def _decide(self, activity: Activity, finding: Finding) -> Decision:
        return self._policy.decide(activity, finding, frozenset(), self._facts, self._now)


async def survey(
    place: Place,
    homing: Homing,
    pin_of: Callable[[str], Awaitable[Pin | None]],
    digest: Callable[[str], str],
    known: Mapping[str, tuple[Signal, ...]],
    but: Collection[str] = frozenset(),
) -> AsyncIterator[tuple[Exposure, list[Lying]]]:
    """Who has records at `place`, page by page, with the exposure so far, which is estimated on the last page.

    `known` are signals of subjects (by id) that the app has; those in `but` (keyed digests) are left out. Who has a
    home, and records in a store that has no sink but this one, has nothing here that could be brought there.

    Raises: SinkUnavailable, PinsUnavailable.
    """
    found = Exposure(place.store, place.sink.name)
    # By the identity of the finding, which is held so that no other gets it: most are found alike, and by one.
    homes: dict[tuple[int, str | None], tuple[Finding, str | None, tuple[str, ...]]] = {}
    after = ""
    while page := await place.records.subjects(after=after, limit=_PAGE):
        after = page[-1]
        lying = []
        for each in page:
            subject = digest(each)
            if subject in but:
                continue
            pin = await pin_of(subject)
            finding = homing.finding(known.get(each, ()), pin)
            case = (id(finding), None if pin is None else pin.home)
            if case not in homes:
                homes[case] = finding, homing.home(finding, pin), homing.against(finding, place.sink.name)
            _, home, laws = homes[case]
            found.subjects += 1
            if pin is not None and pin.home == home and homing.alone(place.store):
                if homing.bars(finding, place.sink.name):  # told, and no mover can mend it
                    found.nowhere += 1
                    found.laws.update(laws)
                continue
            lying.append(Lying(each, subject, pin, home, finding))
            if home is None:
                found.nowhere += 1
            elif home != place.sink.place:
                found.wrong += 1
                found.to[home] += 1
                found.laws.update(laws)
        yield found, lying
    if found.wrong or found.nowhere:
        counts = await place.records.count()
        share = (found.wrong + found.nowhere) / found.subjects
        for doc in place.docs:
            for category in doc.data:
                found.records[category] += round(counts.get(doc.name, 0) * share)
        if isinstance(place.records, Dated):
            found.since = await place.records.earliest()
    yield found, []
