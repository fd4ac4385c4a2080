"""In: a folder of prepared files. Out: each way to tell an address's country, ready to be asked; what memory it takes.

    python -m benchmarks.address_peers NAME FOLDER

prints what loading one of them into a fresh process costs, as JSON. The folder holds `lean.mmdb`, `shaped.mmdb` (the
same tree with MaxMind's records), `networks.txt` (network and country, one a line) and `ours.table`.
"""

from __future__ import annotations

import json
import mmap
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_INET6
from typing import Any, Final

from residency.adapters.address_data import AddressData
from residency.adapters.address_tables import PackagedTable
from residency.model import Signal
from residency.signals.peer import ClientAddress, Peer, SocketPeer
from residency.signals.table import AddressTable

__all__ = ["OURS", "PEERS", "SOCKET", "WARM", "Ask", "client_of", "load", "peer_of"]

Ask = Callable[[Any], object]
"""Of an address as text; WARM's of a client that the strategy has told, SOCKET's of a socket's peer."""
OURS: Final = "ours"
WARM: Final = "ours, warm"
SOCKET: Final = "ours, warm, from the socket's peer"
_STRATEGY: Final = Peer()


def _ours(folder: Path) -> AddressTable:
    with (folder / "ours.table").open("rb") as file:
        return AddressTable(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def _lookup(folder: Path) -> Ask:
    return _ours(folder).lookup


def _data(folder: Path) -> AddressData[Any]:
    data = AddressData(PackagedTable(folder / "ours.table"), now=lambda: 0, max_age=1)
    data.open()
    return data


def _warm(folder: Path) -> Ask:
    return _data(folder).signals_of  # what `Perception.perceive` calls


def _from_socket(folder: Path) -> Ask:
    network, strategy = _data(folder), _STRATEGY

    def ask(peer: SocketPeer) -> tuple[Signal, ...]:
        return network.signals_of(strategy.client(peer, ()))

    return ask


def peer_of(text: str) -> SocketPeer:
    """What a server says of a connection from that address."""
    return text, 40_000


def client_of(text: str) -> ClientAddress:
    """The client at that address, as the strategy has told each of its requests."""
    return _STRATEGY.client(peer_of(text), ())


def _geoip2(folder: Path) -> Ask:
    from geoip2.database import Reader

    country = Reader(folder / "shaped.mmdb").country
    return lambda text: country(text).country.iso_code


def _extension(name: str) -> Callable[[Path], Ask]:
    def loaded(folder: Path) -> Ask:
        import maxminddb

        return maxminddb.open_database(folder / name, maxminddb.MODE_MMAP_EXT).get

    return loaded


def _rust(name: str, *path: str) -> Callable[[Path], Ask]:
    def loaded(folder: Path) -> Ask:
        import maxminddb_rust

        get_path = maxminddb_rust.open_database(str(folder / name)).get_path
        return lambda text: get_path(text, path)

    return loaded


def _geoip2fast(folder: Path) -> Ask:
    from geoip2fast import GeoIP2Fast

    lookup = GeoIP2Fast().lookup
    return lambda text: lookup(text).country_code


def _networks(folder: Path) -> Iterator[list[str]]:
    with (folder / "networks.txt").open() as file:  # line by line: no list of them counts as memory
        for line in file:
            yield line.split()


def _radix(folder: Path) -> Ask:
    import radix

    tree = radix.Radix()
    for network, country in _networks(folder):
        tree.add(network).data["country"] = country
    best = tree.search_best
    return lambda text: best(text).data["country"]


def _pytricia(folder: Path) -> Ask:
    from pytricia import PyTricia

    four, six = PyTricia(32), PyTricia(128, AF_INET6)
    for network, country in _networks(folder):
        (six if ":" in network else four)[network] = country
    return lambda text: six[text] if ":" in text else four[text]


PEERS: Final[dict[str, Callable[[Path], Ask]]] = {
    OURS: _lookup,
    WARM: _warm,
    SOCKET: _from_socket,
    "maxminddb C, MaxMind-shaped": _extension("shaped.mmdb"),
    "maxminddb C, lean": _extension("lean.mmdb"),
    "geoip2 Reader, MaxMind-shaped": _geoip2,
    "maxminddb-rust get_path, MaxMind-shaped": _rust("shaped.mmdb", "country", "iso_code"),
    "maxminddb-rust get_path, lean": _rust("lean.mmdb", "country_code"),
    "geoip2fast, its own data": _geoip2fast,
    "py-radix": _radix,
    "pytricia": _pytricia,
}
"""By name: what loads it. MaxMind's readers decode a record per lookup, so its form matters; both are measured."""


def load(folder: Path) -> dict[str, Ask]:
    """Every way, loaded."""
    return {name: loaded(folder) for name, loaded in PEERS.items()}


def _memory() -> dict[str, int]:
    """Kilobytes of this process: resident, and resident that no other process shares."""
    text = Path("/proc/self/smaps_rollup").read_text()
    kilobytes = {name: int(number) for name, number in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return {"resident": kilobytes["Rss"], "private": kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]}


def _main() -> None:
    """What loading one of them costs: seconds, kilobytes resident and private."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    PEERS[OURS](folder)("1.1.1.1")  # what our modules and a first call cost does not count, for anybody
    for module in ("maxminddb", "geoip2.database", "maxminddb_rust", "geoip2fast", "radix", "pytricia"):
        __import__(module)
    before = _memory()
    began = time.perf_counter()
    ask = PEERS[name](folder)
    seconds = time.perf_counter() - began
    for line in (folder / "queries.txt").read_text().split():
        ask(line)
    after = _memory()
    told: dict[str, Any] = {key: after[key] - before[key] for key in after}
    print(json.dumps({**told, "seconds": seconds}))


if __name__ == "__main__":
    _main()
