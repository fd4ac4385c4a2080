"""Every place that a log can be shipped to keeps one contract: a folder, a bucket (stubbed), a bucket of SeaweedFS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from residency.audit.mirror import Place
from residency.errors import VerificationError
from residency.wiring.mirror import place_at
from tests.conftest import find_weed
from tests.object_store import aws, seaweed, stub_s3


@pytest.fixture(scope="module")
def weed_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweed(find_weed(), tmp_path_factory.mktemp("weed")) as server:
        yield server.endpoint


@pytest.fixture(params=["folder", "stub", pytest.param("seaweedfs", marks=pytest.mark.needs("seaweedfs"))])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Each kind of place in turn, empty."""
    if request.param == "folder":
        (tmp_path / "mirror").mkdir()
        yield place_at(f"file://{tmp_path}/mirror")
    elif request.param == "stub":
        with stub_s3(monkeypatch):
            yield place_at("s3://bucket/log")
    else:
        aws(monkeypatch, request.getfixturevalue("weed_endpoint"))
        yield place_at(f"s3://first-bucket/{tmp_path.name}")


def test_what_is_written_is_read(place: Place) -> None:
    assert place.read("tile/entries/x001/234") is None
    place.write("tile/entries/x001/234", b"\0entries")
    assert place.read("tile/entries/x001/234") == b"\0entries"
    place.write("tile/entries/x001/234", b"")
    assert place.read("tile/entries/x001/234") == b""


def test_what_is_final_is_put_once_and_never_replaced(place: Place) -> None:
    assert place.create("tile/0/000.p/7", b"seven")
    assert not place.create("tile/0/000.p/7", b"seven")
    with pytest.raises(VerificationError, match=r"something else as tile/0/000\.p/7"):
        place.create("tile/0/000.p/7", b"other")
    assert place.read("tile/0/000.p/7") == b"seven"


def test_what_lies_below_a_path_goes_and_nothing_beside_it(place: Place) -> None:
    for path in ("tile/0/000.p/3", "tile/0/000.p/4", "tile/0/000", "tile/0/001.p/3"):
        place.write(path, b"x")
    place.prune("tile/0/000.p")
    place.prune("tile/0/000.p")
    assert [place.read(f"tile/0/{name}") for name in ("000.p/3", "000.p/4", "000", "001.p/3")] == [
        None,
        None,
        b"x",
        b"x",
    ]
