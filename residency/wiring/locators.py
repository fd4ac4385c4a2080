"""Where each country's locator lies in; the locators of a deployment, opened, out.

A locator lies in the country of the sinks that it is for: where the deployment's `locators:` say. Where they do not,
that is a file beside the pins, for places where this instance itself may be: its own, or any where it does not say
where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from residency.errors import PolicyError, SinkUnavailable, UsageError
from residency.policy.parsed import DeploymentDoc
from residency.storage.locator import Locator, LocatorMemory, Locators

__all__ = ["located_places", "open_locator", "open_locators"]

_KEY_MARK: Final = "\0residency: which key the locators' subjects are digested with"
PathOf = Callable[[str], Path]


def located_places(deployment: DeploymentDoc) -> tuple[str, ...]:
    """The places of the sinks of every store whose `records:` are told."""
    sinks = (name for store in deployment.records for name in deployment.stores.get(store, ()))
    return tuple(dict.fromkeys(deployment.sinks[name].sink.place for name in sinks))


def open_locators(
    deployment: DeploymentDoc,
    path_of: PathOf,
    digest: Callable[[str], str],
) -> Locators | None:
    """Every locator that the deployment needs, None where no `records:` are told. Blocks on the disk.

    `digest` is the pins'. Raises: SinkUnavailable, PolicyError for a URL of another kind, at the line that has it.
    """
    places = located_places(deployment)
    if not places:
        return None
    region = deployment.regions.get(deployment.audit.region or "")
    opened: dict[str, Locator] = {}
    for place in places:
        said = deployment.locators.get(place)
        url = None if said is None else said.reveal()
        if url is None and region is not None and region.place != place:
            continue  # nobody said where, and here it may not lie: who needs it is told so
        if url is None:
            beside = deployment.pins.url.reveal()
            url = "memory:" if beside == "memory:" else f"sqlite:///{_folder(beside)}located/{place}.db"
        try:
            opened[place] = open_locator(url, place, path_of, deployment.name, digest(_KEY_MARK))
        except UsageError as error:
            raise PolicyError((deployment.source.problem(("locators", place), str(error)),)) from error
    return Locators(opened, digest)


def open_locator(url: str, place: str, path_of: PathOf, deployment: str, key_mark: str | None = None) -> Locator:
    """The locator at `url`: `sqlite:///PATH`, `redis://HOST` and its kind, or `memory:`. Raises: SinkUnavailable,
    UsageError for a URL of another kind, which the message does not repeat."""
    # Imported here: the commands that need this module for other things are not to wait for it.
    if url == "memory:":
        return LocatorMemory(place)
    if url.startswith("sqlite:///"):
        from residency.adapters.locator_sqlite import LocatorSqlite

        return LocatorSqlite(path_of(url.removeprefix("sqlite:///")), place=place, key_mark=key_mark)
    scheme = url.partition(":")[0]
    if scheme.removesuffix("+cluster").replace("valkey", "redis") in ("redis", "rediss"):
        try:
            from residency.adapters.locator_redis import LocatorRedis
        except ImportError as error:
            raise SinkUnavailable(f"the locator of {place} needs the extra `redis`") from error
        return LocatorRedis(url.replace("valkey", "redis", 1), deployment=deployment, place=place)
    raise UsageError(
        f"the locator of {place}: expected sqlite:///PATH, redis://HOST and its kind, or memory: for tests"
    )


def _folder(pins: str) -> str:
    """The folder of a file of pins, as written; this instance's own where they are shared."""
    path = pins.removeprefix("sqlite:///") if pins.startswith("sqlite:///") else "residency-data/pins.db"
    return path[: path.rfind("/") + 1]
