"""The pytest plugin: a factory of kits that are closed when the test ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette

from residency.integrations.pytest import residency_kit
from residency.testing import Kit, person

__all__ = ["residency_kit"]

POLICY = """
residency: 1
kind: deployment
name: plugin
mode: enforce
operator: {established_in: [VN]}
laws: none
unclassified: permit
"""


def test_the_fixture_makes_kits_that_are_entered_and_write_below_tmp_path(
    residency_kit: Callable[..., Kit],
    tmp_path: Path,
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    kit = residency_kit(Starlette(), file)
    assert kit.client(person("VN")).get("/").status_code == 404
    assert (tmp_path / "residency" / "audit").is_dir()
    assert [entry.note for entry in kit.entries()] == ["begins", "start", None]
    assert kit.entries()[-1].kind == "decision"
