"""Sinks made of a deployment's URLs, and what is wrong with them told at their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.sink_http import HttpSink
from residency.errors import PolicyError, SinkUnavailable
from residency.wiring import storage
from tests.world import load_policy, write_deployment

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
