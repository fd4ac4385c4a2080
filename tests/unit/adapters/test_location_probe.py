"""What can be seen of where a way leads: real names of a table, real connections, real certificates."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from residency.adapters.location_probe import LocationProbe, Way
from residency.adapters.resolver_table import TableResolver
from residency.errors import Unavailable
from residency.signals.table import Row
from residency.storage.location import BucketAnswer, Certificate, Standing, Which, judge
from tests.open_sockets import until
from tests.world import NETWORK

pytestmark = pytest.mark.anyio
HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"


def row_of(address: str) -> Row:
    """The shipped table's word on an address."""
    return NETWORK.table.rows[NETWORK.table.lookup(address)]


def probe(tls: ssl.SSLContext | None = None, **names: tuple[str, ...]) -> LocationProbe:
    """A probe whose names are these."""
    return LocationProbe(
        TableResolver({name.replace("_", "."): [found] for name, found in names.items()}), row_of, tls=tls
    )


@asynccontextmanager
async def listening(serve: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A server of this machine; its port."""

    async def whole(stream: SocketStream) -> None:
        try:
            with suppress(ssl.SSLError, OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                await serve(stream)  # who only knocks, or does not believe us, breaks off
        finally:
            await anyio.aclose_forcefully(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, whole)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610 - anyio's
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    await listener.aclose()


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate of `name`, made out in Vietnam, and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "VN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "An Toàn\x07 Ltd"),
        ]
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "both.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    return file


def contexts(folder: Path, name: str = "db.example") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(the server's, that of a client who believes it)."""
    file = certificate(folder, name)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=file)


class Nowhere(LocationProbe):
    """Connects to nothing: nobody abroad is called by a test."""

    async def _round_trip(self, addresses: tuple[str, ...], port: int) -> tuple[int | None, str | None]:
        return None, None


async def test_every_address_of_a_name_is_looked_up_whether_anybody_listens_there_or_not() -> None:
    found = (HANOI, SINGAPORE, "127.0.0.1", "10.0.0.1", "::ffff:10.0.0.2", "::1", "no address")
    seen = await Nowhere(TableResolver({"db.example": [found]}), row_of).look(Way("db.example", 5432))
    assert [(each.text, each.reach, each.country) for each in seen.addresses] == [
        (HANOI, "public", "VN"), (SINGAPORE, "public", "SG"), ("127.0.0.1", "local", None),
        ("10.0.0.1", "private", None), ("10.0.0.2", "private", None), ("::1", "local", None),
    ]  # fmt: skip
    assert seen.problem is None


async def test_the_time_to_connect_is_the_least_of_several() -> None:
    taken = 0

    async def count(stream: SocketStream) -> None:
        nonlocal taken
        taken += 1
        await stream.aclose()

    async with listening(count) as port:
        seen = await probe().look(Way("127.0.0.1", port))
        await until(lambda: taken == 3, "three connections")
        await anyio.sleep(0.05)
    assert seen.round_trip is not None
    assert seen.round_trip > 0
    assert taken == 3


async def test_a_name_that_cannot_be_resolved_is_told_and_no_error() -> None:
    seen = await probe().look(Way("db.example", 5432))
    assert (seen.problem, seen.addresses) == ("its name cannot be resolved now", ())
    assert "db.example" not in repr(Way("db.example"))


async def test_a_name_without_an_address_and_one_of_many_addresses_are_told_for_what_they_are() -> None:
    seen = await probe(db_example=("nothing that can be read",)).look(Way("db.example", 5432))
    assert (seen.problem, seen.addresses) == ("its name has no address", ())
    many = tuple(f"113.160.0.{number}" for number in range(1, 50))
    seen = await Nowhere(TableResolver({"db.example": [(*many, SINGAPORE)]}), row_of).look(Way("db.example", 5432))
    assert len(seen.addresses) == 50
    verdict = judge("VN", [seen], attested=True)
    assert (verdict.standing, verdict.why) == (Standing.CONTRADICTED, ("it has an address in SG",))


