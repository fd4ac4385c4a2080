"""What a deployment says of its mirror in; the mirror, what it shows, and what is to be said against it, out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.adapters.log_files import LogFiles
from residency.adapters.log_objects import LogObjects, parse_s3_url
from residency.adapters.mirror import Mirror
from residency.adapters.mount import FolderPlace
from residency.audit.checkpoint import note_signer
from residency.audit.mirror import Place, Required
from residency.errors import PolicyError, UsageError
from residency.model.calendar import Term, deadline
from residency.model.data import expand
from residency.model.duty import Bound
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.compiler import Policy
from residency.policy.parsed import DeploymentDoc

__all__ = ["check_mirror", "meter_mirror", "mirror_doubts", "open_mirror", "place_at", "required_lock"]

_URL: Final = ("audit", "mirror", "url")
_FILE: Final = "file://"
_SOME_DAY: Final = 1_767_225_600_000_000  # terms in months are compared from one day on, the first of 2026


def place_at(url: str) -> Place:
    """The place that a mirror's URL names; nothing is asked of it yet. Raises: UsageError, not telling the URL."""
    if url.startswith(_FILE):
        path = Path(url.removeprefix(_FILE))
        if not path.is_absolute():
            raise UsageError("expected file:///PATH, from the root on")
        return FolderPlace(path, LogFiles(path))
    return LogObjects(url)


def required_lock(term: Term) -> Required:
    """The lock that `locked: TERM` asks for."""
    # The longest that such a term can be, in whole days: months by the longest year, one for the day that has begun.
    days = -(-term.months * 366 // 12) + term.days * (2 if term.working else 1) + -(-term.hours // 24) + 1
    return Required(lambda put: deadline(put, term), days)


def check_mirror(deployment: DeploymentDoc) -> None:
    """Raises: PolicyError where no log can be shipped to what `audit.mirror` names."""
    mirror = deployment.audit.mirror
    if mirror is None:
        return
    url = mirror.url.reveal()
    problem = None
    if url.startswith(_FILE):
        if not url.removeprefix(_FILE).startswith("/"):
            problem = "expected file:///PATH, from the root on"
        elif mirror.locked is not None:
            what = "a folder cannot lock what lies in it: that takes s3://"
            raise PolicyError((deployment.source.problem(("audit", "mirror", "locked"), what),))
    else:
        try:
            parse_s3_url(url)
        except UsageError as error:
            problem = str(error)
    if problem is not None:
        raise PolicyError((deployment.source.problem(_URL, f"audit.mirror.url: {problem}"),))


def open_mirror(
    deployment: DeploymentDoc, audit: Path, signing_key: Callable[[str], Ed25519PrivateKey]
) -> Mirror | None:
    """The mirror of the log below the audit folder, not started; None where there is to be none.

    Raises: PolicyError, at the line of the deployment, KeysUnavailable.
    """
    mirror = deployment.audit.mirror
    if mirror is None:
        return None
    check_mirror(deployment)
    try:
        place = place_at(mirror.url.reveal())
    except UsageError as error:
        raise PolicyError((deployment.source.problem(_URL, f"audit.mirror.url: {error}"),)) from None
    return Mirror(
        LogFiles(audit / "log"),
        place,
        key=note_signer(deployment.audit.origin or deployment.name, signing_key("log"))[1],
        lock=audit / "mirror.lock",
        every=mirror.every / 1_000_000,
        required=None if mirror.locked is None else required_lock(mirror.locked),
        archive=LogFiles(audit),
    )


def meter_mirror(metrics: Metrics, mirror: Mirror) -> None:
    """Show how far the mirror is behind, and whether it fails."""
    metrics.gauge(names.MIRROR_LAG, mirror.lag)
    metrics.gauge(names.MIRROR_EVERY, lambda: mirror.every)
    metrics.gauge(names.MIRROR_FAILING, lambda: float(mirror.problem is not None))


def mirror_doubts(policy: Policy) -> Iterator[str]:
    """What holds of the mirror and is yet likely not meant, in words; for `check` and `doctor`."""
    mirror = policy.deployment.audit.mirror
    if mirror is None or not mirror.url.reveal().startswith("s3://"):
        return
    floors = [
        (_length(Term(kept.months, kept.days)), rule.id, kept)
        for law in policy.laws
        for rule in law.rules
        for kept in rule.duty.retain
        if kept.bound is Bound.AT_LEAST and not kept.lifetime and kept.category in expand({"log"}) | {"*"}
    ]
    longest = max(floors, key=lambda floor: (floor[0], floor[1]), default=None)
    asked = ""
    if longest is not None:
        asked = f"; {longest[1]} has logs kept for {longest[2].months} months and {longest[2].days} days"
    if mirror.locked is None:
        yield f"audit.mirror: nothing is locked there, so whoever has its credentials can remove it{asked}"
    elif longest is not None and _length(mirror.locked) < longest[0]:
        yield f"audit.mirror.locked is shorter than a law asks logs to be kept{asked}"


def _length(term: Term) -> int:
    return deadline(_SOME_DAY, term) - _SOME_DAY
