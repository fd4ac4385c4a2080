"""What the country of an address costs here and elsewhere: the same data, one interleaved run, ratios.

    python -m benchmarks.addresses [--json] [--quick] [--db FILE]

Each round takes a batch of addresses that nobody has seen, as fresh strings, through every way in changing order; this
thread's own CPU time counts, a ratio is the median of the rounds' ratios. Addresses are drawn uniformly over the
networks of the data (`mix`: nine of ten IPv4), and once uniformly over its IPv4 addresses. Nothing is cached but where
it says warm: there a quarter of the batch, asked before, comes four times. Warm is what a request calls once it knows
its client; from the socket's peer the strategy's own probe is in it, too. Default data: the file that ships.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import maxminddb
from rich.console import Console
from rich.table import Table

from benchmarks.address_peers import OURS, PEERS, SOCKET, WARM, Ask, client_of, load, peer_of
from benchmarks.address_shaped import shaped
from residency.adapters.mmdb import EMBEDDED, country_of, read_layer
from residency.model import Signal
from residency.signals.table import AddressTable
from residency.signals.table_build import build
from residency.signals.table_layers import overlay

__all__ = ["BARS", "measure", "show"]

_C, _LEAN = "maxminddb C, MaxMind-shaped", "maxminddb C, lean"
_REPEATED: Final[Mapping[str, Callable[[str], object]]] = {WARM: client_of, SOCKET: peer_of}
"""The ways that are asked what they were asked before, and what the package has in hand where it asks them."""
_RUST, _GEOIP2, _TRIE = "maxminddb-rust get_path, MaxMind-shaped", "geoip2 Reader, MaxMind-shaped", "pytricia"
BARS: Final = {
    "mix, over the maxminddb C extension": 6.0,
    "mix, over geoip2": 12.0,
    "mix, over maxminddb-rust get_path": 0.8,
    "IPv6, over the maxminddb C extension": 3.0,
    "warm, over the maxminddb C extension": 30.0,
    "memory, pytricia's over ours": 15.0,
    "compiling, iterating with the C extension over it": 3.0,
}
"""How many times better ours must be; a prepared table opens in 20 ms, a further worker takes 1 MB of its own."""

Network = IPv4Network | IPv6Network


def _queries(networks: Sequence[Network], count: int, seed: int) -> dict[str, list[str]]:
    chance = random.Random(seed)
    four = [net for net in networks if net.version == 4]
    six = [net for net in networks if net.version == 6]
    sizes = list(accumulate(net.num_addresses for net in four))

    def within(net: Network) -> str:
        number = chance.randrange(int(net.network_address), int(net.broadcast_address) + 1)
        return str(IPv4Address(number) if net.version == 4 else IPv6Address(number))

    def ipv6() -> str:
        return within(chance.choice(six))

    def ipv4() -> str:
        return within(chance.choice(four))

    def mixed(of_four: Callable[[], str]) -> list[str]:
        return [ipv6() if at % 10 == 9 else of_four() for at in range(count)]

    return {
        "mix": mixed(ipv4),
        "IPv4": [ipv4() for _ in range(count)],
        "IPv6": [ipv6() for _ in range(count)],
        "mix by address": mixed(lambda: within(chance.choices(four, cum_weights=sizes)[0])),
    }


def _compared(ways: Mapping[str, Ask], queries: Mapping[str, list[str]], rounds: int, batch: int) -> dict[str, Any]:
    """By kind of query and way: nanoseconds of each round."""
    told: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in ways} for kind in queries}
    order = list(ways)
    chance = random.Random(3)
    gc.collect()
    gc.disable()
    try:
        for at in range(rounds):
            for kind, addresses in queries.items():
                texts = addresses[at * batch : (at + 1) * batch]
                chance.shuffle(order)
                for name in order:
                    ask = ways[name]
                    asked: Sequence[object] = [text.encode().decode() for text in texts]  # with no hash from before
                    if name in _REPEATED:
                        in_hand, some = _REPEATED[name], texts[: batch // 4]
                        for text in some:
                            ask(in_hand(text))
                        asked = [in_hand(text.encode().decode()) for text in some * 4]
                    began = time.thread_time_ns()
                    for one in asked:
                        ask(one)
                    told[kind][name].append((time.thread_time_ns() - began) / batch)
    finally:
        gc.enable()
    return told


def _agree(ways: Mapping[str, Ask], table: AddressTable, addresses: Sequence[str]) -> None:
    """Stop the benchmark where a way that reads our data gives another answer."""
    for address in addresses:
        ours = table.country(address)
        for name, ask in ways.items():
            if name == OURS:
                answer: object = table.rows[int(str(ask(address)))].country
            elif name in _REPEATED:
                said = cast("tuple[Signal, ...]", ask(_REPEATED[name](address)))
                special = table.rows[table.lookup(address)].network == "special"
                answer = ours if special and not said else next((signal.place for signal in said), None)
            elif name.startswith("maxminddb C"):
                answer = country_of(ask(address))
            elif name.startswith("geoip2fast"):
                continue
            else:
                answer = ask(address)
            if answer != ours:
                raise SystemExit(f"{name} says {answer} of {address}, the table {ours}")


def _loading(name: str, folder: Path) -> dict[str, Any]:
    """What loading costs a fresh process; the table's pages are shared with this one, which has it mapped."""
    command = [sys.executable, "-m", "benchmarks.address_peers", name, str(folder)]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return told


