"""The enforcement point in; whether a record may be copied to a sink now, and the acts of copying, recorded, out.

A copy is a transfer of its own. No request is behind it, so it is asked of each activity that writes such data into the
store, with what the activity itself proves (its basis), with the filings of now, and with nothing that only a person
proves in a request: what asks for that is not copied. The write at home has happened, so that "recorded here first"
stands against no copy any more; whatever else the law says of the sink does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from residency.enforcement.point import EnforcementPoint
from residency.enforcement.upkeep import Upkeep, UpkeepAct
from residency.errors import JournalLate
from residency.jurisdiction.resolve import resolve
from residency.model import Activity, Decision, Effect, Finding, Operation, Reason, Sink, SinkVerdict, SubjectSource
from residency.model.place import within
from residency.policy.terms import unbegun
from residency.storage.outbox import Owner, Permit, Wanted
from residency.storage.records import Record
from residency.storage.retention import Person, Terms

__all__ = ["CopyDeciding"]

_WRITES: Final = frozenset({Operation.WRITE, Operation.POST})
_BOUND: Final = 4096
_STALE: Final = 1_000_000  # microseconds for which an answer serves; a term that ends is noticed so late


class CopyDeciding:
    """The `Deciding` port of one store over the enforcement point in force."""

    def __init__(self, store: str, point: Callable[[], EnforcementPoint], key: bytes) -> None:
        """`point` answers the one in force; `key` is what fields are treated with."""
        self.key = key
        self._store = store
        self._point = point
        self._permits: dict[tuple[Finding, frozenset[str], str, str], Permit] = {}
        self._terms: Terms | None = None
        self._asked: tuple[object, int] = (None, 0)

    def version(self) -> object:
        """Something that is another thing once policy or facts have changed."""
        point = self._point()
        return point.policy.digest, point.facts.epoch()

    async def owners(self, subjects: Collection[str]) -> Mapping[str, Owner]:
        """What is known of these subjects (ids) by their pins. Raises: PinsUnavailable."""
        point = self._point()
        told = point.policy.deployment
        found = {}
        for subject in subjects:
            digest = point.perception.digest(subject)
            pin = await point.homes.fetch(digest)
            finding = resolve((), pin, told.presume, conflicts_presumed=told.conflicts_presumed)
            found[subject] = Owner(Person(digest, None if pin is None else pin.alias, finding, {}), pin)
        return found

    def judge(self, record: Record, owner: Owner, target: Sink, home: Sink) -> Permit:
        """Whether a copy of `record` may be made in `target` now."""
        point = self._point()
        if target.name in point.stores.misplaced or home.name in point.stores.misplaced:
            return Permit(Reason.SINK_MISPLACED.value)
        terms = self._fresh(point)
        case = (owner.person.finding, record.data, target.name, home.place)
        permit = self._permits.get(case)
        if permit is None:
            if len(self._permits) >= _BOUND:
                self._permits.clear()
            permit = self._permits[case] = self._ask(point, terms.now, *case[:2], target, home)
        if permit.reason is None and terms.judge(record, self._store, target, owner.person).retained.must_erase(
            terms.now
        ):
            return permit._replace(reason="past_its_term")
        return permit

    async def begin(self, acts: Sequence[Wanted]) -> Sequence[UpkeepAct]:
        """Record durably that these are about to be done, and note first events that they are. Raises: as the port."""
        point = self._point()
        for wanted in acts:
            decision = None if wanted.permit is None else wanted.permit.decision
            if decision is not None and (terms := unbegun(decision, decision.sink(wanted.target.name))):
                seq = await point.keeper.begin(terms)
                if seq is not None:
                    await point.recorder.durable(seq)
        upkeep = Upkeep(point)
        begun = []
        for wanted in acts:
            try:
                begun.append(self._begun(upkeep, wanted))
            except JournalLate:
                await upkeep.durable()
                begun.append(self._begun(upkeep, wanted))
        await upkeep.durable()
        return begun

    async def settled(self) -> None:
        """Wait until all that was told is durable. Raises: JournalFailed."""
        await Upkeep(self._point()).durable()

    def _begun(self, upkeep: Upkeep, wanted: Wanted) -> UpkeepAct:
        alias = None if wanted.owner is None else wanted.owner.person.alias
        rules = () if wanted.permit is None else wanted.permit.rules
        decision: Decision | None = None if wanted.permit is None else wanted.permit.decision
        return upkeep.begun(
            self._store, wanted.target, wanted.operation, wanted.why, alias=alias, rules=rules, decision=decision
        )

    def _fresh(self, point: EnforcementPoint) -> Terms:
        """The terms of now; what was answered before is forgotten where it may no more be so."""
        now, version = point.clock.now(), self.version()
        if self._terms is None or self._asked[0] != version or not 0 <= now - self._asked[1] < _STALE:
            self._permits.clear()
            self._terms = Terms(point.policy, point.facts.current(), now)
            self._asked = (version, now)
        return self._terms

    def _ask(
        self, point: EnforcementPoint, now: int, finding: Finding, data: frozenset[str], target: Sink, home: Sink
    ) -> Permit:
        policy, facts = point.policy, point.facts.current()
        asked = Permit(None)
        for activity in self._activities(policy.deployment.activities, data):
            decision = policy.decide(activity, finding, frozenset(), facts, now)
            verdict = decision.sink(target.name)
            if verdict is None:
                return Permit(Reason.NO_SINK.value)
            reason = _against(verdict, home)
            if reason is Reason.NOT_HOME:
                # What else stands against it is told where nothing is written first.
                other = policy.decide(replace(activity, operation=Operation.PROCESS), finding, frozenset(), facts, now)
                told = other.sink(target.name)
                reason = (None if told is None else _against(told, home)) or reason
            rules = tuple(dict.fromkeys(rule.id for rule in (*decision.rules, *verdict.rules)))
            if reason is not None:
                return Permit(reason.value, rules=rules)
            asked = Permit(
                None, asked.asked | verdict.duty.protect, asked.rules + rules, asked.decision or decision
            )  # fmt: skip
        return asked

    def _activities(self, known: Sequence[Activity], data: frozenset[str]) -> list[Activity]:
        """What writes such data into the store, with these data alone; where nothing does, what has no purpose."""
        plain = {"data": data, "stores": (self._store,), "actions": frozenset(), "fields": frozenset()}
        found = [
            replace(each, **plain, media=frozenset())  # type: ignore[arg-type]  # a mapping of several types
            for each in known
            if self._store in each.stores and each.operation in _WRITES and each.data & data
        ]
        nobody = SubjectSource("none")
        return found or [Activity("copies", "ANY", "/", nobody, data, Operation.WRITE, stores=(self._store,))]


def _against(verdict: SinkVerdict, home: Sink) -> Reason | None:
    """What stands against a copy in a verdict on a first write; `NOT_HOME` = something else than that it is none."""
    if verdict.effect is Effect.PERMIT:
        return None
    duty = verdict.duty
    if verdict.reason is Reason.CANNOT_BE_TREATED:
        # A copy is treated; all that is judged before that was met, and one thing is judged after it.
        return None if duty.effect is Effect.PERMIT else Reason.HOLD
    if verdict.reason is not Reason.NOT_HOME:
        return verdict.reason or Reason.INTERNAL
    first = all(within(home.place, place) for place in duty.copies | duty.first_write)
    if first and not verdict.unmet and duty.effect is Effect.PERMIT:
        return None
    return Reason.NOT_HOME
