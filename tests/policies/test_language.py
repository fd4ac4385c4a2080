"""Every example of the language's reference loads, and each of the thirty capabilities has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from residency.policy.parser import parse_document

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "policy-language.md").read_text(encoding="utf-8")
EXAMPLES = [
    pytest.param(kind, body, id=f"line_{PAGE[: match.start()].count(chr(10)) + 1}_{kind}")
    for match in re.finditer(r"^```yaml (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for kind, body in (match.groups(),)
]
# What each kind of file cannot be without; an example's own keys stand in their place.
BASES = {
    "law": {
        "residency": "residency: 1",
        "kind": "kind: law",
        "jurisdiction": "jurisdiction: VN",
        "instrument": "instrument: Decree 1",
        "in_force": "in_force: {from: 2026-01-01}",
        "checked": "checked: {date: 2026-11-21, confidence: high, source: S}",
        "rules": "rules: [{id: vn.one, article: a, text: T, applies: {anchor: territory}, duty: {copies: VN}}]",
    },
    "deployment": {
        "residency": "residency: 1",
        "kind": "kind: deployment",
        "name": "name: example",
        "mode": "mode: enforce",
        "operator": "operator: {established_in: VN}",
        "laws": "laws: [vn/*]",
    },
    "register": {"residency": "residency: 1", "kind": "kind: register", "name": "name: example"},
}


def whole(kind: str, body: str) -> str:
    if kind == "rule":
        kind, body = "law", "rules:\n" + "".join(f"  {line}\n" for line in body.splitlines())
    own = set(re.findall(r"^(\w+):", body, re.MULTILINE))
    return "\n".join([text for key, text in BASES[kind].items() if key not in own] + [body])


@pytest.mark.parametrize(("kind", "body"), EXAMPLES)
def test_each_example_loads(kind: str, body: str) -> None:
    parse_document(whole(kind, body).encode(), "example.yaml", {}, "vn/example")


def test_each_capability_has_an_example() -> None:
    chapters = re.split(r"^## (\d+)\. ", PAGE, flags=re.MULTILINE)[1:]
    numbers, texts = chapters[::2], chapters[1::2]
    assert [int(number) for number in numbers] == list(range(1, 31))
    assert [number for number, text in zip(numbers, texts, strict=True) if "```yaml " not in text] == []