@pytest.mark.parametrize(
    "address", [f"::ffff:{SINGAPORE}", "::ffff:a515:1", "64:ff9b::a515:1", f"64:ff9b::{SINGAPORE}"]
)
async def test_an_ipv4_address_within_an_ipv6_one_is_the_one_that_is_reached(address: str) -> None:
    seen = await Nowhere(TableResolver({"db.example": [(address,)]}), row_of).look(Way("db.example", 5432))
    assert [(each.text, each.country) for each in seen.addresses] == [(SINGAPORE, "SG")]


async def test_where_nobody_listens_the_addresses_are_seen_all_the_same() -> None:
    async with listening(_nothing) as port:
        pass
    seen = await probe().look(Way("127.0.0.1", port, "tls"))
    assert (seen.problem, seen.round_trip, seen.certificate, len(seen.addresses)) == (None, None, None, 1)


@pytest.mark.parametrize("name", ["db.example", "other.example"])
async def test_a_certificate_is_read_whether_it_verifies_for_the_name_or_not(tmp_path: Path, name: str) -> None:
    server, client = contexts(tmp_path, name)

    async def serve(stream: SocketStream) -> None:
        wrapped = await TLSStream.wrap(stream, server_side=True, ssl_context=server, standard_compatible=False)
        await wrapped.aclose()

    async with listening(serve) as port:
        seen = await probe(client, db_example=("127.0.0.1",)).look(Way("db.example", port, "tls"))
    assert seen.certificate == Certificate(name == "db.example", "VN", "VN", "An Toàn Ltd")


async def test_a_certificate_of_postgresql_is_read_behind_its_own_greeting(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)

    async def serve(stream: SocketStream) -> None:
        if await stream.receive(8) != bytes.fromhex("0000000804d2162f"):
            return
        await stream.send(b"S")
        wrapped = await TLSStream.wrap(stream, server_side=True, ssl_context=server, standard_compatible=False)
        await wrapped.aclose()

    async with listening(serve) as port:
        seen = await probe(client, db_example=("127.0.0.1",)).look(Way("db.example", port, "postgres"))
    assert seen.certificate == Certificate(True, "VN", "VN", "An Toàn Ltd")


async def test_a_postgresql_without_tls_has_no_certificate() -> None:
    async def serve(stream: SocketStream) -> None:
        await stream.receive(8)
        await stream.send(b"N")

    async with listening(serve) as port:
        seen = await probe().look(Way("127.0.0.1", port, "postgres"))
    assert seen.certificate is None


async def test_what_is_no_tls_has_no_certificate() -> None:
    async def serve(stream: SocketStream) -> None:
        await stream.send(b"220 hello\r\n")

    async with listening(serve) as port:
        seen = await probe().look(Way("127.0.0.1", port, "tls"))
    assert seen.certificate is None


async def test_a_bucket_is_asked_and_one_that_does_not_answer_is_told() -> None:
    async def answers() -> BucketAnswer:
        return BucketAnswer("a", "a", "VN")

    async def fails() -> BucketAnswer:
        raise Unavailable("a bucket does not answer")

    async with listening(_nothing) as port:
        assert (await probe().look(Way("127.0.0.1", port, bucket=answers))).bucket == BucketAnswer("a", "a", "VN")
        assert (await probe().look(Way("127.0.0.1", port, bucket=fails))).problem == (
            "its bucket does not say now where it lies"
        )


async def test_a_file_is_here_and_the_same_under_each_of_its_names(tmp_path: Path) -> None:
    assert (await probe().look(Way(None))).here
    (tmp_path / "one").touch()
    (tmp_path / "twin").symlink_to("one")
    (tmp_path / "other").touch()
    seen = [await probe().look(Way(None, file=tmp_path / name)) for name in ("one", "twin", "other", "none")]
    assert all(each.here for each in seen)
    one, twin, other, none = (each.which.words for each in seen)
    assert (one == twin, one == other, none) == (True, False, frozenset())


async def test_a_server_that_is_asked_which_it_is_may_say_nothing() -> None:
    def silent() -> Which:
        raise OSError

    told = Which(frozenset({"x"}), ("192.0.2.1",))
    for asked, which in ((lambda: told, told), (silent, Which())):
        assert (await probe().look(Way(None, itself=asked))).which == which


async def _nothing(stream: SocketStream) -> None:
    await stream.aclose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
