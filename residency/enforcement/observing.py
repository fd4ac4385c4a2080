"""An act of a deployment that only observes in; what would have become of it if the deployment enforced, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from residency.enforcement.metering import Meter
from residency.model import Effect, Reason, SinkVerdict

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["goes_on", "observed"]


def goes_on(mode: str, metrics: Meter) -> bool:
    """Whether a request or an act goes on though what it leaves may be lost in a power cut, since our own disk is late.

    Where a deployment only observes it does: that disk's slowness is none of the app's. It is recorded all the same,
    and counted.
    """
    if mode != "observe":
        return False
    metrics.late()
    return True


def observed(here: Current, verdict: SinkVerdict, named: bool) -> tuple[Reason | None, str | None]:
    """(why this act on the sink of `verdict` would be refused, where it would go instead), had the deployment enforced.

    `named` = the app asked for this very sink. Counts what would be refused and was not counted yet.
    """
    decision = here.decision
    if decision.mode != "observe" or verdict.effect is Effect.PERMIT:
        return None, None
    reason = verdict.reason or Reason.INTERNAL
    if decision.effect is not Effect.PERMIT:  # counted when it was decided, and perhaps recorded for what it is
        said = here._recorded
        told = said is not None and (said.effect, said.reason) == (decision.effect, decision.reason)
        return None if told else reason, None
    instead = next((each.sink.name for each in decision.sinks if each.store == verdict.store), verdict.sink.name)
    if not named and instead != verdict.sink.name:
        return None, f"enforce:{instead}"
    here.point.metrics.refusal(reason, observed=True)
    return reason, None
