"""What telling the client's address costs, beside the PyPI package `forwarded`: ratios from one interleaved run.

    python -m benchmarks.strategy [--json] [--quick]

Every request has the other benchmarks' seven headers and three hops: a client, and two proxies besides the peer. All
strings are made fresh for each batch, garbage collection is off, and this thread's own CPU time counts. `forwarded`
gets the values of its header and the ranges as parsed networks; picking the header out counts for it as it does for us.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from statistics import median
from typing import Any, Final

import forwarded
from rich.console import Console
from rich.table import Table

from benchmarks import traffic
from benchmarks.traffic import Headers
from residency.signals.address import RightmostTrustedCount, RightmostTrustedRange, SingleHeader
from residency.signals.inet import Ranges

__all__ = ["BARS", "measure"]

BATCH: Final = 64
"""Requests of one variant in a row: few, so that their headers lie in the processor's cache, as a server's do."""
KNOWN: Final = 200
WARMING: Final = 20
"""Rounds that fill the caches and are not counted."""
RANGES: Final = ("10.0.0.0/8", "2001:db8::/32")
BARS: Final = {"uncached": 5.0, "cached": 30.0}
"""How many times faster than `forwarded` the range strategy must be over X-Forwarded-For."""

Request = tuple[tuple[str, int], Headers]
Ask = Callable[[tuple[str, int], Headers], object]


def _variants() -> dict[str, tuple[str, bool, Ask]]:
    """By name: the header that is sent, whether clients come back, and what is asked."""
    ranges = Ranges(RANGES)
    networks = [ip_network(text) for text in RANGES]

    def peer_x(peer: tuple[str, int], headers: Headers) -> object:
        lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        return forwarded.client_from_x_forwarded(lines, peer[0], trusted=networks)

    def peer_rfc(peer: tuple[str, int], headers: Headers) -> object:
        lines = [value.decode("latin-1") for name, value in headers if name == b"forwarded"]
        return forwarded.client_from_forwarded(lines, peer[0], trusted=networks)

    def walk(header: str) -> Ask:
        return RightmostTrustedRange(ranges, header=header).client

    return {
        "forwarded, X-Forwarded-For": ("x-forwarded-for", False, peer_x),
        "range, new client": ("x-forwarded-for", False, walk("x-forwarded-for")),
        "range, known client": ("x-forwarded-for", True, walk("x-forwarded-for")),
        "count, new client": ("x-forwarded-for", False, RightmostTrustedCount(3, ranges).client),
        "single header, new client": ("cf-connecting-ip", False, SingleHeader("cf-connecting-ip", ranges).client),
        "forwarded, Forwarded": ("forwarded", False, peer_rfc),
        "range, Forwarded, new client": ("forwarded", False, walk("forwarded")),
        "range, Forwarded, known client": ("forwarded", True, walk("forwarded")),
    }


def _request(header: str, client: str) -> Request:
    hops = [client, "10.0.0.7", "10.0.0.8"]
    if header == "forwarded":
        hops = [f'for="[{hop}]"' if ":" in hop else f"for={hop}" for hop in hops]
    elif header == "cf-connecting-ip":
        hops = hops[:1]
    written = ", ".join(hops).encode()
    sent = [
        (header.encode(), written) if name == b"x-forwarded-for" else (bytes(bytearray(name)), bytes(bytearray(value)))
        for name, value in traffic.headers(b"")
    ]
    return (".".join(("10", "0", "0", "9")), 40_000), sent


def _addresses(random_: random.Random) -> Iterator[str]:
    while True:  # nine IPv4 to one IPv6, as traffic is
        if random_.random() < 0.9:
            yield ".".join(["14", *(str(random_.randrange(256)) for _ in range(3))])
        else:
            yield "2001:ee0:" + ":".join(f"{random_.randrange(1, 65536):x}" for _ in range(6))


def measure(rounds: int) -> dict[str, Any]:
    """Median nanoseconds per request of each variant, and how many times faster than `forwarded` ours are."""
    variants = _variants()
    random_ = random.Random(7239)
    fresh = _addresses(random_)
    known = [next(fresh) for _ in range(KNOWN)]
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + WARMING):
        for name in random_.sample(list(variants), len(variants)):
            header, again, ask = variants[name]
            batch = [_request(header, random_.choice(known) if again else next(fresh)) for _ in range(BATCH)]
            gc.disable()
            began = time.thread_time_ns()
            for peer, headers in batch:
                ask(peer, headers)
            took = time.thread_time_ns() - began
            gc.enable()
            if number >= WARMING:
                spent[name].append(took / BATCH)
    found = {name: round(median(each)) for name, each in spent.items()}
    plain, rfc = "forwarded, X-Forwarded-For", "forwarded, Forwarded"
    ratios = {
        "uncached": (plain, "range, new client"),
        "cached": (plain, "range, known client"),
        "rfc7239 uncached": (rfc, "range, Forwarded, new client"),
        "rfc7239 cached": (rfc, "range, Forwarded, known client"),
    }
    return {
        "python": platform.python_version(),
        "forwarded": forwarded.__version__,
        "rounds": rounds,
        "ns": found,
        "faster": {
            name: round(median(a / b for a, b in zip(spent[theirs], spent[ours], strict=True)), 1)
            for name, (theirs, ours) in ratios.items()
        },
        "bars": BARS,
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as a table, with the ratios that a bar stands on."""
    table = Table(title=f"Client address, three hops (forwarded {result['forwarded']})")
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("per request", justify="right", no_wrap=True)
    for name, spent in result["ns"].items():
        table.add_row(name, f"{spent / 1000:.2f} µs", style=None if name.startswith("forwarded") else "cyan")
    console.print(table)
    for name, ratio in result["faster"].items():
        bar = result["bars"].get(name)
        verdict = "" if bar is None else f" (bar {bar:g}x: {'[green]holds[/]' if ratio >= bar else '[red]missed[/]'})"
        console.print(f"{name}: {ratio:g}x faster than forwarded{verdict}", highlight=False)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that it works")
    options = parser.parse_args()
    result = measure(25 if options.quick else 400)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(Console(), result)


if __name__ == "__main__":
    main()