def measure(*, database: Path = EMBEDDED, rounds: int = 20, batch: int = 2_000, seed: int = 7) -> dict[str, Any]:
    """Measure everything; answers plain values: nanoseconds, kilobytes, seconds, ratios."""
    data = database.read_bytes()
    with tempfile.TemporaryDirectory(prefix="residency-bench-") as name:
        folder = Path(name)
        (folder / "lean.mmdb").write_bytes(data)
        (folder / "shaped.mmdb").write_bytes(shaped(data))
        compiling, iterating, table_bytes = [], [], b""
        networks: list[tuple[Network, str]] = []
        for _ in range(1 if rounds < 5 else 3):
            began = time.thread_time()
            laid = overlay(read_layer(data, country_of))
            table_bytes = build(laid.v4, laid.v6, laid.rows, {"source": database.name, "built_at": 0}, laid.aliases)
            compiling.append(time.thread_time() - began)
            with maxminddb.open_database(folder / "lean.mmdb", maxminddb.MODE_MMAP_EXT) as reader:
                began = time.thread_time()
                for _ in reader:
                    pass
                iterating.append(time.thread_time() - began)
                networks = networks or [
                    (net, code) for net, record in reader if (code := country_of(record)) is not None
                ]
        (folder / "ours.table").write_bytes(table_bytes)
        (folder / "networks.txt").write_text("".join(f"{net} {code}\n" for net, code in networks))
        queries = _queries([net for net, _ in networks], rounds * batch, seed)
        (folder / "queries.txt").write_text("\n".join(queries["mix"][:2_000]))
        memory = {one: _loading(one, folder) for one in PEERS if one not in _REPEATED}
        ways = load(folder)
        table = AddressTable(table_bytes)
        for addresses in queries.values():
            _agree(ways, table, addresses[:200])
        beside = _loading(OURS, folder)  # this process has it mapped now
        rounds_of = _compared(ways, queries, rounds, batch)
    lookups = {kind: {one: round(median(values)) for one, values in of.items()} for kind, of in rounds_of.items()}

    def faster(kind: str, peer: str, ours: str = OURS) -> float:
        pairs = zip(rounds_of[kind][peer], rounds_of[kind][ours], strict=True)
        return round(float(median(one / other for one, other in pairs)), 2)

    ratios = {
        "mix, over the maxminddb C extension": faster("mix", _C),
        "mix, over geoip2": faster("mix", _GEOIP2),
        "mix, over maxminddb-rust get_path": faster("mix", _RUST),
        "IPv6, over the maxminddb C extension": faster("IPv6", _C),
        "warm, over the maxminddb C extension": faster("mix", _C, WARM),
        "memory, pytricia's over ours": round(memory[_TRIE]["resident"] / memory[OURS]["resident"], 1),
        "compiling, iterating with the C extension over it": round(median(iterating) / median(compiling), 2),
    }
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "data": {"file": database.name, "networks": len(networks), "table_bytes": len(table_bytes)},
        "rounds": {"rounds": rounds, "batch": batch},
        "lookup_ns": lookups,
        "ratios": ratios,
        "socket": faster("mix", _C, SOCKET),
        "lean": {kind: faster(kind, _LEAN) for kind in queries},
        "rust": {kind: faster(kind, _RUST) for kind in queries},
        "by address": {peer: faster("mix by address", peer) for peer in (_C, _GEOIP2, _RUST)},
        "memory_kb": {one: told["resident"] for one, told in memory.items()},
        "private_kb_per_worker": beside["private"],
        "open_ms": round(beside["seconds"] * 1_000, 1),
        "compile_s": round(median(compiling), 2),
        "iterate_s": round(median(iterating), 2),
        "bars": BARS,
    }


def show(console: Console, result: Mapping[str, Any]) -> None:
    """The result as tables."""
    told = result["data"]
    title = f"Nanoseconds per lookup, {told['networks']:,} networks of {told['file']}; memory that loading it takes"
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for kind in (*result["lookup_ns"], "memory"):
        table.add_column(kind, justify="right", no_wrap=True)
    for one in PEERS:
        size = result["memory_kb"].get(one)
        cells = [f"{of[one]:,}" for of in result["lookup_ns"].values()]
        shown = "" if size is None else f"{size / 1024:.1f} MB"
        table.add_row(one, *cells, shown, style="cyan" if one.startswith(OURS) else None)
    console.print(table)
    bars = Table(title="How many times better ours is")
    for head in ("", "measured", "must be"):
        bars.add_column(head, justify="right" if head else "left", no_wrap=True)
    for name, ratio in result["ratios"].items():
        missed = ratio < result["bars"][name]
        bars.add_row(name, f"{ratio:.2f}", f"{result['bars'][name]:g}", style="red" if missed else None)
    console.print(bars)
    console.print(
        f"warm from the socket's peer, so that what tells the client counts as well: {result['socket']:.2f} times the"
        f" C extension, which is given the address"
    )
    lean = ", ".join(f"{kind} {ratio:.2f}" for kind, ratio in result["lean"].items())
    console.print(f"on lean records, which the C extension reads faster: {lean}")
    rust = ", ".join(f"{kind} {ratio:.2f}" for kind, ratio in result["rust"].items())
    console.print(f"over maxminddb-rust get_path: {rust}")
    console.print(
        f"a prepared table of {told['table_bytes'] / 1e6:.1f} MB opens in {result['open_ms']} ms, checksum included;"
        f" a further worker takes {result['private_kb_per_worker']} kB of its own; compiling takes"
        f" {result['compile_s']} s, iterating the file {result['iterate_s']} s (the bar is for a million networks)"
    )


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="a few short rounds, to see that it works")
    parser.add_argument("--db", type=Path, default=EMBEDDED, metavar="FILE", help="another mmdb of countries")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    console.width = max(console.width, 120)
    result = measure(database=options.db, rounds=4) if options.quick else measure(database=options.db)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(console, result)


if __name__ == "__main__":
    main()
