"""Acts that lean on terms, subjects of writes, and what other processes noted in; facts whose epoch moves, out.

An act that leans on a term whose event has not happened *is* the event. It is noted before the effect, once for all
processes, and where it cannot be noted the act is refused. Counts are kept off the acts' path: a beat hands over who
was written of since the last one, brings up (or down) what the counts say, and takes in what others noted.

Every change of the facts is archived and stands in an entry of this process's slot before anything is decided on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import anyio.to_thread

from residency.enforcement.counting import Tally
from residency.enforcement.ports import Clock, Facts, Noted
from residency.errors import FactsUnavailable, ResidencyError
from residency.model import Activity, Decision, Event, FactSet
from residency.model import Clock as Term
from residency.policy.compiler import Policy
from residency.policy.escalate import Escalations
from residency.policy.terms import begun_terms, moment

__all__ = ["EVENTS", "FactKeeper"]

_log = logging.getLogger("residency")
EVENTS: Final = ("begun", "heard", "not_noted", "escalated", "fallen", "failed")
"""What is counted of facts: a term's event noted here, or heard of from another process; one that could not be noted,
so that its act was refused; an escalation that came up or fell, by the process that found so; a beat that failed."""
Tell = Callable[[FactSet, str], int]
"""Archives facts and records them with a note; the entry's sequence number. Raises: JournalFull, JournalFailed."""


