"""A bucket as a place for a log: what its answers mean, and what of them is never told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest

from residency.adapters import log_objects
from residency.adapters.log_objects import LogObjects, parse_s3_url
from residency.errors import Unavailable, UsageError, VerificationError
from tests.object_store import SECRET, StubS3, stub_s3

DAY = 86_400_000_000


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """A stub of S3, and the environment that leads to it."""
    with stub_s3(monkeypatch) as server:
        yield server


@pytest.fixture
def place(stub: StubS3) -> Iterator[LogObjects]:
    """A place below a prefix of the stub."""
    objects = LogObjects("s3://bucket/chat-api/log", timeout=20, retries=0)
    yield objects
    objects.close()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://my.bucket-1/", ("my.bucket-1", "")),
        ("s3://bucket/a/b/", ("bucket", "a/b")),
    ],
)
def test_a_url_is_a_bucket_and_a_prefix(url: str, parts: tuple[str, str]) -> None:
    assert parse_s3_url(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "https://bucket/a",
        "s3://",
        "s3:///a",
        "s3://KEY:TOP@bucket/a",
        "s3://KEY@bucket",
        "s3://bucket/a?TOP",
        "s3://b/a#TOP",
    ],
)
def test_other_urls_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="expected s3://BUCKET/PREFIX") as refused:
        parse_s3_url(url)
    assert "TOP" not in str(refused.value)


def test_objects_lie_below_the_prefix(place: LogObjects, stub: StubS3) -> None:
    place.write("checkpoint", b"signed")

    assert stub.objects == {"chat-api/log/checkpoint": b"signed"}


def test_a_final_object_is_put_once(place: LogObjects, stub: StubS3) -> None:
    assert place.create("tile/0/000", b"hashes")
    assert not place.create("tile/0/000", b"hashes")

    assert stub.versions == [("chat-api/log/tile/0/000", b"hashes")]


def test_a_final_object_with_other_bytes_is_left_as_it_is(place: LogObjects, stub: StubS3) -> None:
    place.create("tile/0/000", b"hashes")
    with pytest.raises(VerificationError, match="something else as tile/0/000"):
        place.create("tile/0/000", b"others")

    assert stub.versions == [("chat-api/log/tile/0/000", b"hashes")]


def test_a_lock_is_read_as_the_store_tells_it(place: LogObjects, stub: StubS3) -> None:
    stub.retention = ("COMPLIANCE", timedelta(days=800))
    place.write("checkpoint", b"signed")
    lock = place.lock("checkpoint")

    assert (lock.mode, lock.until) == ("COMPLIANCE", lock.put + 800 * DAY)


def test_no_lock_is_not_a_lock_that_is_unknown(place: LogObjects, stub: StubS3) -> None:
    place.write("checkpoint", b"signed")
    assert (place.lock("checkpoint").mode, place.lock("checkpoint").until) == ("", None)

    stub.bend = lambda method, _key: 403 if method == "HEAD" else None
    with pytest.raises(Unavailable, match=r"lock of checkpoint cannot be read \(status 403\)"):
        place.lock("checkpoint")


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_an_answer_that_is_no_answer_is_told_by_path_and_status_alone(
    place: LogObjects, stub: StubS3, status: int
) -> None:
    stub.bend = lambda _method, _key: status
    for act in (
        lambda: place.read("tile/0/000"),
        lambda: place.create("tile/0/000", b"x"),
        lambda: place.write("tile/0/000", b"x"),
    ):
        with pytest.raises(Unavailable) as told:
            act()
        assert "tile/0/000 (status" in str(told.value)
        assert str(status) in str(told.value)
        for word in ("bucket", "127.0.0.1", "chat-api", SECRET, "Bent"):
            assert word not in str(told.value)
        assert told.value.__cause__ is None


def test_an_object_larger_than_any_of_a_log_is_not_read(place: LogObjects, stub: StubS3) -> None:
    place.write("checkpoint", b"x" * 1001)
    small = LogObjects("s3://bucket/chat-api/log", timeout=20, retries=0, limit=1000)
    with pytest.raises(Unavailable, match=r"^checkpoint cannot be read \(more than 1000 bytes\)$"):
        small.read("checkpoint")
    small.close()


def test_a_store_that_does_not_answer_is_given_up(stub: StubS3) -> None:
    place = LogObjects("s3://bucket/log", timeout=0.2, retries=0)
    stub.delay = 1.0
    with pytest.raises(Unavailable, match=r"read checkpoint \(no answer\)"):
        place.read("checkpoint")
    place.close()


def test_a_store_that_fails_for_a_moment_is_asked_again(stub: StubS3) -> None:
    place = LogObjects("s3://bucket/log", timeout=5, retries=2)
    left = [1]
    stub.bend = lambda _method, _key: 503 if left.pop() else None
    left = [0, 1]
    assert place.read("checkpoint") is None
    place.close()


def test_what_lies_below_a_path_is_removed_and_nothing_beside_it(place: LogObjects, stub: StubS3) -> None:
    for path in ("tile/0/000.p/3", "tile/0/000.p/4", "tile/0/000", "tile/0/001.p/3"):
        place.write(path, b"x")
    place.prune("tile/0/000.p")
    place.prune("tile/0/009.p")

    assert sorted(stub.objects) == ["chat-api/log/tile/0/000", "chat-api/log/tile/0/001.p/3"]


def test_a_forked_process_says_so_and_does_not_hang(place: LogObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_objects, "_used_by", os.getpid() + 1)
    with pytest.raises(Unavailable, match="forked"):
        place.read("checkpoint")
