"""Overlays replace, add and drop rules by id; each rule keeps its place; two that touch one rule are refused."""

from __future__ import annotations

import pytest

from residency.errors import PolicyError
from residency.policy.overlay import apply_overlays
from residency.policy.parsed import LawDoc
from residency.policy.parser import parse_law

_HEAD = """\
residency: 1
kind: law
{extends}jurisdiction: VN
instrument: Decree 1
in_force: {{from: {start}}}
checked: {{date: 2026-11-21, confidence: high, source: S}}
{more}
rules: {rules}
"""


def rule(name: str, duty: str = "copies: VN") -> str:
    return f"\n  - {{id: {name}, article: art. 1, text: T, applies: {{anchor: territory}}, duty: {{{duty}}}}}"


def law(name: str, *rules: str, extends: str = "", start: str = "2026-01-01", more: str = "") -> LawDoc:
    text = _HEAD.format(
        extends=f"extends: {extends}\n" if extends else "", start=start, more=more, rules="".join(rules) or "[]"
    )
    return parse_law(text.encode(), f"{name}.yaml", name)


def problems(*laws: LawDoc) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        apply_overlays(laws)
    return [str(problem) for problem in caught.value.problems]


BASE = law("vn/one", rule("vn.a"), rule("vn.b"), rule("vn.c"))


def test_laws_without_overlays_are_themselves() -> None:
    other = law("vn/another", rule("vn.x"))
    assert apply_overlays([BASE, other]) == (other, BASE)


def test_an_overlay_replaces_adds_and_drops_by_id_and_each_rule_keeps_its_file() -> None:
    overlay = law(
        "acme/one", rule("vn.b", "only: VN"), rule("vn.d"), extends="vn/one", more="drop: [{rule: vn.c, why: W}]"
    )
    (merged,) = apply_overlays([overlay, BASE])
    assert (merged.name, [r.id for r in merged.rules]) == ("vn/one", ["vn.a", "vn.b", "vn.d"])
    assert {r.id: r.duty.only for r in merged.rules}["vn.b"] == frozenset({"VN"})
    assert [r.home.file if r.home else None for r in merged.rules] == [None, "acme/one.yaml", "acme/one.yaml"]
    assert merged.dropped == (("vn.c", "W"),)


def test_a_rule_of_an_overlay_holds_within_the_dates_of_both() -> None:
    overlay = law("acme/one", rule("vn.a"), extends="vn/one", start="2026-06-01")
    (merged,) = apply_overlays([BASE, overlay])
    assert [r.span.start for r in merged.rules] == [overlay.span.start, None, None]


def test_an_overlay_of_an_overlay_has_the_last_word() -> None:
    first = law("acme/one", rule("vn.a", "only: VN"), extends="vn/one")
    second = law("acme/two", rule("vn.a", "only: LA"), extends="acme/one")
    (merged,) = apply_overlays([second, first, BASE])
    assert merged.rules[0].duty.only == frozenset({"LA"})


def test_two_overlays_of_one_rule_side_by_side_are_refused() -> None:
    first = law("acme/one", rule("vn.a"), extends="vn/one")
    second = law("acme/two", extends="vn/one", more="drop: [{rule: vn.a, why: W}]")
    assert problems(BASE, first, second) == [
        "acme/two.yaml:8:15: rule `vn.a` is changed by `acme/one` too: let one extend the other"
    ]


def test_what_cannot_be_extended_or_dropped_is_told_with_its_line() -> None:
    assert problems(law("acme/one", rule("vn.a"), extends="vn/two"), BASE) == [
        "acme/one.yaml:3:10: `vn/two` is not among the laws here; did you mean `vn/one`?"
    ]
    assert problems(law("acme/one", extends="vn/one", more="drop: [{rule: vn.aa, why: W}]"), BASE) == [
        "acme/one.yaml:8:15: `vn.aa` is no rule of `vn/one`; did you mean `vn.a`?"
    ]
    circle = law("acme/one", rule("vn.a"), extends="acme/two"), law("acme/two", rule("vn.a"), extends="acme/one")
    assert [text.partition(": ")[2] for text in problems(*circle)] == [
        "`acme/two`: overlays of overlays in a circle, or too many",
        "`acme/one`: overlays of overlays in a circle, or too many",
    ]


def test_an_overlay_of_another_place_is_refused() -> None:
    other = parse_law(
        b"residency: 1\nkind: law\nextends: vn/one\njurisdiction: LA\ninstrument: I\nin_force: {from: 2026-01-01}\n"
        b"checked: {date: 2026-11-21, confidence: high, source: S}\nrules: []\n",
        "la.yaml",
        "acme/la",
    )
    assert problems(BASE, other) == ["la.yaml:4:15: jurisdiction LA is not that of `vn/one`, VN"]
