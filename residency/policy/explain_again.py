"""One question put to a policy in; the command line that has `residency explain` tell its answer, out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from residency.jurisdiction.found import finding_words
from residency.model import Finding
from residency.policy.parsed_reading import READER

__all__ = ["explain_again"]

_SHOWN: Final = ("identity:", "age:", "consent:", "subject:", READER)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def explain_again(file: str, activity: str, finding: Finding, evidence: Iterable[str], now: int) -> str:
    """The command line for a decision of the policy in `file` on the activity of that name at `now` (microseconds).

    Evidence that the register, the activity or a sink gives is not told: the policy gives it again.
    """
    words = ["residency", "explain", "--policy", file, "--activity", activity]
    told = finding_words(finding)
    words += ["--finding", " ".join(told)] if told else ["--finding", ""]
    shown = sorted(token for token in evidence if token.startswith(_SHOWN))
    words += ["--evidence", " ".join(shown)] if shown else []
    words += ["--at", (_EPOCH + timedelta(microseconds=now)).isoformat()]
    return shlex.join(words)
