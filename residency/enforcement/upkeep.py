"""What an operator does to a sink under no request's decision in; an intent before it and an outcome after it, out.

Erasing and exporting are asked for by a person or by a law, not by a request: no activity is behind them. Their
entries say so (`note` begins with `operator: `) and name store, sink, region and the rules that ask for it. An intent
without an outcome is a finding here too.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from residency.audit.entry import Entry
from residency.audit.recall import OPERATOR
from residency.enforcement.admission import MISPLACED
from residency.enforcement.plans import PLACEHOLDER_ID
from residency.errors import ResidencyError, SinkUnavailable, StaleVersion, Unavailable
from residency.jurisdiction.found import finding_words
from residency.model import Decision, Operation, Pin, Sink
from residency.policy.terms import term_word

if TYPE_CHECKING:
    from residency.enforcement.point import EnforcementPoint

__all__ = ["Upkeep", "UpkeepAct"]


class Upkeep:
    """Acts of an operator, recorded by the recorder of the policy in force."""

    __slots__ = ("_point",)

    def __init__(self, point: EnforcementPoint) -> None:
        self._point = point

    async def begin(
        self,
        store: str,
        sink: Sink,
        operation: Operation,
        why: str,
        *,
        alias: str | None = None,
        rules: tuple[str, ...] = (),
    ) -> UpkeepAct:
        """Record durably that something is about to be done to `sink`. `why` stays for ever and names nobody; `alias`
        = the subject's stand-in, where it is one person's data; `rules` ask for it.

        Raises: JournalFull, JournalFailed, SinkUnavailable where no act may use `sink`; then it must not be done.
        """
        point = self._point
        if point.policy.deployment.mode != "observe" and sink.name in point.stores.misplaced:
            raise SinkUnavailable(f"sink {sink.name!r} {MISPLACED}")
        act = self.begun(store, sink, operation, why, alias=alias, rules=rules)
        await self.durable()
        return act

    def begun(
        self,
        store: str,
        sink: Sink,
        operation: Operation,
        why: str,
        *,
        alias: str | None = None,
        rules: tuple[str, ...] = (),
        decision: Decision | None = None,
    ) -> UpkeepAct:
        """As `begin`, not durable yet: `durable` waits for many at once. `decision` = what permits it, where that was
        asked: the entry says whose law covers the person, so that it counts as the transfer that it may be."""
        recorder = self._point.recorder
        recorder.ready()
        entry = recorder.entry("intent", effect="permit", operation=operation.value, store=store, sink=sink.name,
                               region=sink.region, note=OPERATOR + why, rules=rules)  # fmt: skip
        if decision is not None:
            entry = _permitted(entry, decision)
        _, name = recorder.act(entry, alias, None)
        return UpkeepAct(self, entry, alias, name)

    async def durable(self) -> None:
        """Wait until all that is recorded by now survives a power cut. Raises: JournalFailed."""
        await self._point.recorder.caught_up()

    async def forget(self, subject: str, pin: Pin | None) -> bool:
        """Forget a subject (keyed digest, hex) of whom nothing is left: in the counts of all laws, and the pin. Whether
        the pin is gone: a newer one stays, for somebody wrote of the subject meanwhile.

        Raises: FactsUnavailable, PinsUnavailable; trying again does no harm.
        """
        point = self._point
        await point.keeper.forget(subject)
        if pin is None:
            return True
        try:
            await point.homes.pins.forget(subject, pin.version)
        except StaleVersion:
            return await point.homes.pins.get(subject) is None
        return True

    def _ended(self, intent: Entry, alias: str | None, of: str, act: str, note: str) -> tuple[int, str]:
        entry = Entry(
            id=PLACEHOLDER_ID,
            kind="outcome",
            at=0,
            effect="permit",
            policy=intent.policy,
            policy_version=intent.policy_version,
            act=act,
            of=PLACEHOLDER_ID,
            operation=intent.operation,
            store=intent.store,
            sink=intent.sink,
            region=intent.region,
            note=OPERATOR + note,
        )
        return self._point.recorder.act(entry, alias, of)


def _permitted(entry: Entry, decision: Decision) -> Entry:
    """The entry, with whose law covers the person and on what ground this is permitted, as acts of requests have it."""
    verdict = decision.sink(entry.sink or "")
    clocks, exemptions, rules = decision.clocks, decision.exemptions, decision.rules
    if verdict is not None:
        clocks, exemptions = (*clocks, *verdict.clocks), (*exemptions, *verdict.exemptions)
        rules = (*rules, *verdict.rules)
    return replace(
        entry,
        epoch=decision.epoch,
        activity=None if decision.activity is None else decision.activity.name,
        jurisdictions=decision.jurisdictions,
        finding=finding_words(decision.finding),
        presumed=decision.presumed,
        evidence=tuple(sorted(decision.evidence)),
        rules=tuple(dict.fromkeys((*entry.rules, *(rule.id for rule in rules)))),
        exemptions=tuple(dict.fromkeys(exemptions)),
        running=tuple(dict.fromkeys(map(term_word, clocks))),
    )


class UpkeepAct:
    """One act of an operator on one sink, begun. Tell once how it ended."""

    __slots__ = ("_alias", "_intent", "_told", "_upkeep", "id")

    def __init__(self, upkeep: Upkeep, intent: Entry, alias: str | None, name: str) -> None:
        self._upkeep = upkeep
        self._intent = intent
        self._alias = alias
        self._told = False
        self.id = name
        """The intent's id, as `0.17`."""

    async def ended(self, act: str, told: str) -> str:
        """Record durably how it ended ("committed", "failed", "unknown") and what came of it; the entry's id. `told`
        names nobody. Raises: JournalFull, JournalFailed; the intent then stays open."""
        seq, name = self._tell(act, told)
        await self._upkeep._point.recorder.durable(seq)
        return name

    def told(self, act: str, told: str) -> None:
        """As `ended`, not durable yet; the first word stands."""
        if not self._told:
            self._tell(act, told)

    def _tell(self, act: str, told: str) -> tuple[int, str]:
        self._told = True
        return self._upkeep._ended(self._intent, self._alias, self.id, act, told)

    async def broke(self, error: BaseException) -> None:
        """Record that nobody knows what became of it; where not even that can be written the intent stays open."""
        what = "unknown" if isinstance(error, ResidencyError) else type(error).__name__
        if self._told:
            return
        with suppress(Unavailable):
            await self.ended("unknown", what if what != "unknown" else "the sink did not answer")
