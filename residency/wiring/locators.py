"""Where each country's locator lies in; the locators of a deployment, opened, out.

A locator lies in the country of the sinks that it is for: where the deployment's `locators:` say. Where they do not,
that is a file beside the pins, for places where this instance itself may be: its own, or any where it does not say
where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from residency.errors import PolicyError, Problem, SinkUnavailable, UsageError
from residency.policy.parsed import DeploymentDoc
from residency.storage.locator import Locator, LocatorMemory, Locators
from residency.wiring.kinds import kind_of
from residency.wiring.storage import Judging

__all__ = ["located_places", "locator_doubts", "open_locator", "open_locators"]

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
    judging: Judging | None = None,
    barred: Callable[[str], bool] = lambda place: False,
) -> Locators | None:
    """Every locator that the deployment needs, None where no `records:` are told. Blocks on the disk.

    `digest` is the pins'; `judging` judges where each new connection leads, None = that is not asked; `barred` is as
    `Locators` says. Raises: SinkUnavailable, PolicyError for a URL of another kind, at the line that has it.
    """
    places = located_places(deployment)
    if not places:
        return None
    opened: dict[str, Locator] = {}
    for place in places:
        if _is_elsewhere(deployment, place):
            continue  # who needs it is told so
        said = deployment.locators.get(place)
        url = None if said is None else said.reveal()
        if url is None:
            beside = deployment.pins.url.reveal()
            url = "memory:" if beside == "memory:" else f"sqlite:///{_folder(beside)}located/{place}.db"
        try:
            elsewhere = None if judging is None else judging(place)
            opened[place] = open_locator(url, place, path_of, deployment.name, digest(_KEY_MARK), elsewhere)
        except UsageError as error:
            raise PolicyError((deployment.source.problem(("locators", place), str(error)),)) from error
    return Locators(opened, digest, barred=barred)


def locator_doubts(deployment: DeploymentDoc) -> Iterator[Problem]:
    """Places of sinks of rows of which this instance has no locator, at their lines; for `check` and `doctor`."""
    stores: dict[str, list[str]] = {}
    for store in deployment.records:
        for sink in (deployment.sinks[name] for name in deployment.stores.get(store, ())):
            if kind_of(sink) == "rows" and _is_elsewhere(deployment, place := sink.sink.place):
                stores.setdefault(place, []).append(store)
    for place, of in stores.items():
        # Where there are some already the line is missing there.
        path = ("locators",) if deployment.locators else ("records", of[0])
        yield deployment.source.problem(
            path,
            f"`locators` names none for {place}, where sinks of store `{of[0]}` lie: an instance in "
            f"`{deployment.audit.region}` refuses (503) to add rows there, and to say whose a row there is: write "
            f'`locators: {{{place}: "rediss://…"}}`, the same for all instances',
        )


def _is_elsewhere(deployment: DeploymentDoc, place: str) -> bool:
    """Whether nobody said where the locator of a place lies, and here it may not."""
    region = deployment.regions.get(deployment.audit.region or "")
    return place not in deployment.locators and region is not None and region.place != place


def open_locator(
    url: str,
    place: str,
    path_of: PathOf,
    deployment: str,
    key_mark: str | None = None,
    elsewhere: Callable[[str], bool] | None = None,
) -> Locator:
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
        return LocatorRedis(url.replace("valkey", "redis", 1), deployment=deployment, place=place, elsewhere=elsewhere)
    raise UsageError(
        f"the locator of {place}: expected sqlite:///PATH, redis://HOST and its kind, or memory: for tests"
    )


def _folder(pins: str) -> str:
    """The folder of a file of pins, as written; this instance's own where they are shared."""
    path = pins.removeprefix("sqlite:///") if pins.startswith("sqlite:///") else "residency-data/pins.db"
    return path[: path.rfind("/") + 1]
