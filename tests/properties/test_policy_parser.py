"""Whatever bytes a policy file holds, the parser answers with a policy or a PolicyError, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import PolicyError
from residency.policy.casefile import CaseFile
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc
from residency.policy.parser import parse_document
from residency.policy.problems import MOST
from residency.policy.yamldoc import parse_yaml

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "policy_errors"
PARSED = LawDoc | DeploymentDoc | RegisterDoc | CaseFile | PolicyError
GOOD = [(VECTORS / f"good_{kind}.yaml").read_bytes() for kind in ("deployment", "law", "register", "test")]
WORDS = [
    "NO", "on", "null", "true", "0", "-1", "2026-08-19", "2026-02-30", "9999-12-31", "0001-01-01", "[]", "{}", "''",
    "[x]", "{x: y}", "*", "vn/*", "${A}", "${", "${}", "${B}", "&a", "*a", "!!x", "VN", "24 months", "99999 years",
    "- ", "? ", ": ", "\t", "|", "GET /{x}", "none", "'+14:00'", "²",
]  # fmt: skip
words = st.sampled_from(WORDS) | st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def outcome(data: bytes) -> object:
    try:
        return parse_document(data, "f", {"A": "x"}, "n")
    except PolicyError as error:
        return error


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
def test_any_bytes_are_a_policy_or_a_policy_error(data: bytes) -> None:
    assert isinstance(outcome(data), PolicyError)


@given(st.sampled_from(GOOD), st.integers(0, 2000), st.integers(0, 12), words)
def test_a_damaged_policy_is_a_policy_or_a_policy_error(good: bytes, at: int, length: int, word: str) -> None:
    at %= len(good)
    damaged = good[:at] + word.encode("utf-8", "replace") + good[at + length :]
    assert isinstance(outcome(damaged), PARSED)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        found += [p for k, v in value.items() for p in _paths(v, (*path, k))]
    elif isinstance(value, list):
        found += [p for i, v in enumerate(value) for p in _paths(v, (*path, i))]
    return found


@given(st.sampled_from(GOOD), st.integers(0, 1000), values)
def test_any_value_in_any_place_is_a_policy_or_a_policy_error(good: bytes, where: int, value: object) -> None:
    tree = parse_yaml(good, "f").value
    paths = _paths(tree)
    path = paths[where % len(paths)]
    holder: object = tree
    for part in path[:-1]:
        holder = holder[part]  # type: ignore[index]
    holder[path[-1]] = value  # type: ignore[index]
    text = yaml.safe_dump(tree, allow_unicode=True)
    assert isinstance(outcome(text.encode("utf-8", "replace")), PARSED)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 500_000, b"{a: " * 200_000, b"- " * 300_000, b"a: &x [*x, *x]\n" * 1000, b"? " * 100_000,
        b'"' + b"a" * 900_000,
    ],
    ids=["flow", "maps", "lists", "aliases", "keys", "open quote"],
)  # fmt: skip
def test_huge_and_nested_input_ends_in_a_policy_error(data: bytes) -> None:
    assert isinstance(outcome(data), PolicyError)


def test_thousands_of_unknown_names_beside_thousands_of_known_ones_end_soon() -> None:
    # Compared with each other, each with each, they took minutes: this test has the suite's own time to end in.
    good = GOOD[0].decode()
    head = good[: good.index("sinks:")]
    sinks = "".join(f"  s{i}: {{region: vn, provider: VN, keys: VN, url: 'memory:'}}\n" for i in range(4_000))
    stores = "".join(f"  t{i}: [zz{i}]\n" for i in range(20_000))
    found = outcome(f"{head}sinks:\n{sinks}stores:\n{stores}".encode())
    assert isinstance(found, PolicyError)
    assert len(found.problems) == MOST + 1
