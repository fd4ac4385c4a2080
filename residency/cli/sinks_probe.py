"""A policy in; its sinks, and whether each can serve now, out.

A command's connections are judged as an app's are: where drift is refused none is used that leads abroad.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from residency import wiring
from residency.adapters.clock_system import SystemClock
from residency.enforcement.ports import SinkPort
from residency.policy.compiler import Policy
from residency.storage.caches import CacheSink

__all__ = ["ANSWERS", "probe", "sinks_of"]

ANSWERS: Final = {
    "rows": "takes writes",
    "objects": "takes writes",
    "cache": "answers",
    "service": "takes connections (nothing was sent)",
}
"""By kind of store, what is known of a sink that was probed."""
_KEY: Final = b"residency:probe"


def sinks_of(policy: Policy, *, members: bool = True) -> dict[str, SinkPort]:
    """Every sink by name, not started; without `members` each goes the way of its own URL alone.

    Raises: PolicyError, SinkUnavailable, AddressDataUnavailable where connections are judged and it cannot be read.
    """
    deployment, base = policy.deployment, Path(policy.base)
    judging = None
    if deployment.location.drift == "refuse":
        network = wiring.address_data(deployment, base.joinpath, SystemClock().now)
        judging = wiring.judging(deployment, network, lambda: deployment.mode != "observe")
    if not members:
        alone = {name: replace(sink, members=()) for name, sink in deployment.sinks.items()}
        deployment = replace(deployment, sinks=alone)
    return wiring.sinks(deployment, base.joinpath, base, judging)


async def probe(sink: SinkPort, kind: str) -> None:
    """Ask a sink whether it can serve now; one of rows or objects, whether it takes a write. Nothing is written.

    Raises: SinkUnavailable, also for a cache that the app could do without.
    """
    if kind != "cache":
        await sink.ping()
        return
    await sink.start()  # which is a connection, and no more; an optional one starts without its server
    await sink.ping()
    await cast(CacheSink, sink).fetch([_KEY])
