"""The outcome of policy: Decision, with the rules that decided and what each sink may take."""

from __future__ import annotations

from dataclasses import dataclass

from residency.model.activity import Activity, Sink
from residency.model.duty import NEUTRAL, Duty, Effect
from residency.model.finding import Finding
from residency.model.reason import Reason

__all__ = ["Clock", "Decision", "RuleRef", "SinkVerdict"]


@dataclass(frozen=True, slots=True)
class RuleRef:
    """A rule as a decision cites it."""

    id: str
    jurisdiction: str
    instrument: str
    article: str
    source: str
    confidence: str
    mode: str  # "enforce", "warn" or "observe"
    text: str = ""
    text_vi: str = ""
    link: str = ""
    fine: str = ""

    @property
    def citation(self) -> str:
        """Instrument and article in one line, fit for an error body."""
        return f"{self.instrument} {self.article}".strip()


@dataclass(frozen=True, slots=True, order=True)
class Clock:
    """A term that a decision leans on: a clause that nothing meets yet, permitted while `token`'s term runs.

    `event` under the law of `place` starts it; `deadline` (microseconds) is when it has run out, None = not started.
    """

    token: str
    event: str
    place: str
    deadline: int | None


@dataclass(frozen=True, slots=True)
class SinkVerdict:
    """What the joined duty says of using one sink for this activity and subject.

    `reason` is None where permitted. `unmet` are clauses that the evidence did not satisfy. `duty` is all that is asked
    of an act on this sink, by the rules about the activity and by those about the sink. `store` is the first of the
    activity's stores that has it.
    """

    sink: Sink
    effect: Effect
    reason: Reason | None
    rules: tuple[RuleRef, ...] = ()
    unmet: tuple[frozenset[str], ...] = ()
    clocks: tuple[Clock, ...] = ()
    exemptions: tuple[str, ...] = ()
    duty: Duty = NEUTRAL
    store: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What may happen to this subject's data in this activity now.

    `effect` and `reason` judge the activity itself. `sinks` lists every sink of the activity's store with its verdict,
    permitted ones first, the sink where the data must go first of all. `mode` is the deployment's: in `observe` the
    verdicts are as in `enforce`, and the enforcement point records them and binds nothing. `rules` decided, `observed`
    spoke in a mode that does not bind. `jurisdictions` cover the person; `presumed` are the anchors of them that a
    presumption decided, as "VN:territory". `outranked` are rules that apply and were overridden by another that does;
    `exempted` those that an exemption of the register lifted, `exemptions` the numbers of these; `clocks` the terms
    that the decision leans on. `policy` is the digest of the policy, `policy_version` the number of the bundle that it
    came in; 0 = not counted, or loose files.
    """

    activity: Activity | None
    effect: Effect
    mode: str
    reason: Reason | None
    duty: Duty
    sinks: tuple[SinkVerdict, ...]
    rules: tuple[RuleRef, ...]
    observed: tuple[RuleRef, ...]
    jurisdictions: tuple[str, ...]
    presumed: tuple[str, ...]
    finding: Finding
    evidence: frozenset[str]
    policy: str
    epoch: int
    unmet: tuple[frozenset[str], ...] = ()
    outranked: tuple[RuleRef, ...] = ()
    exempted: tuple[RuleRef, ...] = ()
    exemptions: tuple[str, ...] = ()
    clocks: tuple[Clock, ...] = ()
    policy_version: int = 0

    @property
    def permitted(self) -> bool:
        """Whether the activity itself may go on: permitted, or not bound because the deployment only observes."""
        return self.effect is Effect.PERMIT or self.mode == "observe"

    @property
    def strategy(self) -> str | None:
        """The strategy by which the client's address was looked for; None where no request is behind the decision."""
        return self.finding.strategy

    def sink(self, name: str) -> SinkVerdict | None:
        """The verdict on one sink by name, None where the activity's store has no such sink."""
        return next((v for v in self.sinks if v.sink.name == name), None)
