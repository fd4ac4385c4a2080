"""A runtime that is being opened in; its stores know where each sink's and each person's data lies, and are told when a
sink is seen elsewhere, out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from residency.adapters.address_data import AddressData
from residency.adapters.location_watch import LocationWatch
from residency.enforcement.ports import Clock, Facts
from residency.observe.cells import Metrics
from residency.policy.parsed import DeploymentDoc, locator_name
from residency.storage.stores import Stores
from residency.wiring.location import location_watch, meter_location
from residency.wiring.locators import open_locators
from residency.wiring.marks import meter_marks, seen_marks, tell_marks, told_which
from residency.wiring.storage import Judging

__all__ = ["watch_places"]


class Opening(Protocol):
    """The runtime, as far as is needed for it."""

    deployment: DeploymentDoc
    stores: Stores
    metrics: Metrics
    clock: Clock
    network: AddressData[Any]

    @property
    def facts(self) -> Facts:
        """The facts in force."""

    def path(self, written: str) -> Path:
        """A path as the deployment file means it."""


def watch_places(
    runtime: Opening, *, tell: Callable[[str], object], digest: Callable[[str], str], judging: Judging | None
) -> LocationWatch:
    """The watch over where sinks lie, not started; the runtime's stores ask it and the locators that are opened here.

    `tell` records a note; `digest` and `judging` are as `open_locators` says. Raises: as `open_locators`.
    """
    deployment, stores, now = runtime.deployment, runtime.stores, runtime.clock.now
    watch = location_watch(
        deployment,
        runtime.network,
        filings=lambda: runtime.facts.current().filings,
        now=now,
        tell=tell,
        which=lambda: told_which(runtime.stores),
        path=runtime.path,
    )
    stores.misplaced = watch.misplaced
    refuse = deployment.location.drift == "refuse"
    tell_marks(stores, tell, seen_marks(deployment, runtime.path), refuse=refuse)
    meter_marks(runtime.metrics, stores)
    meter_location(runtime.metrics, watch, now)
    stores.locators = open_locators(
        deployment,
        runtime.path,
        digest,
        judging,
        barred=lambda place: runtime.deployment.mode != "observe" and locator_name(place) in watch.misplaced,
    )
    return watch
