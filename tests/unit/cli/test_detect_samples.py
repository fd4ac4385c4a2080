"""Samples: documents, lists and lines become records; what is broken is told without a word of it."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.cli import detect_samples
from residency.cli.detect_samples import records
from residency.errors import UsageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(data: bytes) -> list[object]:
    return [record.value for record in records(io.BytesIO(data))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": 1}', [{"a": 1}]),
        (b'\n \n{\n "a": 1\n}\n', [{"a": 1}]),
        (b'{"a": 1}\n\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (b'[{"a": 1}, {"a": 2}]\n', [{"a": 1}, {"a": 2}]),
        (b'[\n{"a": 1}\n]', [{"a": 1}]),
        (b'\xef\xbb\xbf{"a": 1}', [{"a": 1}]),
        (b"1\n2", [1, 2]),
    ],
)
def test_documents_lists_and_lines_are_read(data: bytes, expected: list[object]) -> None:
    assert read(data) == expected


@given(st.lists(JSON.filter(lambda value: not isinstance(value, list)), min_size=1, max_size=5))
def test_records_are_the_same_in_lines_and_in_a_list_and_all_bytes_are_counted(values: list[object]) -> None:
    lines = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    listed = json.dumps(values, indent=1).encode()
    assert read(lines) == values == read(listed)
    for data in (lines, listed):
        assert sum(record.size for record in records(io.BytesIO(data))) == len(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the sample is empty"),
        (b"\n \n", "the sample is empty"),
        (b"[]", "the sample has no record: its list is empty"),
        (b'{"phone": 0912345678', "the sample is neither JSON nor JSON lines"),
        (b"\xff\xfe\xfd", "the sample is neither JSON nor JSON lines"),
        (b"[" * 100_000, "the sample is neither JSON nor JSON lines"),
        (b'{"a": ' + b"1" * 5000 + b"}", "the sample is neither JSON nor JSON lines"),
        (b'{"a": 1}\n\n{"phone": 0912345678', "line 3 of the sample is not JSON"),
    ],
)
def test_what_is_broken_is_told_without_a_word_of_it(data: bytes, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(data)
    assert str(caught.value) == told
    assert caught.value.__context__ is None


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect_samples, "LARGEST", 1 << 20)
    for data, told in (
        (b'"' + b"a" * (1 << 20), "line 1 of the sample is longer than 1 MB"),
        (b"{}\n" + b'"' + b"a" * (1 << 20), "line 2 of the sample is longer than 1 MB"),
        (b"[\n" + b" " * (1 << 20) + b"]", "the sample is one document of more than 1 MB: give it as JSON lines"),
    ):
        with pytest.raises(UsageError, match=told):
            read(data)
