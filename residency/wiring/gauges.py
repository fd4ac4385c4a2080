"""The parts of one running process in; what metrics show of them, read when the page is, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from residency.adapters.address_data import AddressData
from residency.adapters.journal_files import JournalFiles
from residency.adapters.jwt import JwtVerifier
from residency.adapters.policy_watch import PolicyWatch
from residency.adapters.sequencer import OVERDUE_AFTER, Overdue, Sequencer
from residency.enforcement.point import EnforcementPoint
from residency.observe import names
from residency.observe.cells import Metrics
from residency.wiring.signals import Keys

__all__ = ["meter_runtime", "watch_log"]

_AGES: Final = {"0s": 0, "5m": 300, "7d": 604_800}
"""Seconds, by the names that a label has for them."""


class _Journal(Protocol):
    @property
    def slot(self) -> int: ...
    @property
    def next_seq(self) -> int: ...


def watch_log(metrics: Metrics, journal: JournalFiles, sequencer: Sequencer) -> None:
    """Let `journal` admit nothing while what it holds has waited too long for the log, whoever should put it there."""
    overdue = Overdue(journal.slot, lambda: journal.next_seq, sequencer.stored_cursors, OVERDUE_AFTER)
    journal.watched(overdue.look)
    metrics.gauge(names.JOURNAL_WAITED, lambda: overdue.waited)


def meter_runtime(
    metrics: Metrics,
    *,
    info: Callable[[], tuple[str, str, str]],
    point: Callable[[], EnforcementPoint],
    watch: PolicyWatch[Any] | None,
    network: AddressData[Any],
    keys: Keys | None,
    journal: _Journal,
    sequencer: Sequencer,
    now: Callable[[], int],
) -> None:
    """Show what runs. `info` answers digest, deployment and version in force, `point` the pipeline in force, `now`
    microseconds since the epoch."""
    metrics.info(names.INFO, info)
    if watch is not None:
        outcomes: Mapping[str, int] = watch.outcomes
        metrics.counts(names.POLICY_EVENTS, lambda: outcomes)
        metrics.gauge(names.POLICY_BEHIND, lambda: float(watch.is_behind))
    metrics.gauge(names.ADDRESS_DATA_AGE, network.age_seconds)
    metrics.gauge(names.ADDRESS_DATA_VN, lambda: float(network.meta["vn_addresses"]["ipv4"]))
    metrics.info(names.ADDRESS_DATA_INFO, lambda: (str(network.meta["source"]), str(network.meta["sha256"])))
    metrics.counts(names.ADDRESS_DATA_EVENTS, lambda: network.outcomes)
    if keys is not None:
        metrics.gauge(names.IDENTITY_KEYS_AGE, lambda: keys.age)
    verifier = point().identifying.verifier
    if isinstance(verifier, JwtVerifier):
        metrics.counts(names.TOKENS_REJECTED, lambda: dict(verifier.rejected))

    def backlog() -> float:
        # From disk, for another process may be the one that sequences; read first, so that it is never below 0.
        done = sequencer.stored_cursors().get(journal.slot, 0)
        return journal.next_seq - done

    metrics.gauge(names.JOURNAL_BACKLOG, backlog)
    metrics.gauge(names.SEQUENCER_FAILING, lambda: float(sequencer.problem is not None))
    metrics.gauge(names.LOG_SIZE, lambda: sequencer.published)
    metrics.gauge(names.SLOTS_STOPPED, lambda: len(sequencer.stopped))
    metrics.gauge(names.OPEN_INTENTS, lambda: point().recorder.open_intents)

    def oldest() -> float:
        since = point().recorder.oldest_intent
        # A clock that was set back since must not show an age below 0.
        return 0.0 if since is None else max(now() - since, 0) / 1_000_000

    metrics.gauge(names.OLDEST_INTENT, oldest)

    def in_log(older_than: int) -> float | None:
        known = sequencer.open_intents
        if known is None:
            return None
        return known.count if older_than == 0 else known.before(now() - older_than * 1_000_000)

    for told, seconds in _AGES.items():
        metrics.gauge(names.LOG_OPEN_INTENTS, partial(in_log, seconds), told)

    def oldest_in_log() -> float | None:
        known = sequencer.open_intents
        if known is None:
            return None
        return 0.0 if known.oldest is None else max(now() - known.oldest, 0) / 1_000_000

    metrics.gauge(names.LOG_OLDEST_INTENT, oldest_in_log)
