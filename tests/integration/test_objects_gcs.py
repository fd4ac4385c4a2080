"""A bucket of Google Cloud Storage, as fake-gcs-server plays it: who may, what is missing, what is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from residency.adapters.sink_objects import BucketSink
from residency.errors import SinkUnavailable
from residency.model import Region
from tests.conftest import find_fake_gcs
from tests.gcs import Translator, gcs

pytestmark = [pytest.mark.anyio, pytest.mark.needs("fake-gcs-server")]
REGION = Region("sg", "SG")


@pytest.fixture
def anyio_backend() -> str:
    """What the client of buckets runs on."""
    return "asyncio"


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    """A server with a bucket called `objects`."""
    with gcs(find_fake_gcs(), tmp_path_factory.mktemp("gcs")) as server:
        yield server


async def test_one_who_signs_with_another_key_is_denied(google: Translator, tmp_path: Path) -> None:
    other = Translator(google.fake, tmp_path)
    try:
        url = f"gs://objects/x?service_account={other.account}&endpoint={google.endpoint}&timeout=60"
        with pytest.raises(SinkUnavailable) as caught:
            await BucketSink("uploads-sg", REGION, url).start()
    finally:
        other.close()
    assert str(caught.value) == "sink 'uploads-sg' cannot be read or written (status 401, access is denied)"


async def test_a_bucket_that_is_missing_is_no_empty_sink(google: Translator) -> None:
    sink = BucketSink("uploads-sg", REGION, google.url("nowhere", "x"))
    for call in (sink.start(), sink.get("k"), sink.head("k"), sink.open("k"), sink.delete("k"), sink.put("k", b"1")):
        with pytest.raises(SinkUnavailable, match="its bucket is not there"):
            await call


async def test_of_uploads_that_were_given_up_no_part_is_left(google: Translator) -> None:
    sink = BucketSink("uploads-sg", REGION, google.url("objects", "given-up"))
    await sink.start()
    upload = await sink.upload("k")
    for _ in range(11):
        await upload.write(b"x" * (1 << 20))
    assert google.uploads
    await upload.abort()
    assert google.uploads == {}
    assert await sink.get("k") is None
