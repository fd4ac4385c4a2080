"""In: variants and a policy. Out: nanoseconds of this process's CPU per request, a list of rounds for each variant.

Every round runs all variants, one after the other in changing order, so that a slow moment of the machine hits all of
them. CPU time counts the middleware's own threads too. Garbage collection is off while a round is measured.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message

from benchmarks.apps import make
from benchmarks.traffic import addresses, headers

__all__ = ["measure"]


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class _Answers:
    """Takes the answers and notices one that is not 200: a refusal would be cheap and prove nothing."""

    def __init__(self) -> None:
        self.bad = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            self.bad += 1


def _scope(address: bytes) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/articles/17",
        "raw_path": b"/v1/articles/17",
        "query_string": b"",
        "root_path": "",
        "headers": headers(address),
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
    }


async def _round(app: ASGIApp, scopes: list[dict[str, Any]], answers: _Answers) -> int:
    began = time.process_time_ns()
    for scope in scopes:
        await app(scope, _receive, answers)
    return time.process_time_ns() - began


async def _run(
    variants: tuple[str, ...], policy: Path, rounds: int, requests: int, progress: Callable[[], None]
) -> dict[str, list[float]]:
    apps = {variant: make(variant, policy) for variant in variants}
    found: dict[str, list[float]] = {variant: [] for variant in variants}
    order = list(variants)
    for number in range(rounds + 1):
        sample = addresses(requests, seed=number)
        random.Random(number).shuffle(order)
        for variant in order:
            scopes = [_scope(address) for address in sample]
            answers = _Answers()
            gc.collect()
            gc.disable()
            spent = await _round(apps[variant], scopes, answers)
            gc.enable()
            if answers.bad:
                raise RuntimeError(f"{variant}: {answers.bad} of {requests} requests were not answered with 200")
            if number:  # the first round warms caches up
                found[variant].append(spent / requests)
        progress()
    runtime = getattr(apps.get("residency"), "runtime", None)
    if runtime is not None:
        await runtime.aclose()
    return found


def measure(
    variants: tuple[str, ...], policy: Path, *, rounds: int, requests: int, progress: Callable[[], None]
) -> dict[str, list[float]]:
    """Nanoseconds of CPU per request for each variant and round. Raises: RuntimeError where a request is refused."""
    return asyncio.run(_run(variants, policy, rounds, requests, progress))