class FactKeeper:
    """The changing half of one process's facts. Made once a process; each policy that comes into force is adopted."""

    def __init__(
        self, facts: Facts, noted: Noted, clock: Clock, policy: Policy, *, stale_for: int = 10_000_000
    ) -> None:
        """`stale_for` (microseconds) = for how long what was last heard serves where counts decide, once the store
        fails."""
        self.tally = Tally()
        self.events = dict.fromkeys(EVENTS, 0)
        """How often each of `EVENTS` came to pass in this process."""
        self.counts: dict[str, int] = {}
        """Subjects of each counter of the policy, as last heard."""
        self._facts = facts
        self._noted = noted
        self._clock = clock
        self._stale_for = stale_for
        self._tell: Tell = lambda facts, note: -1
        self._lock = threading.Lock()  # held while the store is asked for what changes the facts
        self._known: dict[tuple[str, str], Event] = {}  # noted, as the store told
        self.failing_since: int | None = None
        """Since when (microseconds of a monotonic clock) the store fails; None while it serves."""
        self._set(policy)

    def _set(self, policy: Policy) -> None:
        self.policy = policy
        self.escalations = Escalations(policy.laws)
        self._depends = frozenset(
            activity.name for activity in policy.deployment.activities if self.escalations.concern(activity)
        )
        leaning = not policy.deployment.strict_clocks and any(r.graces for law in policy.laws for r in law.rules)
        self.needed = leaning or bool(self.escalations.ids)
        """Whether anything of the policy depends on what is noted."""

    # -- life --------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take in what is noted, before the first decision. Raises: FactsUnavailable."""
        if self.needed:
            self.beat_once()

    def told_by(self, tell: Tell) -> None:
        """From now on every change of the facts is recorded by `tell`."""
        self._tell = tell

    def adopt(self, policy: Policy) -> None:
        """Go by another policy from now on; what it asks for is looked up at the next beat."""
        with self._lock:
            self._set(policy)

    def beat(self) -> None:
        """One beat, as the thread takes it: nothing is raised for what cannot be had now, and it is tried again."""
        if not self.needed:
            return
        try:
            self.beat_once()
        except Exception as error:  # noqa: BLE001 - whatever it was, what is noted is not known any more
            self.events["failed"] += 1
            if self.failing_since is None:
                self.failing_since = self._clock.monotonic()
                why = str(error) if isinstance(error, ResidencyError) else type(error).__name__
                _log.warning("facts: %s; what was last heard serves for a while, first events are refused", why)
        else:
            if self.failing_since is not None:
                self.failing_since = None
                _log.warning("facts: what is noted of the operator can be read and written again")

    def beat_once(self) -> None:
        """Hand over who was counted, and take in what is noted. Raises: FactsUnavailable, JournalFull, JournalFailed;
        nothing is lost by it."""
        with self._lock:
            self._count()
            up = self._escalate()
            events = self._noted.events()
            standing = {(event.kind, event.place): event for event in events}
            for key, event in self._known.items():
                if key not in standing or standing[key].at > event.at:
                    self._noted.put_back(event)  # the store lost it, with a primary perhaps
                    standing[key] = event
            self._take_in(tuple(standing.values()), up, "heard")

    # -- what acts ask -----------------------------------------------------------------------------------------

    def ready(self, activity: Activity) -> None:
        """Raise FactsUnavailable where the activity's data may have been escalated and nobody has heard for long."""
        since = self.failing_since
        if since is None or activity.name not in self._depends:
            return
        if self._clock.monotonic() - since > self._stale_for:
            raise FactsUnavailable("whether so much of this data is held that it counts as another is not known now")

    def count(self, decision: Decision, subject: str, now: int) -> None:
        """Count the subject (keyed digest, hex) of a permitted write for the laws that cover it. Never waits."""
        activity = decision.activity
        if activity is not None:
            counters = self.escalations.counters(activity, decision.jurisdictions, now)
            if counters:
                self.tally.add(counters, subject)

    async def begin(self, terms: Iterable[Term]) -> int | None:
        """Note the events that `terms` wait for, now; the number of the entry that tells of it, None where another has
        noted them and told. Raises: FactsUnavailable, JournalFull, JournalFailed; then no act may lean on them."""
        wanted = sorted({(term.event, term.place) for term in terms})
        if not self._ahead(wanted, self._clock.now()):
            return None
        return await anyio.to_thread.run_sync(self._begin, wanted)

    async def forget(self, subject: str) -> None:
        """Take a subject (keyed digest, hex) whose data was erased out of all counts. Raises: FactsUnavailable."""
        self.tally.forget(subject)
        await anyio.to_thread.run_sync(self._noted.forget, subject)

    # -- inside ------------------------------------------------------------------------------------------------

    def _begin(self, wanted: list[tuple[str, str]]) -> int | None:
        with self._lock:
            now = self._clock.now()
            ours = [Event(*key, now) for key in self._ahead(wanted, now)]
            try:
                noted = [self._note(event) for event in ours]
            except FactsUnavailable:
                self.events["not_noted"] += 1
                raise
            return self._take_in(noted, None, "begun" if noted == ours else "heard")

    def _ahead(self, wanted: list[tuple[str, str]], now: int) -> list[tuple[str, str]]:
        """Those that have not happened by `now`. One that stands as of a later time has not: a register may expect it,
        or a clock have been ahead, and a term that waits for that time would run for as long."""
        facts = self._facts.current()
        return [key for key in wanted if (at := facts.event(*key)) is None or at > now]

    def _note(self, event: Event) -> Event:
        """Note an event unless one that has happened stands; the one that stands then. Raises: FactsUnavailable."""
        standing = self._noted.note(event)
        if standing.at <= self._clock.now():  # asked anew: another may have been first while this waited for the store
            return standing
        self._noted.put_back(event)
        return event

    def _count(self) -> None:
        counters = {counter for _, counter in self.escalations.by_id(self._clock.now()).values()}
        taken = self.tally.take()
        try:
            self.counts = self._noted.count(taken, counters) if taken or counters else {}
        except BaseException:
            self.tally.give_back(taken)
            raise

    def _escalate(self) -> frozenset[str]:
        """What is up by the counts of now; whoever finds it first tells the store."""
        if not self.escalations.ids:
            return self._facts.current().escalated
        was = self._noted.escalated()
        up = self.escalations.up(self.counts, was, self._clock.now())
        for name in sorted(up ^ was):
            if self._noted.escalate(name, up=name in up):
                self.events["escalated" if name in up else "fallen"] += 1
        return up

    def _take_in(self, events: Iterable[Event], up: frozenset[str] | None, how: str) -> int | None:
        """Put in force what is noted, after it is recorded; the entry's number, None where nothing changes by it.

        Escalations are those of `up`, None = as they are. The lock is held.
        """
        told: list[tuple[int, str]] = []

        def join(facts: FactSet) -> FactSet:
            new = [e for e in events if (at := facts.event(e.kind, e.place)) is None or e.at < at]
            escalated = facts.escalated if up is None else up
            if not new and escalated == facts.escalated:
                return facts
            # Of one kind and place one noted event stands beside the register's own.
            gone = {self._known.get((e.kind, e.place)) for e in new}
            kept = tuple(e for e in facts.events if e not in gone)
            return replace(facts, events=(*kept, *new), escalated=escalated)

        def record(facts: FactSet) -> None:
            before = self._facts.current()
            if facts is not before:
                note = "; ".join(self._changes(before, facts, how))
                told.append((self._tell(facts, note), note))

        self._facts.change(join, record)
        for event in events:
            self._known[event.kind, event.place] = event
        if not told:
            return None
        seq, note = told[0]
        _log.warning("facts: %s", note)
        return seq

    def _changes(self, before: FactSet, after: FactSet, how: str) -> Iterable[str]:
        """What an entry and the log say of a change."""
        new = [event for event in after.events if event not in before.events]
        terms = begun_terms(self.policy.laws, after)
        for event in new:
            self.events[how] += 1
            until = ", ".join(
                f"{term.token.rpartition('/')[2]} until {moment(term.deadline)}"
                for term in terms
                if (term.event, term.place) == (event.kind, event.place) and term.deadline is not None
            )
            yield f"{event.kind} of {event.place} {how} at {moment(event.at)}" + (f": {until}" if until else "")
        known = self.escalations.by_id(self._clock.now())
        for name in sorted(after.escalated ^ before.escalated):
            entry = known.get(name)
            subjects = "" if entry is None else f", {self.counts.get(entry[1], 0)} subjects"
            yield f"{name} {'escalated' if name in after.escalated else 'fell'}{subjects}"
