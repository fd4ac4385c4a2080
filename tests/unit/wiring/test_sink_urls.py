"""Every sink whose URL nothing takes is told at once, at its line, and no URL is repeated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from residency.errors import PolicyError
from residency.wiring import check_sinks, provider_doubts, storage
from tests.world import load_policy, write_deployment

DEPLOYMENT = """
sinks:
  a: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "A_URL"}
  b: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "B_URL"}
stores: {a: [a], b: [b]}
activities:
  - {route: "POST /chat", subject: user, data: [personal], operation: write, store: a}
"""


def problems(folder: Path, a: str, b: str = "file:///nowhere/at/all") -> list[str]:
    """What is said of two sinks' URLs, without the files' names."""
    policy = load_policy(write_deployment(folder, DEPLOYMENT, replace=[("A_URL", a), ("B_URL", b)]))
    try:
        check_sinks(policy.deployment)
    except PolicyError as error:
        return [problem.message for problem in error.problems if problem.line > 0]
    return []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://me:secret@db/app?ssl=require", "postgresql://localhost/app",
        "s3://bucket/prefix?region=han-1", "rediss://cache/0",
        "https://llm.example/v1/", "memory:", "memory:cache",
    ],
)  # fmt: skip
def test_a_url_that_can_be_opened_is_no_problem_and_is_not_opened(tmp_path: Path, url: str) -> None:
    assert problems(tmp_path, url) == []


def test_every_url_that_nothing_takes_is_told_and_none_repeated(tmp_path: Path) -> None:
    said = problems(tmp_path, "mysql://me:secret@db/app", "redis://me:secret@cache/no-number")
    assert len(said) == 2
    assert "driver is not known here" in said[0]
    assert "expected sqlite+aiosqlite" in said[0]
    assert "number of a database" in said[1]
    assert "test.yaml" not in "".join(said), "the line is told once"
    assert "secret" not in "".join(said)


@pytest.mark.parametrize(
    ("url", "meant"),
    [("fiel:///srv/up", "file"), ("postgres+asyncpg://db/a", "postgresql+asyncpg"), ("redi://cache/0", "redis")],
)
def test_a_scheme_that_is_misspelled_is_told_with_the_nearest(tmp_path: Path, url: str, meant: str) -> None:
    (said,) = problems(tmp_path, url)
    assert said.endswith(f"; did you mean `{meant}`?")


def test_a_driver_that_is_not_installed_here_is_no_mistake_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        try:
            raise ImportError("no such extra")
        except ImportError as error:
            raise PolicyError((policy.deployment.source.problem((), "needs an extra"),)) from error

    policy = load_policy(write_deployment(tmp_path, DEPLOYMENT, replace=[("A_URL", "memory:"), ("B_URL", "memory:")]))
    monkeypatch.setattr("residency.wiring.sink_urls.sink_of", absent)
    check_sinks(policy.deployment)


def test_a_database_without_what_its_driver_needs_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [("A_URL", "sqlite:///a.db"), ("B_URL", "memory:")]
    policy = load_policy(write_deployment(tmp_path, DEPLOYMENT, replace=urls))
    monkeypatch.setitem(sys.modules, "greenlet", None)
    with pytest.raises(PolicyError, match="the extra `sql`"):
        storage.sinks(policy.deployment, Path, tmp_path)


def test_all_sinks_are_made_by_the_same_function(tmp_path: Path) -> None:
    policy = load_policy(write_deployment(tmp_path, DEPLOYMENT, replace=[("A_URL", "memory:"), ("B_URL", "memory:")]))
    assert set(storage.sinks(policy.deployment, Path, tmp_path)) == {"a", "b"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://bucket?region=ap-southeast-1", "Amazon, a company of US"),
        ("s3://bucket?region=cn-north-1", "AWS China, a company of CN"),
        ("gs://bucket", "Google, a company of US"),
        ("az://account@files", "Microsoft, a company of US"),
        ("postgresql+asyncpg://me:secret@a.Rds.amazonaws.com/app", "Amazon, a company of US"),
        ("rediss://:secret@a.redis.cache.windows.net", "Microsoft, a company of US"),
        ("s3://bucket?region=han-1&endpoint=https://s3.provider.vn", None),
        ("https://amazonaws.com.vn/v1/", None),
        ("file://files", None),
        ("memory:", None),
    ],
)
def test_a_cloud_of_another_country_than_its_provider_is_told_at_its_line(
    tmp_path: Path, url: str, said: str | None
) -> None:
    replace = [("A_URL", url), ("B_URL", url), ("b: {region: vn-han, provider: VN", "b: {region: vn-han, provider: US")]
    doubts = list(provider_doubts(load_policy(write_deployment(tmp_path, DEPLOYMENT, replace=replace)).deployment))
    told = [f"sink a: its URL leads to {said}, and `provider` says VN"] if said is not None else []
    at_a = [each.message.partition(": rules")[0] for each in doubts if "says VN" in each.message]
    assert at_a == told
    assert len(doubts) == len(told) + (said is not None and said.endswith("CN"))
    assert "secret" not in str(doubts)
