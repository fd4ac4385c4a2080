"""Overlays replace, add and drop rules by id; each rule keeps its place; two that touch one rule are refused."""

from __future__ import annotations

from residency.policy.overlays import merged
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
    return [str(problem) for problem in merged(laws)[1]]


def rules(*laws: LawDoc) -> dict[str, list[str]]:
    worked, problems = merged(laws)
    assert problems == ()
    return {law.name: [rule.id for rule in law.rules] for law in worked}


BASE = law("vn/one", rule("vn.a"), rule("vn.b"), rule("vn.c"))


def test_laws_without_overlays_are_themselves() -> None:
    other = law("vn/another", rule("vn.x"))
    assert merged([BASE, other]) == ((BASE, other), ())


def test_an_overlay_replaces_adds_and_drops_by_id_and_each_rule_keeps_its_file() -> None:
    overlay = law(
        "acme/one", rule("vn.b", "only: VN"), rule("vn.d"), extends="vn/one", more="drop: [{rule: vn.c, why: W}]"
    )
    assert rules(overlay, BASE) == {"acme/one": ["vn.b", "vn.d"], "vn/one": ["vn.a"]}


def test_an_overlay_of_an_overlay_has_the_last_word() -> None:
    first = law("acme/one", rule("vn.a", "only: VN"), extends="vn/one")
    second = law("acme/two", rule("vn.a", "only: LA"), extends="acme/one")
    assert rules(second, first, BASE) == {"acme/two": ["vn.a"], "acme/one": [], "vn/one": ["vn.b", "vn.c"]}


def test_two_overlays_of_one_rule_side_by_side_are_refused_with_both_places() -> None:
    first = law("acme/one", rule("vn.a"), extends="vn/one")
    second = law("acme/two", extends="vn/one", more="drop: [{rule: vn.a, why: W}]")
    assert problems(BASE, first, second) == ["acme/two.yaml:8:15: rule `vn.a` is changed in acme/one.yaml:10 already"]


def test_what_cannot_be_extended_or_dropped_is_told_with_its_line() -> None:
    assert problems(law("acme/one", rule("vn.a"), extends="vn/two"), BASE) == [
        "acme/one.yaml:3:10: unknown law `vn/two`; did you mean `vn/one`?"
    ]
    assert problems(law("acme/one", extends="vn/one", more="drop: [{rule: vn.aa, why: W}]"), BASE) == [
        "acme/one.yaml:8:15: law `vn/one` has no rule `vn.aa`; did you mean `vn.a`?"
    ]
    circle = law("acme/one", rule("vn.a"), extends="acme/two"), law("acme/two", rule("vn.a"), extends="acme/one")
    assert [text.partition(": ")[2] for text in problems(*circle)] == [
        "law `acme/one` extends itself",
        "law `acme/two` extends itself",
    ]


def test_an_overlay_of_another_place_is_refused() -> None:
    other = parse_law(
        b"residency: 1\nkind: law\nextends: vn/one\njurisdiction: LA\ninstrument: I\nin_force: {from: 2026-01-01}\n"
        b"checked: {date: 2026-11-21, confidence: high, source: S}\nrules: []\n",
        "la.yaml",
        "acme/la",
    )
    assert problems(BASE, other) == ["la.yaml:4:15: `vn/one` is a law of VN, and this one says LA"]
