"""The head of a decided request's answer in; the same with the labels that laws want on it (`label:`), out.

A rule's label is a word such as `ai.interaction`. The answer bears those of the decision, and those of each sink that
the request has used so far. What a person sees of it (a line of text, a mark in a picture) is the app's to make: no
middleware knows the page. Of a WebSocket the handshake bears them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from residency.enforcement.current import Current

__all__ = ["LABEL", "LABELLED", "labelled"]

LABEL: Final = b"residency-label"
"""The header, a list of words in the order of the alphabet; what is no word is percent-encoded."""
LABELLED: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
"""The messages that open an answer."""
_PLAIN: Final = "!#$&'*+-.^_`|~:/"


def labelled(here: Current, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The head of the answer to `here` with its labels; the same object where there are none, or nothing binds."""
    decision = here.decision
    labels = decision.duty.label | here.trail.labels
    if not labels or decision.mode == "observe":
        return message
    return {**message, "headers": [*message.get("headers", ()), (LABEL, _value(labels))]}


@lru_cache(256)  # a policy has a handful of different sets
def _value(labels: frozenset[str]) -> bytes:
    # A policy may write any text for a label; in a header a comma or the end of a line would be something else.
    return ", ".join(quote(label, safe=_PLAIN) for label in sorted(labels)).encode("ascii")
