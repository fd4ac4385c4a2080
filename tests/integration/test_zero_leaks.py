"""Nothing of people at home is found abroad after a minute of mixed load; what is leaked on purpose is found.

A minute in `make test`, ten in `make deep`. What was searched is printed in each run.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import find_redis, find_weed
from tests.integration.test_leak_search import ENCODED
from tests.leaks import NETWORK, Wire
from tests.object_store import seaweed
from tests.postgres import Pair, Postgres, new_server
from tests.servers import Servers
from tests.services import serving
from tests.soak import ABROAD, HOME, Places, Soak, written

pytestmark = [
    pytest.mark.needs("postgres", "seaweedfs", "redis", "packets"),
    pytest.mark.timeout(1800),
]


@pytest.fixture
def places() -> Iterator[Places]:
    """Two servers of each kind, at home and abroad, all made at once; caches and models in a third country, too. New
    ones for each run: what one leaks on purpose lies in its servers afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="residency-soak-")))
        folder.chmod(0o755)
        for place in ("vn", "sg"):
            (folder / f"weed-{place}").mkdir()
        servers = stack.enter_context(Servers(folder, {"redis": find_redis()}))
        addresses = {"vn": HOME, "sg": ABROAD}
        everywhere = {**addresses, "kr": HOME}
        rows = {place: stack.enter_context(new_server(address)) for place, address in addresses.items()}
        files = {place: seaweed(find_weed(), folder / f"weed-{place}", addresses[place]) for place in addresses}
        with ThreadPoolExecutor() as pool:
            made = [pool.submit(started, each) for each in rows.values()]
            entered = {place: pool.submit(each.__enter__) for place, each in files.items()}
            for place, each in files.items():
                if entered[place].exception() is None:
                    stack.push(each)
        yield Places(
            Pair(*(each.result() for each in made)),
            {place: each.result() for place, each in entered.items()},
            {
                place: servers.single("redis", "--rdbcompression", "no", address=address)
                for place, address in everywhere.items()
            },
            {place: stack.enter_context(serving(address)) for place, address in everywhere.items()},
        )


def started(server: Postgres) -> Postgres:
    """A server that was only planned."""
    return server.make().start()


@pytest.mark.parametrize(
    "seconds", [float(os.environ.get("RESIDENCY_SOAK", "60")), pytest.param(600.0, marks=pytest.mark.slow)]
)
def test_nothing_of_people_at_home_is_found_abroad(
    places: Places, tmp_path: Path, seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    with Wire(NETWORK) as wire:
        begun = time.monotonic()
        soak = Soak(tmp_path, places, wire, seed=int(seconds))
        soak.run(seconds)
        loaded = time.monotonic()
        soak.settle()
        assert wire.dropped == 0, "what the kernel dropped could not be searched"
        found, searched = soak.found_abroad()
        at_home, held = soak.found_at_home(), soak.held_at_home()
        with capsys.disabled():
            print(
                f"\n{sum(soak.answers.values())} requests in {loaded - begun:.0f} s, searched in "
                f"{time.monotonic() - loaded:.0f} s:\n{written(searched)}canaries at home: {at_home}\n"
                f"changes of which no copy is made: {held}"
            )
        print(
            f"moves: {dict(soak.moves)}\ntroubles: {dict(soak.troubles)}\nanswers: {dict(sorted(soak.answers.items()))}"
        )
        assert soak.wrong == []
        assert {what: each[:5] for what, each in found.items() if each} == {}
        assert min(searched.values()) > 0
        assert min(at_home.values()) > 4, "what never was at home proves nothing"
        assert soak.missing() == [], (soak.answers, soak.moves, soak.troubles)
        assert soak.left_abroad() == []
        assert held.get("only_in_country", 0) > 4, held
        for how, secret in ENCODED.items():
            planted = soak.plant(how, secret)
            assert min(planted.values()) > 0, (how, planted)
        leaked, _ = soak.found_abroad()
        assert {what: len(each) for what, each in leaked.items() if len(each) < len(ENCODED)} == {}
