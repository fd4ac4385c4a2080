"""Detail lies readable at home or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.errors import PolicyError
from residency.policy.parser import parse_deployment

GOOD = Path(__file__).resolve().parents[2] / "vectors" / "policy_errors" / "good_deployment.yaml"


def problems(said: str, **env: str) -> list[str]:
    text = GOOD.read_text().replace(
        "vn-han: {country: VN}", "vn-han: {country: VN}, sg: {country: SG}, fra: {country: DE}"
    )
    try:
        parse_deployment(f"{text}\naudit: {{{said}}}\n".encode(), "f", env)
    except PolicyError as error:
        return [problem.message for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("region", "place", "holds"),
    [("vn-han", "VN", True), ("sg", "VN", False), ("sg", "SG", True), ("fra", "EU", True), ("vn-han", "EU", False)],
)
def test_an_instance_keeps_readable_detail_of_where_it_runs_alone(region: str, place: str, holds: bool) -> None:
    assert (problems(f"region: {region}, detail: {{{place}: ./d}}") == []) is holds


def test_without_a_region_the_operator_s_word_is_taken() -> None:
    assert problems("detail: {VN: ./d, SG: ./e}") == []


def test_where_an_instance_runs_may_stand_in_its_environment() -> None:
    said = "region: '${REGION}', detail: {VN: ./d}"
    assert problems(said, REGION="vn-han") == []
    (abroad,) = problems(said, REGION="sg")
    assert "readable in SG" in abroad
    (wrong,) = problems(said, REGION="hush")
    assert wrong.startswith("unknown region `${REGION}`; known: ")
    assert problems(said) == ["the environment variable REGION is not set"]


@pytest.mark.parametrize("url", ["ftp://bucket", "bucket", "https://bucket"])
def test_a_mirror_is_a_store_of_objects(url: str) -> None:
    assert len(problems(f'mirror: {{url: "{url}"}}')) == 1
    assert problems('mirror: {url: "s3://bucket"}') == []
