"""Sinks made of a deployment's URLs, and what is wrong with them told at their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.sink_http import HttpSink
from residency.adapters.sink_members import ObjectMembers
from residency.adapters.sink_objects import BucketSink
from residency.adapters.sink_sql import SqlSink
from residency.enforcement.ports import SinkPort
from residency.errors import PolicyError, SinkUnavailable
from residency.wiring import storage
from tests.world import HANOI, NETWORK, SINGAPORE, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  llm: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "URL"}
stores: {llm: [llm]}
activities:
  - {route: "POST /chat", subject: user, data: [personal], operation: process, http: llm}
"""


def made(folder: Path, url: str, *more: tuple[str, str]) -> HttpSink:
    """The sink of a URL."""
    policy = load_policy(write_deployment(folder, DEPLOYMENT, replace=[("URL", url), *more]))
    sink = storage.sinks(policy.deployment, Path, folder)["llm"]
    assert isinstance(sink, HttpSink)
    return sink


def test_an_https_url_makes_a_sink_of_services(tmp_path: Path) -> None:
    sink = made(tmp_path, "https://llm.example/v1/#x-key=secret")
    assert (sink.name, sink.region.place, sink.credentials) == ("llm", "VN", frozenset({b"x-key"}))
    assert sink.target_of("https://llm.example/v1/chat") == "chat"


def test_its_members_are_further_ways_to_the_same_service(tmp_path: Path) -> None:
    members = '", members: [{region: vn-han, url: "https://b.example/v2/"}]}'
    sink = made(tmp_path, "https://a.example/v1/", ('v1/"}', "v1/" + members))
    assert [sink.target_of(url) for url in ("https://a.example/v1/x", "https://b.example/v2/x")] == ["x", "x"]


@pytest.mark.parametrize("url", ["http://localhost:8000/v1/", "http://127.0.0.2/", "http://[::1]:1/"])
def test_plain_http_is_for_this_machine(tmp_path: Path, url: str) -> None:
    assert not made(tmp_path, url).in_clear


def test_plain_http_to_another_machine_is_a_problem_at_its_line_unless_it_is_declared(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"test\.yaml:\d+:\d+: plain http to another machine is not encrypted"):
        made(tmp_path / "a", "http://llm.example/v1/")
    assert made(
        tmp_path / "b", "http://llm.example/v1/", ("encrypted: true,", "encrypted: true, in_transit: false,")
    ).in_clear


def test_a_url_that_cannot_be_used_is_told_with_its_line_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SinkUnavailable, match=r"test\.yaml:\d+:\d+: sink 'llm' has a URL that") as caught:
        made(tmp_path, "https://llm.example/v1/?key=secret")
    assert "secret" not in str(caught.value)


def test_a_name_may_have_private_addresses_where_the_deployment_says_so(tmp_path: Path) -> None:
    said = ("encrypted: true,", "encrypted: true, allow_private: true,")
    for number, more in enumerate(((), (said,))):
        sink = made(tmp_path / str(number), "https://llm.example/v1/", *more)
        assert [member.backend._may("10.0.0.7") for member in sink._members] == [bool(more)]


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.8.7", True), ("localhost", True), ("[::1]", True), ("10.0.0.1", False),
     ("127.evil.example", False)],
)  # fmt: skip
def test_plain_redis_is_for_this_machine_all_of_whose_own_addresses_are_it(
    tmp_path: Path, host: str, here: bool
) -> None:
    text = DEPLOYMENT.replace("llm", "cache").replace("http: cache", "store: cache").replace("URL", f"redis://{host}/0")
    policy = load_policy(write_deployment(tmp_path, text))
    if here:
        assert storage.sinks(policy.deployment, Path, tmp_path)["cache"].name == "cache"
        return
    with pytest.raises(PolicyError, match="plain redis to another machine"):
        storage.sinks(policy.deployment, Path, tmp_path)


SECRET = "s3cret/with+signs="
BUCKET = """
sinks:
  uploads-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "URL"}
stores: {uploads: [uploads-vn]}
activities:
  - {route: "POST /uploads", subject: none, data: [personal], store: uploads}
"""


def bucket(folder: Path, url: str, *more: tuple[str, str]) -> BucketSink:
    """The sink of a bucket's URL."""
    policy = load_policy(write_deployment(folder, BUCKET, replace=[("URL", url), *more]))
    sink = storage.sinks(policy.deployment, Path, folder)["uploads-vn"]
    assert isinstance(sink, BucketSink)
    return sink


@pytest.mark.parametrize(
    "url",
    [f"s3://KEY:{SECRET}@bucket/prefix?region=x&endpoint=https://s3.example.vn", "gs://bucket", "az://acc:a2V5@bucket"],
)
def test_a_buckets_url_makes_a_sink_of_objects(tmp_path: Path, url: str) -> None:
    sink = bucket(tmp_path, url)
    assert (sink.name, sink.region.place, sink.in_clear) == ("uploads-vn", "VN", False)


