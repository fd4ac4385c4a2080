"""Paths are those of C2SP tlog-tiles, and bundles and tiles come back or say where they break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.tiles import bundle_path, format_bundle, parse_bundle, parse_tile, tile_path, tile_sizes
from residency.errors import VerificationError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (tile_path(0, 0), "tile/0/000"),
        (tile_path(0, 0, 5), "tile/0/000.p/5"),
        (tile_path(3, 999), "tile/3/999"),
        (tile_path(0, 1000), "tile/0/x001/000"),
        (tile_path(0, 1234067), "tile/0/x001/x234/067"),
        (tile_path(2, 1234067, 8), "tile/2/x001/x234/067.p/8"),
        (bundle_path(0), "tile/entries/000"),
        (bundle_path(1234067, 255), "tile/entries/x001/x234/067.p/255"),
    ],
)
def test_a_path_is_the_one_of_the_specification(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        (0, []),
        (1, [(0, 0, 1)]),
        (256, [(0, 1, 0), (1, 0, 1)]),
        (70_000, [(0, 273, 112), (1, 1, 17), (2, 0, 1)]),
    ],
)
def test_a_tree_has_the_tiles_that_the_specification_counts(size: int, levels: list[tuple[int, int, int]]) -> None:
    assert list(tile_sizes(size)) == levels


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_comes_back(entries: list[bytes]) -> None:
    assert list(parse_bundle(format_bundle(entries), len(entries), "here")) == entries


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5), st.data())
def test_a_bundle_cut_anywhere_is_refused_by_name(entries: list[bytes], data: st.DataObject) -> None:
    whole = format_bundle(entries)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(VerificationError, match="tile/entries/000"):
        parse_bundle(whole[:cut], len(entries), "tile/entries/000")


def test_a_bundle_with_something_behind_it_is_refused() -> None:
    with pytest.raises(VerificationError, match="3 bytes after its 1 entries"):
        parse_bundle(format_bundle([b"a"]) + b"\0\0\0", 1, "here")


def test_a_tile_of_another_size_is_refused() -> None:
    assert parse_tile(bytes(64), 2, "here") == (bytes(32), bytes(32))
    with pytest.raises(VerificationError, match="here is 63 bytes"):
        parse_tile(bytes(63), 2, "here")
