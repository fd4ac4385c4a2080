"""The location that Google says a bucket has, to who signs as a service account that may know it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from residency.adapters.bucket_region_gs import location_of
from residency.errors import Unavailable
from residency.storage.location import BucketAnswer
from residency.wiring.location import _asks_google, ways_of
from tests.conftest import find_fake_gcs
from tests.gcs import Translator, gcs
from tests.object_store import StubS3

pytestmark = pytest.mark.anyio
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    """A server with a bucket called `objects`, which lies in Singapore."""
    with gcs(find_fake_gcs(), tmp_path_factory.mktemp("gcs"), "ASIA-SOUTHEAST1") as server:
        yield server


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[tuple[StubS3, Path]]:
    """A server that answers as it is told, and the key of an account."""
    made, account = StubS3(), Translator("127.0.0.1:1", tmp_path)
    account.close()
    yield made, account.account
    made.close()


@pytest.mark.needs("fake-gcs-server")
async def test_google_says_the_location_to_the_account(google: Translator) -> None:
    assert await location_of(google.endpoint, "objects", google.account) == "asia-southeast1"
    assert await location_of(google.endpoint, "nowhere", google.account) is None
    (way,) = ways_of(google.url("objects", "x"))
    assert way.bucket is not None
    assert await way.bucket() == BucketAnswer("asia-southeast1", None, None)  # somebody, but not Google, says so
    asks = _asks_google(google.endpoint, "objects", {"service_account": str(google.account)}, of_google=True)
    assert asks is not None
    assert await asks() == BucketAnswer("asia-southeast1", None, "SG")


@pytest.mark.needs("fake-gcs-server")
async def test_an_account_that_is_not_known_is_told_nothing(google: Translator, tmp_path: Path) -> None:
    other = Translator(google.fake, tmp_path)
    other.close()
    assert await location_of(google.endpoint, "objects", other.account) is None


async def test_a_refusal_and_nonsense_say_no_location_and_a_failure_is_none(stub: tuple[StubS3, Path]) -> None:
    server, account = stub
    for status in (403, 404, 200):  # the last with a body that is not JSON
        server.bend = lambda _method, _key, status=status: status  # type: ignore[misc]  # bound by default
        assert await location_of(server.endpoint, "objects", account) is None
    server.bend = lambda _method, _key: 503
    with pytest.raises(Unavailable):
        await location_of(server.endpoint, "objects", account)
    with pytest.raises(Unavailable) as caught:
        await location_of(NOWHERE, "objects", account)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    "told",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b'{"private_key": 1}',
        b'{"private_key": "x", "private_key_id": "1", "client_email": "a"}',
    ],
)
async def test_with_what_is_no_key_of_an_account_nobody_is_asked(told: bytes | None, tmp_path: Path) -> None:
    account = tmp_path / "account.json"
    if told is not None:
        account.write_bytes(told)
    assert await location_of(NOWHERE, "objects", account) is None


async def test_a_key_of_another_kind_is_no_key_of_an_account(tmp_path: Path) -> None:
    form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, form, clear).decode()
    account = tmp_path / "account.json"
    account.write_text(json.dumps({"private_key": pem, "private_key_id": "1", "client_email": "a"}))
    assert await location_of(NOWHERE, "objects", account) is None
