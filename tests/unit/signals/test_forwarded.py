"""Elements are cut from the right and read strictly, and a server's rewriting of the peer is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from residency.signals.forwarded import LISTS, MAX_HEADER, MAX_HOPS, names_port, read_element, rewritten

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "addresses" / "forwarded.json").read_text("utf-8"))
CUT = LISTS["forwarded"].from_right


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_an_element_is_its_address_or_nothing(case: dict[str, Any]) -> None:
    found = read_element(case["element"].encode("latin-1"))
    assert (None if found is None else found[0]) == case["address"]


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (b"", [b""]),
        (b"for=a,for=b", [b"for=b", b"for=a"]),
        (b'for="a,b",for="c"', [b'for="c"', b'for="a,b"']),
        (b'x="\\",",y="\\\\"', [b'y="\\\\"', b'x="\\","']),
        (b'"",', [b"", b'""']),
        (b'for=a,"b', [b""]),
        (b'for=a",b="c', [b'for=a",b="c']),
        (b'a,"b,c"', [b'"b,c"', b"a"]),
    ],
)
def test_a_list_with_strings_is_cut_from_the_right(value: bytes, elements: list[bytes]) -> None:
    assert list(CUT(value)) == elements


@pytest.mark.parametrize("one", [b"for=1", b'for="1"'])
def test_no_more_elements_and_bytes_are_read_than_the_limits(one: bytes) -> None:
    assert len(CUT(b",".join([one] * 100))) == MAX_HOPS
    assert len(CUT(b",".join([one] * MAX_HOPS))) == MAX_HOPS
    wide = one + b";x=" + b"y" * MAX_HEADER
    assert list(CUT(b"a," + wide)) == []
    assert list(CUT(wide + b"," + one)) == [one]


@pytest.mark.parametrize(
    "value", [b'"' * 8192, b'\\"' * 4096, b'a="' + b"\\" * 8000 + b'"', b'x="";' * 1600, b',"' * 4096]
)
def test_hostile_headers_end_without_an_address(value: bytes) -> None:
    assert all(read_element(element) is None for element in CUT(value))


@pytest.mark.parametrize(
    ("host", "port", "header", "answer"),
    [
        ("14.160.0.1", 77, b"8.8.8.8, 14.160.0.1:77", True),
        ("14.160.0.1", 77, b"14.160.0.1:78", False),
        ("4.160.0.1", 77, b"14.160.0.1:77", False),
        ("14.160.0.1", 7, b"14.160.0.1:77", False),
        ("14.160.0.1", 77, b"14.160.0.1", False),
        ("14.160.0.1", 77, b"\xa014.160.0.1:+77", True),
        ("14.160.0.1", 77, b"14.160.0.1:x, 14.160.0.1:77", True),
        ("2001:EE0::1", 77, b"[2001:EE0::1]:77", True),
        ("2001:ee0::1", 77, b"2001:ee0::1, 2001:ee0::2", False),
        ("14.160.0.1", 77, b'proto=http;FOR="14.160.0.1:77"', True),
        ("2001:ee0::1", 77, b'for=_a, for="[2001:ee0::1]:77";by=_b', True),
        ("14.160.0.1", 77, b'by="14.160.0.1:77";for=8.8.8.8', False),
        ("\ud800", 77, b"?:77", False),
        ("2001:ee0::1", 77, b"2001:ee0::1:77", False),
        ("2001:ee0::1", 77, b"[2001:ee0::1]77", False),
        ("14.160.0.1", 77, b"", False),
    ],
)
def test_the_host_and_port_of_an_element_are_a_rewritten_peer(
    host: str, port: int, header: bytes, answer: bool
) -> None:
    assert rewritten(host, port, header) is answer
    assert names_port(header) or not answer


@pytest.mark.parametrize("value", [b"", b"14.160.0.1", b"2001:ee0::1, 10.0.0.1", b'for="[2001:ee0::1]";proto=https'])
def test_an_address_without_a_port_names_none(value: bytes) -> None:
    assert not names_port(value)
