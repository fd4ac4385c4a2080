"""The demo's shop window: a request's decision in, what the screen shows of it out. Your own API needs none of it.

It holds no personal data: `alias` is the random stand-in under which the person appears in the audit log, so that the
demo can show, and the checker find, the very entries that this request left.
"""

from __future__ import annotations

from typing import Any

from residency import current
from residency.model import Anchor, Effect, Finding, State

__all__ = ["receipt"]


def receipt(sink: str | None = None) -> dict[str, Any]:
    """Whose law covers the person and why, where the data went, and the rules that closed the other places to it."""
    here = current()
    decision = here.decision
    went = sink if sink is not None else here.store("people").sink_name
    closed = [rule for v in decision.sinks if v.effect is not Effect.PERMIT for rule in v.rules]
    return {
        "alias": here.alias,
        "sink": went,
        "laws": [f"{law}: {_how(decision.finding, law)}" for law in decision.jurisdictions],
        "why": list(dict.fromkeys(f"{rule.id}|{rule.citation}" for rule in closed)),
    }


def _how(finding: Finding, law: str) -> str:
    """The anchors that tie the person to `law`'s place; "presumption" where no signal of any did."""
    tied = [anchor.value for anchor in Anchor if finding.state(law, anchor) in (State.ESTABLISHED, State.UNDETERMINED)]
    # Where something is collected is where it is used here: one address says both.
    return ", ".join(anchor for anchor in tied if anchor != "collection" or "territory" not in tied) or "presumption"
