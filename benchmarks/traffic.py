"""In: a seed. Out: the requests of the benchmark, the same for every variant: Zipf-like addresses, seven headers."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import Final

__all__ = ["Headers", "addresses", "headers", "raw_request"]

Headers = list[tuple[bytes, bytes]]
POPULATION: Final = 20_000
_PATH: Final = "/v1/articles/17"
# First octets with announced space in many countries, Vietnam's (14, 27, 113, 171) among them.
_OCTETS: Final = (1, 5, 8, 14, 27, 31, 41, 58, 77, 80, 93, 103, 113, 118, 125, 151, 171, 185, 193, 201, 203, 212)


def addresses(count: int, seed: int) -> list[bytes]:
    """`count` client addresses: a few come often, most of 20,000 come seldom."""
    chance = random.Random(seed)
    population = [
        f"{chance.choice(_OCTETS)}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}".encode()
        for _ in range(POPULATION)
    ]
    weights = list(accumulate(1 / rank for rank in range(1, POPULATION + 1)))
    return chance.choices(population, cum_weights=weights, k=count)


def headers(address: bytes) -> Headers:
    """Seven headers as a proxy forwards them, made anew as a server does for each request."""
    return [
        (b"host", b"api.example.org"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        (b"accept", b"application/json"),
        (b"accept-language", b"vi,en;q=0.8"),
        (b"accept-encoding", b"gzip, br"),
        (b"x-forwarded-for", bytes(bytearray(address))),
        (b"x-request-id", b"4f1c2b7a9d"),
    ]


def raw_request(address: bytes) -> bytes:
    """The same request as bytes on a connection that stays open."""
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers(address))
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (_PATH.encode(), lines)
