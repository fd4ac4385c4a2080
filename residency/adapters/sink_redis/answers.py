"""What a server of Redis or Valkey answered in; what that comes to for a sink out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from residency.adapters.sink_redis.servers import AWAY, Gone

__all__ = ["evicts", "followers", "may_retry", "run_id", "stays", "together", "why"]

# Refused before anything was done, by a server that is not (or no longer) the one to ask.
_ELSEWHERE: Final = (MovedError, AskError, ReadOnlyError, ClusterDownError, TryAgainError, MasterDownError)
_SAID: Final[tuple[tuple[type[ResponseError], str], ...]] = (
    (OutOfMemoryError, "is full"),
    (NoPermissionError, "does not permit this to our user"),
    (ReadOnlyError, "is a replica"),
    (MovedError, AWAY),
)


def why(answer: ResponseError) -> str:
    """What an error is told as. A server's own words may quote keys."""
    return next((said for kind, said in _SAID if isinstance(answer, kind)), "refuses")


def stays(answer: object) -> bool:
    """Whether no wait mends an error."""
    return isinstance(answer, NoPermissionError)


def may_retry(answer: object, again: bool) -> bool:
    """Whether what was answered so may be asked for once more; `again` = it may be done twice."""
    if isinstance(answer, Gone):
        return not answer.resting and (again or not answer.sent)
    return isinstance(answer, _ELSEWHERE)


async def together(asked: Iterable[Coroutine[Any, Any, list[Any]]]) -> list[list[Any]]:
    """What all of these answer, asked at once."""
    listed = list(asked)
    if len(listed) == 1:
        return [await listed[0]]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in listed]
    return [task.result() for task in tasks]


def evicts(info: bytes) -> bool:
    """Whether a server whose INFO this is drops what it holds where it is full."""
    said = _said(info)
    return said.get("maxmemory", "0") != "0" and said.get("maxmemory_policy", "noeviction") != "noeviction"


def run_id(info: bytes) -> str | None:
    """The word that a running server whose INFO this is goes by."""
    return _said(info).get("run_id") or None


def followers(info: bytes) -> tuple[str, ...]:
    """The addresses of the replicas that a server whose INFO this is has, as they or it names them."""
    told = (value for name, value in _said(info).items() if re.fullmatch(r"slave[0-9]+", name))
    fields = (dict(part.partition("=")[::2] for part in value.split(",")) for value in told)
    return tuple(field["ip"] for field in fields if "ip" in field)


def _said(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value.strip() for name, _, value in lines}
