"""A verdict that lets data be read from a sink in; the same for what is sent there by who reads, out.

A law may let data go abroad once a field of it is dropped, masked or replaced (`protect`, direction `out`). What an app
sends are its own statements, bytes and requests, into which nobody sees. So nothing is treated, and what must be is
refused: the verdict on a sink says so by itself. But for an activity that only reads it speaks of reading, and such a
one may keep a session, put a job into a queue or ask a service too.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from residency.model import Effect, Protection, Reason, SinkVerdict
from residency.model.place import within
from residency.policy.compiler import Policy

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["BARRED", "sending"]

BARRED: Final = {Reason.DETAIL_ABROAD: "what must be recorded of this person may not be recorded here"}
"""What is told where a decision permits and the activity may not go on all the same."""


def sending(here: Current, verdict: SinkVerdict) -> SinkVerdict:
    """The verdict on sending something to a sink under an activity that reads, whose `verdict` on it is of reading."""
    wanted = _treating(here.point.policy, verdict.sink.place)
    asked = verdict.duty.protect
    rules = tuple(
        rule
        for rule in dict.fromkeys((*here.decision.rules, *verdict.rules))
        if rule.id in wanted and wanted[rule.id] <= asked  # an exemption may lift it for this sink alone
    )
    if verdict.effect is not Effect.PERMIT or not rules:
        return verdict
    return replace(verdict, effect=Effect.DENY, reason=Reason.CANNOT_BE_TREATED, rules=rules)


@lru_cache(maxsize=256)
def _treating(policy: Policy, place: str) -> dict[str, frozenset[Protection]]:
    """What each rule wants done to fields that go to `place`, outside the country of its law."""
    rules = ((law, rule) for law in policy.laws for rule in law.rules if not within(place, law.jurisdiction))
    wanted = ((rule.id, frozenset(p for p in rule.duty.protect if p.direction == "out")) for _, rule in rules)
    return {name: out for name, out in wanted if out}
