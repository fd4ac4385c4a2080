"""Where a connection goes: to exactly the addresses that were judged, and to no private one that a name smuggles in."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpcore
import pytest

from residency.adapters.resolver_table import TableResolver
from residency.adapters.sink_http import Endpoint
from residency.adapters.sink_http.connect import Judged
from residency.errors import SinkUnavailable
from tests.services import SG_HOST, VN_HOST, raw

pytestmark = pytest.mark.anyio
NOBODY = "0.0.0.0"  # noqa: S104 - nothing is bound to it


def judged(
    *answers: tuple[str, ...],
    url: str = "https://llm.test/v1/",
    allow_private: bool | None = None,
    elsewhere: Callable[[str], bool] | None = None,
) -> tuple[Judged, TableResolver]:
    """The way to `url`, whose host has `answers` one after the other."""
    endpoint = Endpoint("llm", url)
    resolver = TableResolver({endpoint.host: answers})
    return Judged("llm", endpoint, resolver, allow_private, elsewhere), resolver


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", NOBODY, "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%lo", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::", "nonsense",
        "fec0::1", "64:ff9b:1::a00:1", "::10.0.0.1", "::ffff:0:a9fe:a9fe", "5f00::1", "3fff::1", "192.0.0.8", "fc00::1",
        "127.1",
    ],
)  # fmt: skip
async def test_a_name_that_points_inside_is_refused_even_among_others(address: str) -> None:
    for answer in ((address,), ("113.160.0.1", address)):
        way, _ = judged(answer)
        with pytest.raises(SinkUnavailable, match="sink 'llm' has a name with an address that it may not lie at"):
            await way.addresses()


async def test_addresses_of_the_internet_are_taken_in_order_and_no_more_than_four() -> None:
    way, _ = judged(("113.160.0.1", "2405:4800::1", "64:ff9b::71a0:1", "113.160.0.2", "113.160.0.3"))
    assert await way.addresses() == ("113.160.0.1", "2405:4800::1", "64:ff9b::71a0:1", "113.160.0.2")


async def test_private_addresses_are_taken_where_that_was_said_but_never_those_of_a_link() -> None:
    way, _ = judged(("10.0.0.1",), ("127.0.0.2",), ("169.254.169.254",), ("224.0.0.1",), (NOBODY,), allow_private=True)
    assert [await way.addresses(), await way.addresses()] == [("10.0.0.1",), ("127.0.0.2",)]
    for _ in range(3):
        with pytest.raises(SinkUnavailable):
            await way.addresses()


async def test_a_url_that_names_an_address_asks_nobody() -> None:
    for url, host in (("http://127.0.0.2:1/", "127.0.0.2"), ("http://[::1]/", "::1"), ("http://10.0.0.1/", "10.0.0.1")):
        way, resolver = judged((), url=url)
        assert await way.addresses() == (host,)
        assert resolver.asked == []


async def test_localhost_is_this_machine_and_nothing_else() -> None:
    way, _ = judged(("127.0.0.1", "::1"), ("113.160.0.1",), ("10.0.0.1",), url="http://localhost:8000/")
    assert await way.addresses() == ("127.0.0.1", "::1")
    for _ in range(2):
        with pytest.raises(SinkUnavailable):
            await way.addresses()


async def test_a_name_without_an_address_is_an_error_that_names_the_sink() -> None:
    way, _ = judged(())
    with pytest.raises(SinkUnavailable, match="sink 'llm' has a name that cannot be resolved now") as caught:
        await way.connect_tcp("llm.test", 443, timeout=1)
    assert "test" not in str(caught.value)


async def test_the_connection_goes_to_the_address_that_was_judged_though_the_name_moves_meanwhile() -> None:
    with raw(VN_HOST, b"vn") as vn, raw(SG_HOST, b"sg") as sg:
        way, resolver = judged((VN_HOST,), (SG_HOST,), allow_private=True)
        stream = await way.connect_tcp("llm.test", vn.port, timeout=5)
        await stream.write(b"canary")
        assert await stream.read(10) == b"vn"
        await stream.aclose()
        assert resolver.asked == ["llm.test"]  # once: what is connected to is what was judged
        assert sg.connections == 0


async def test_a_name_that_turns_private_is_refused_at_the_next_connection() -> None:
    way, _ = judged(("113.160.0.1",), (VN_HOST,))
    await way.addresses()
    with raw(VN_HOST, b"inside") as inside:
        with pytest.raises(SinkUnavailable):
            await way.connect_tcp("llm.test", inside.port, timeout=5)
        assert inside.connections == 0


async def test_a_name_that_moves_to_another_country_is_refused_at_the_next_connection() -> None:
    with raw(SG_HOST, b"sg") as sg:
        way, _ = judged((VN_HOST,), (VN_HOST, SG_HOST), allow_private=True, elsewhere=SG_HOST.__eq__)
        assert await way.addresses() == (VN_HOST,)
        with pytest.raises(SinkUnavailable, match="sink 'llm' has an address in another country than it says"):
            await way.connect_tcp("llm.test", sg.port, timeout=5)
        there, _ = judged((), url=f"http://{SG_HOST}:{sg.port}/", elsewhere=SG_HOST.__eq__)
        with pytest.raises(SinkUnavailable, match="in another country"):
            await there.connect_tcp(SG_HOST, sg.port, timeout=5)
        assert sg.connections == 0


async def test_the_next_address_is_tried_where_one_takes_no_connection() -> None:
    with raw(VN_HOST, b"vn") as vn:
        way, _ = judged(("127.0.0.9", VN_HOST), allow_private=True)
        stream = await way.connect_tcp("llm.test", vn.port, timeout=5)
        await stream.aclose()
        nobody, _ = judged(("127.0.0.9", "127.0.0.10"), allow_private=True)
        with pytest.raises(httpcore.ConnectError):
            await nobody.connect_tcp("llm.test", vn.port, timeout=5)


async def test_a_resolver_that_does_not_answer_is_waited_for_no_longer_than_a_connection() -> None:
    class Silent:
        async def resolve(self, host: str) -> tuple[str, ...]:
            await anyio.sleep_forever()
            raise AssertionError

    way = Judged("llm", Endpoint("llm", "https://llm.test/"), Silent(), None)
    with pytest.raises(httpcore.ConnectTimeout):
        await way.connect_tcp("llm.test", 443, timeout=0.05)
    await way.sleep(0)
