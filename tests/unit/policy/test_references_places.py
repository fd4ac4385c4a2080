"""Two sinks in two countries that are one place by their URLs, however these are spelled."""

from __future__ import annotations

import pytest

from residency.errors import PolicyError, Problem
from residency.policy.parser import parse_deployment

TEXT = """
residency: 1
kind: deployment
name: app
mode: enforce
operator: {established_in: VN}
laws: none
regions: {han: {country: VN}, sin: {country: SG}}
sinks:
  vn: {region: han, provider: VN, url: "${ONE}", encrypted: true, keys: VN}
  sg: {region: sin, provider: SG, url: "${OTHER}", encrypted: true, keys: SG}
stores: {people: [vn, sg]}
activities:
  - {route: "GET /v1/people/{id}", subject: path.id, data: [personal], store: people}
"""


def problems(one: str, other: str) -> list[str]:
    try:
        parse_deployment(TEXT.encode(), "f", {"ONE": one, "OTHER": other})
    except PolicyError as error:
        return [problem.message for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://app:secret@db.example/people", "postgresql+asyncpg://reader:other@DB.example:5432/people"),
        ("postgresql://db.example/people", "postgresql+psycopg://db.example/people?pool_size=3&sslmode=require"),
        ("sqlite:///people.db", "sqlite+aiosqlite:///./data/../people.db"),
        ("sqlite:////srv/people.db", "sqlite:////srv//people.db"),
        ("file:./uploads", "file://uploads/"),
        ("s3://bucket?region=x", "s3://KEY:SECRET@bucket/?timeout=3&region=x"),
        ("s3://bucket/a?region=x&endpoint=https://s3.example", "s3://bucket/a/?endpoint=https://s3.example&region=y"),
        ("gs://bucket", "gs://bucket?service_account=a.json"),
        ("az://account:key@files", "az://account@files"),
        ("rediss://cache.example", "valkeys://app:secret@cache.example:6379/0"),
    ],
)
def test_one_place_in_two_countries_is_told_without_its_url(one: str, other: str) -> None:
    (message,) = problems(one, other)
    assert message == "`sg` in SG and `vn` in VN have the same URL: data lies in one place"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://db.example/vn", "postgresql://db.example/sg"),
        ("postgresql://db.example:5432/people", "postgresql://db.example:5433/people"),
        ("postgresql:///people?host=/run/vn", "postgresql:///people?host=/run/sg"),
        ("sqlite:///people.db", "sqlite:////people.db"),
        ("sqlite:///people.db", "sqlite:///../people.db"),
        ("s3://bucket?region=x", "s3://bucket?region=y"),
        ("s3://bucket?region=x&endpoint=https://vn.example", "s3://bucket?region=x&endpoint=https://sg.example"),
        ("az://vn@files", "az://sg@files"),
        ("rediss://cache.example/1", "rediss://cache.example/2"),
        ("redis+sentinel://s.example/vn", "redis+sentinel://s.example/sg"),
        ("https://llm.example/#x-region=vn", "https://llm.example/#x-region=sg"),
        ("memory:", "memory:"),
    ],
)
def test_two_places_are_two(one: str, other: str) -> None:
    assert problems(one, other) == []


def handed_over(said: str, url: str) -> list[str]:
    text = f"{TEXT}audit: {{region: han}}\nhand_over: {{SG: {said}}}\n"
    try:
        parse_deployment(text.encode(), "f", {"ONE": "memory:", "OTHER": "memory:", "THERE": url})
    except PolicyError as error:
        return [problem.message for problem in error.problems]
    return []


@pytest.mark.parametrize("said", ['"${THERE}"', '{url: "${THERE}", how: proxy}'])
def test_nobodys_data_is_handed_over_in_clear_wherever_the_url_stands(said: str) -> None:
    for url in ("https://sg.example", "http://localhost:8000", "http://127.0.0.2", "http://[::1]:8000"):
        assert handed_over(said, url) == []
    for url in ("http://sg.example", "http://127.sg.example", "http://localhost.sg.example", "sg.example", "http://["):
        assert handed_over(said, url) == ["expected https://HOST: what is handed over is somebody's data"]


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@sg.example",
        "https://sg.example/?a=1",
        "https://sg.example/#part",
        "https://sg.example\\@other.example",
        "https://sg.example:99999",
        "https:///path",
        "https://sg.example/a b",
    ],
)
def test_behind_where_data_is_handed_over_a_path_can_be_put(url: str) -> None:
    (problem,) = handed_over('"${THERE}"', url)
    assert "HOST/PATH and nothing else" in problem
    assert url not in problem, "it may hold a password"


@pytest.mark.parametrize("url", ["https://sg.example/", "https://sg.example:8443/api/v1", "https://[2001:db8::1]/"])
def test_a_base_may_have_a_port_a_path_or_an_address(url: str) -> None:
    assert handed_over('"${THERE}"', url) == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["SG: https://api.example", "DE: https://API.example:443/"], [1]),
        (["SG: https://a.example", "DE: {url: 'https://a.example', how: proxy}", "FR: https://a.example"], [1, 2]),
        (["EU: https://eu.example", "DE: https://eu.example", "SG: https://sg.example"], []),
        (["SG: https://api.example/sg", "DE: https://api.example/de"], []),
        (["SG: 'memory:'", "DE: 'memory:'"], []),
    ],
)
def test_one_instance_does_not_lie_in_two_countries(said: list[str], told: list[int]) -> None:
    text = "\n  ".join([f"{TEXT}hand_over:", *said])
    problems: tuple[Problem, ...] = ()
    try:
        parse_deployment(text.encode(), "f", {"ONE": "memory:", "OTHER": "memory:"})
    except PolicyError as error:
        problems = error.problems
    assert [problem.line for problem in problems] == [len(text.splitlines()) - len(said) + 1 + each for each in told]
    assert all("the instance of SG has the same URL" in problem.message for problem in problems)
