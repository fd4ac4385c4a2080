"""Nothing of people at home is found abroad after a minute of mixed load; what is leaked on purpose is found.

A minute in `make test`, ten in `make deep`. What was searched is printed with `-s`.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import find_redis, find_weed
from tests.integration.test_leak_search import ENCODED
from tests.leaks import Wire
from tests.object_store import seaweed
from tests.postgres import postgres_pair
from tests.servers import Servers
from tests.services import serving
from tests.soak import ABROAD, HOME, Places, Soak, written

pytestmark = [
    pytest.mark.needs("postgres", "seaweedfs", "redis", "packets"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    """Two servers of each kind, at home and abroad."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="residency-soak-")))
        folder.chmod(0o755)
        for place in ("vn", "sg"):
            (folder / f"weed-{place}").mkdir()
        servers = stack.enter_context(Servers(folder, {"redis": find_redis()}))
        addresses = {"vn": HOME, "sg": ABROAD}
        yield Places(
            stack.enter_context(postgres_pair()),
            {
                place: stack.enter_context(seaweed(find_weed(), folder / f"weed-{place}", address))
                for place, address in addresses.items()
            },
            {
                place: servers.single("redis", "--rdbcompression", "no", address=address)
                for place, address in addresses.items()
            },
            {place: stack.enter_context(serving(address)) for place, address in addresses.items()},
        )


@pytest.mark.parametrize(
    "seconds", [float(os.environ.get("RESIDENCY_SOAK", "60")), pytest.param(600.0, marks=pytest.mark.slow)]
)
def test_nothing_of_people_at_home_is_found_abroad(places: Places, tmp_path: Path, seconds: float) -> None:
    with Wire() as wire:
        soak = Soak(tmp_path, places, wire, seed=int(seconds))
        soak.run(seconds)
        soak.settle()
        assert wire.dropped == 0, "what the kernel dropped could not be searched"
        found, searched = soak.found_abroad()
        at_home = soak.found_at_home()
        print(f"\n{sum(soak.answers.values())} requests; searched:\n{written(searched)}canaries at home: {at_home}")
        assert soak.wrong == []
        assert found == []
        assert min(searched.values()) > 0
        assert min(at_home.values()) > 20, "what never was at home proves nothing"
        served = Counter(status.rpartition(" ")[2] for status in soak.answers.elements())
        assert served["200"] > sum(served.values()) / 4, soak.answers
        for who in ("home", "abroad"):
            for path in ("POST /people", "GET /people", "PUT /people", "DELETE /people", "POST /ask", "POST /late"):
                assert soak.answers[f"{who} {path} 200"] > 0, (who, path, soak.answers)
        for how, secret in ENCODED.items():
            planted = soak.plant(how, secret)
            assert min(planted.values()) > 0, (how, planted)
        leaked, _ = soak.found_abroad()
        assert len(leaked) > len(ENCODED) * 6
