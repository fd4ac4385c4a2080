"""Redis over TLS alone: caches, pins and locators reach it, and only the one whose certificate and name are right."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import anyio
import pytest

from residency.adapters.locator_redis import LocatorRedis
from residency.adapters.pins_redis import PinsRedis
from residency.errors import PinsUnavailable, SinkUnavailable
from residency.model import Anchor, Pin, Trust
from residency.storage.locator import Located
from tests.authority import Authority
from tests.cache_world import redis_sink_at
from tests.ports import free_port
from tests.servers import Server, Servers

pytestmark = [pytest.mark.anyio, pytest.mark.needs("redis")]
PIN = Pin("5" * 64, "VN", ((Anchor.TERRITORY, "VN", Trust.NETWORK),), "a1" * 16, "write", "0" * 64, 1)
SECRET = "s3cret"


class Guarded:
    """A server that takes TLS from clients of its authority, with a password."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.authority, other = Authority(folder, "authority"), Authority(folder, "other")
        certificate, private = self.authority.sign("server", "127.0.0.1")
        self.client, self.stranger = self.authority.sign("client", "127.0.0.1"), other.sign("stranger", "127.0.0.1")
        self.other, self.port = other, free_port()
        self.server: Server = servers.single(
            "redis", "--tls-cert-file", str(certificate), "--tls-key-file", str(private),
            "--tls-ca-cert-file", str(self.authority.file), "--requirepass", SECRET,
            "--tls-port", str(self.port), wait=False,
        )  # fmt: skip

    def url(
        self, host: str = "127.0.0.1", *, authority: Path | None = None, client: tuple[Path, Path] | None = None
    ) -> str:
        """Its URL, as one with these files has it."""
        certificate, private = client or self.client
        words = {"ssl_ca_certs": authority or self.authority.file, "ssl_certfile": certificate, "ssl_keyfile": private}
        options = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in words.items())
        return f"rediss://:{SECRET}@{host}:{self.port}/0?{options}&socket_timeout=5"


@pytest.fixture
def guarded(tmp_path: Path, redis_servers: Servers) -> Guarded:
    """The server, and the files that it takes to talk to it."""
    (tmp_path / "keys").mkdir()
    return Guarded(tmp_path / "keys", redis_servers)


async def test_a_cache_and_a_queue_lie_behind_tls(guarded: Guarded, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    sink = redis_sink_at(tmp_path / "w", guarded.url(), scope="primary")
    await sink.start()
    await sink.keep({b"k": b"value"}, 60_000)
    assert await sink.fetch([b"k", b"none"]) == [b"value", None]
    assert await sink.push(b"q", b"job")
    given = await sink.pull(b"q", "w", 1000, 1000)
    assert given is not None
    assert (given.job, await sink.finish(b"q", given.id)) == (b"job", True)
    await sink.aclose()


async def test_who_shows_the_wrong_name_or_comes_from_another_authority_is_not_talked_to(
    guarded: Guarded, tmp_path: Path
) -> None:
    (tmp_path / "w").mkdir()
    for url in (
        guarded.url("localhost"),  # its certificate is of an address
        guarded.url(authority=guarded.other.file),
        guarded.url(client=guarded.stranger),  # nor does the server talk to one that it does not know
        guarded.url().replace("rediss", "redis").partition("?")[0],  # nor without TLS
    ):
        sink = redis_sink_at(tmp_path / "w", url, scope="primary")
        with pytest.raises(SinkUnavailable, match="'cache-vn'") as caught:
            await sink.start()
        told = f"{caught.value!r} {caught.value.__cause__!r}"
        assert SECRET not in told
        assert str(guarded.port) not in told
        await sink.aclose()


async def test_pins_hear_of_each_others_changes_over_tls(guarded: Guarded) -> None:
    one, two = PinsRedis(guarded.url()), PinsRedis(guarded.url())
    assert await two.get(PIN.subject) is None
    await one.put(PIN)
    with anyio.fail_after(30):
        while (found := two.peek(PIN.subject))[0] is None:
            await two.get(PIN.subject)
            await anyio.sleep(0.01)
    assert found[0] is not None
    assert found[0].home == "VN"
    await one.aclose()
    await two.aclose()
    with pytest.raises(PinsUnavailable) as caught:
        PinsRedis(guarded.url(authority=guarded.other.file), timeout=2)
    assert SECRET not in repr(caught.value)


async def test_a_locator_lies_behind_tls(guarded: Guarded) -> None:
    locator = LocatorRedis(guarded.url(), deployment="test", place="VN")
    await locator.note([Located("0" * 64, "1" * 64)])
    assert await locator.owners(["0" * 64, "2" * 64]) == ("1" * 64, None)
    await locator.aclose()
