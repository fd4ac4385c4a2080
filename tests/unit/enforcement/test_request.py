"""What is read off a request before anything is decided."""

from __future__ import annotations

import pytest

from residency.enforcement.request import statutory_detail
from residency.model import SubjectId


@pytest.mark.parametrize(
    ("peer", "port"),
    [
        (("113.160.0.1", 50_123), 50_123),
        (("10.0.0.9", 50_123), None),  # the port of a proxy of ours is not the person's
        (("113.160.0.1", 0), None),  # a server that took the address from a header knows no port, and writes 0
        (None, None),
    ],
)
def test_the_source_port_is_the_persons_own_or_unknown(peer: tuple[str, int] | None, port: int | None) -> None:
    detail = statutory_detail(SubjectId("an"), "113.160.0.1", peer, 7)
    assert detail == {"account": "an", "address": "113.160.0.1", "port": port, "at": 7}
