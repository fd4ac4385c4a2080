"""A policy and its facts in; where they are archived, noted, counted and shown, out."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from residency.adapters.beat import Beat
from residency.adapters.log_files import LogFiles
from residency.enforcement.facts import FactKeeper
from residency.enforcement.ports import Facts, Noted
from residency.errors import JournalFailed
from residency.model import FactSet
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.archive import archived
from residency.policy.compiler import Policy
from residency.policy.parsed import DeploymentDoc
from residency.policy.terms import begun_terms

__all__ = ["archive", "beating", "meter_facts", "open_noted"]

_WRITES: Final = 100
PathOf = Callable[[str], Path]


def archive(files: LogFiles, policy: Policy, facts: FactSet) -> None:
    """Keep what decisions are made by, so that each can be decided again. Raises: JournalFailed."""
    try:
        for path, data in archived(policy, facts):
            left = _WRITES
            # Workers that hear of a fact at once put the same bytes there, under the same name on the way: what one
            # puts in place another may still be writing.
            while files.read(path) != data:
                left -= 1
                try:
                    files.write(path, data)
                except FileNotFoundError:
                    if not left:
                        raise
                if not left:
                    raise OSError(errno.EAGAIN, "others write to it without end")
    except OSError as error:
        raise JournalFailed(f"the policy cannot be archived beside the audit log (errno {error.errno})") from error


def open_noted(
    deployment: DeploymentDoc,
    path_of: PathOf,
    *,
    timeout: float = 2.0,
    elsewhere: Callable[[str], bool] | None = None,
) -> Noted:
    """Where all processes note first events and counts together: beside the pins. Nothing is opened or made yet.

    `timeout` is in seconds, for connecting and for each answer; `elsewhere` as for pins.
    """
    url = deployment.pins.url.reveal()
    if url == "memory:":
        from residency.adapters.facts_memory import NotedMemory

        return NotedMemory()
    if url.startswith("sqlite:///"):
        from residency.adapters.facts_sqlite import NotedSqlite

        pins = path_of(url.removeprefix("sqlite:///"))
        return NotedSqlite(pins.with_name(f"{pins.stem}-facts{pins.suffix}"))
    from redis.crc import key_slot

    from residency.adapters.facts_redis import NotedRedis, Server
    from residency.adapters.pins_redis import parse_redis_url
    from residency.adapters.pins_redis.topology import cluster_shares, sentinel_shares

    place = replace(parse_redis_url(url), elsewhere=elsewhere)

    def connect(key: bytes) -> Server:
        node = place.nodes[0] if place.nodes else None
        if place.kind == "sentinel":
            node = next(iter(sentinel_shares(place, timeout, set())))
        elif place.kind == "cluster":
            slot = key_slot(key)
            shares = cluster_shares(place, (), timeout)
            node = next(n for n, ranges in shares.items() if any(low <= slot <= high for low, high in ranges))
        wire = place.wire(node, timeout)
        try:
            wire.open()
        except BaseException:
            wire.close()
            raise
        return wire

    return NotedRedis(connect, deployment=deployment.name)


@contextmanager
def beating(keeper: FactKeeper, deployment: DeploymentDoc) -> Iterator[None]:
    """While inside, counts are handed over and what others noted is taken in; and once more at the end."""
    beat = Beat(keeper.beat, every=min(1.0, deployment.pins.stale_for / 4_000_000), name="residency-facts")
    beat.start()
    try:
        yield
    finally:
        beat.stop()
        keeper.beat()


def meter_facts(metrics: Metrics, keeper: FactKeeper, facts: Facts, now: Callable[[], int]) -> None:
    """Show the terms and counts of the keeper's policy; call it again for each policy that is adopted."""
    metrics.counts(names.FACT_EVENTS, lambda: {**keeper.events, "left": keeper.tally.left})
    metrics.gauge(names.COUNTS_WAITING, lambda: float(keeper.tally.waiting))

    def deadline(token: str) -> float | None:
        ends = (term.deadline for term in begun_terms(keeper.policy.laws, facts.current()) if term.token == token)
        return next((end / 1_000_000 for end in ends if end is not None), None)

    for token in {grace.token for law in keeper.policy.laws for rule in law.rules for grace in rule.graces}:
        metrics.gauge(names.TERM_DEADLINE, lambda token=token: deadline(token), token)  # type: ignore[misc]  # bound by default

    def counted(escalation: str) -> float | None:
        found = keeper.escalations.by_id(now()).get(escalation)
        return None if found is None else keeper.counts.get(found[1])

    def threshold(escalation: str) -> float | None:
        found = keeper.escalations.by_id(now()).get(escalation)
        return None if found is None else found[0].subjects

    def up(escalation: str) -> float | None:
        return float(escalation in facts.current().escalated) if escalation in keeper.escalations.ids else None

    for name in keeper.escalations.ids:
        for gauge, read in ((names.SUBJECTS_COUNTED, counted), (names.SUBJECTS_THRESHOLD, threshold)):
            metrics.gauge(gauge, lambda read=read, name=name: read(name), name)  # type: ignore[misc]  # bound by default
        metrics.gauge(names.ESCALATED, lambda name=name: up(name), name)  # type: ignore[misc]  # bound by default
