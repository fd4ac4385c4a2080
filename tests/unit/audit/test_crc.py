"""The journal's checksum is the crc32 that everyone knows, whoever computes it."""

from __future__ import annotations

import importlib
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit import crc


@given(st.binary(max_size=2_000), st.integers(0, 2**32 - 1))
def test_it_is_that_of_zlib_for_any_bytes_and_any_beginning(data: bytes, start: int) -> None:
    assert crc.crc32(data, start) == zlib.crc32(data, start)
    assert crc.crc32(data) == zlib.crc32(data)


def test_it_goes_on_over_pieces_of_any_kind() -> None:
    data = bytes(range(256)) * 300
    for cut in (0, 1, 7, 16, 4096, len(data)):
        assert crc.crc32(memoryview(data)[cut:], crc.crc32(bytearray(data[:cut]))) == zlib.crc32(data)


def test_zlib_serves_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "isal.isal_zlib", None)
        assert importlib.reload(crc).crc32 is zlib.crc32
    importlib.reload(crc)