def test_a_buckets_url_that_cannot_be_used_is_told_with_its_line_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SinkUnavailable, match=r"test\.yaml:\d+:\d+: .*say the bucket's region") as caught:
        bucket(tmp_path, f"s3://KEY:{SECRET}@bucket")
    assert SECRET not in str(caught.value)


def test_a_buckets_url_does_not_name_a_region_of_aws_in_another_country(tmp_path: Path) -> None:
    with pytest.raises(
        PolicyError, match=r"test\.yaml:\d+:\d+: its URL names a region of AWS that lies in SG"
    ) as caught:
        bucket(tmp_path, f"s3://KEY:{SECRET}@bucket?region=ap-southeast-1")
    assert SECRET not in str(caught.value)
    for number, more in enumerate(("region=xx-new-1", "region=ap-southeast-1&endpoint=https://s3.example.vn")):
        assert bucket(tmp_path / str(number), f"s3://KEY:{SECRET}@bucket?{more}").region.place == "VN"


def test_a_bucket_over_plain_http_is_one_of_this_machine_or_declared(tmp_path: Path) -> None:
    for number, host in enumerate(("127.0.0.1:8333", "localhost", "[::1]:1")):
        assert not bucket(tmp_path / str(number), f"s3://bucket?region=x&endpoint=http://{host}").in_clear
    for number, host in enumerate(("10.0.0.1", "s3.local", "localhost.example")):
        with pytest.raises(PolicyError, match=r"test\.yaml:\d+:\d+: plain http to another machine"):
            bucket(tmp_path / f"far{number}", f"s3://bucket?region=x&endpoint=http://{host}")
    declared = ("encrypted: true,", "encrypted: true, in_transit: false,")
    assert bucket(tmp_path / "declared", "s3://bucket?region=x&endpoint=http://10.0.0.1", declared).in_clear


def with_member(folder: Path, url: str, member: str) -> SinkPort:
    """The sink of a URL with one further way."""
    more = f'"{url}", members: [{{region: vn-han, url: "{member}"}}]'
    policy = load_policy(write_deployment(folder, BUCKET, replace=[('"URL"', more)]))
    return storage.sinks(policy.deployment, Path, folder)["uploads-vn"]


def test_members_of_a_store_of_objects_make_one_sink_that_goes_from_way_to_way(tmp_path: Path) -> None:
    sink = with_member(tmp_path, "s3://bucket?region=a&endpoint=https://a.example", "file://mounted")
    assert isinstance(sink, ObjectMembers)
    assert (sink.name, sink.region.place) == ("uploads-vn", "VN")


def test_members_of_a_database_make_one_sink_of_rows(tmp_path: Path) -> None:
    url = "postgresql+asyncpg://app:x@{}.example/people?sslmode=require"
    assert isinstance(with_member(tmp_path, url.format("a"), url.format("b")), SqlSink)


def test_a_database_on_another_machine_is_reached_encrypted_unless_the_deployment_says_otherwise(
    tmp_path: Path,
) -> None:
    url = f"postgresql+asyncpg://app:{SECRET}@{{}}.example/people"
    with pytest.raises(PolicyError, match=r"test\.yaml:\d+:\d+: a connection to another machine need not be") as caught:
        with_member(tmp_path / "a", f"{url.format('a')}?sslmode=require", url.format("b"))
    assert SECRET not in str(caught.value)


def test_a_member_of_another_kind_is_a_problem_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"test\.yaml:\d+:\d+: a member is .*of the kind of its sink"):
        with_member(tmp_path / "a", "file://a", "postgresql+asyncpg://app:x@b.example/people")
    with pytest.raises(SinkUnavailable, match=r"test\.yaml:\d+:\d+: sink 'uploads-vn' has a URL") as caught:
        with_member(tmp_path / "b", "file://a", f"s3://KEY:{SECRET}@b/c")
    assert SECRET not in str(caught.value)
    with pytest.raises(SinkUnavailable, match="none of PostgreSQL"):
        with_member(tmp_path / "c", "sqlite:///a.db", "sqlite:///b.db")


def test_where_drift_is_refused_a_service_is_connected_to_in_its_country_alone(tmp_path: Path) -> None:
    address = {"VN": HANOI, "SG": SINGAPORE, "private": "10.0.0.7", "unreadable": "?"}
    for drift, barred in (("refuse", ["SG", "unreadable"]), ("warn", [])):
        said = f"location: {{drift: {drift}}}\nactivities:"
        policy = load_policy(
            write_deployment(
                tmp_path / drift, DEPLOYMENT, replace=[("URL", "https://llm.example/"), ("activities:", said)]
            )
        )
        judging = storage.judging(policy.deployment, NETWORK, lambda: True)
        sink = storage.sinks(policy.deployment, Path, tmp_path, judging)["llm"]
        assert isinstance(sink, HttpSink)
        (judge,) = [member.backend._elsewhere for member in sink._members]
        assert [name for name, each in address.items() if judge is not None and judge(each)] == barred
