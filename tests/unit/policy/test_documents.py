"""The JSON Schemas: committed, fresh, and of one mind with the parser."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from residency.policy.documents import DOCUMENTS, json_schema
from residency.policy.yamldoc import parse_yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("kind", sorted(DOCUMENTS))
def test_the_committed_schema_is_fresh(kind: str) -> None:
    # Mend by: residency check --write-schema policies/schema
    committed = json.loads((ROOT / "policies" / "schema" / f"{kind}.json").read_text(encoding="utf-8"))
    assert committed == json_schema(kind)


# Of what the laws say beyond their rules: no policy files (tests/policies/test_coverage.py reads them).
BESIDE = ("law_rows.yaml", "not_enforceable.yaml")
SHIPPED = sorted(file for file in (ROOT / "policies").rglob("*.yaml") if file.name not in BESIDE)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.name))
def test_every_shipped_file_satisfies_its_schema_and_names_it(file: Path) -> None:
    value = parse_yaml(file.read_bytes(), file.name).value
    assert isinstance(value, dict)
    kind = str(value["kind"])
    jsonschema.Draft202012Validator(json_schema(kind)).validate(value)
    modeline = file.read_text(encoding="utf-8").splitlines()[0]
    assert (file.parent / modeline.partition("$schema=")[2]).resolve() == ROOT / "policies" / "schema" / f"{kind}.json"
