"""`residency audit detail clock`: a country in; how far the clock is from the time counted since, or set right, out."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Annotated

import anyio
import anyio.to_thread
import typer

from residency.audit.detail_time import APART, Moment
from residency.cli.audit.detail_place import Country, Place, Policy, caught_up, fails, moment, note, place_of
from residency.cli.audit.shared import Json, when
from residency.errors import ResidencyError

__all__ = ["clock"]


def clock(
    policy: Policy,
    country: Country,
    today: Annotated[
        str | None,
        typer.Option(
            "--today", metavar="YYYY-MM-DD", help="What day it is (UTC), from somewhere else than this machine."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell how far this machine's clock is from the time that was counted since details of a country were kept.

    Where the two differ, the machine was off or its clock was set. No floor ends by the clock, and no detail goes by
    one that is more than a day off. With --today you vouch for the clock, once it is right: the time up to there has
    passed, and what is due by it goes within a minute. The log tells of it.

    Exit 0 = a day apart at most, or confirmed, 1 = further apart, another day, or it cannot be done, 2 = wrong use.

    Example: residency audit detail clock --policy deployment.yaml --country VN --today 2026-11-22
    """
    day = None
    if today is not None:
        try:
            day = date.fromisoformat(today)
        except ValueError:
            raise typer.BadParameter("a date, as in 2026-11-22", param_hint="--today") from None
    place = place_of(policy, country)
    try:
        store = caught_up(place.folder)
        now, counted = moment(), store.progress().time
        apart = 0 if counted is None else now.wall - counted
        if day is not None and day != datetime.fromtimestamp(now.wall / 1e6, UTC).date():
            _tell(
                now,
                counted,
                store.waiting(now.wall),
                "the clock says another day; nothing was changed",
                as_json=as_json,
            )
            raise typer.Exit(1)
        if day is not None:
            text = f"details clock confirmed: {country} on {day}, {round(apart / 1e6)} s from the time counted"
            anyio.run(_confirm, place, text, now)
            apart, counted = 0, now.wall
        _tell(now, counted, store.waiting(now.wall), None if day is None else "confirmed", as_json=as_json)
    except ResidencyError as error:
        fails(error, as_json=as_json)
    if abs(apart) > APART:
        raise typer.Exit(1)


async def _confirm(place: Place, text: str, now: Moment) -> None:
    try:
        await anyio.to_thread.run_sync(place.runtime.open)
        await note(place.runtime, text)  # first: what nobody knows of is worse than what is told and did not happen
        await anyio.to_thread.run_sync(place.store.confirm, now)
    finally:
        await place.runtime.aclose()


def _tell(now: Moment, counted: int | None, due: int, said: str | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"clock": now.wall, "counted": counted, "due_by_the_clock": due, "said": said}))
        return
    print(f"clock    {when(now.wall)} (UTC)")
    print(f"counted  {'nothing is kept yet' if counted is None else when(counted)}")
    print(f"due by the clock, and kept: {due}")
    if said is not None:
        print(said)
