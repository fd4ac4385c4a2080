"""The strict YAML subset: what is a value, what is a word, what is refused, and where."""

from __future__ import annotations

import pytest

from residency.policy.yamldoc import MAX_BYTES, parse_yaml


def problems(text: str) -> list[str]:
    return [str(p) for p in parse_yaml(text.encode(), "f.yaml").problems]


@pytest.mark.parametrize("word", "NO on off yes n True ~ 2026-08-19 1.5 010 0x1F 1:30".split())
def test_what_yaml_would_guess_at_is_the_word_as_written(word: str) -> None:
    assert parse_yaml(f"a: {word}".encode(), "f").value == {"a": word}


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("null", None), ("24", 24), ("-1", -1), ("'24'", "24")]
)
def test_four_kinds_of_plain_scalar_have_types(text: str, value: object) -> None:
    assert parse_yaml(f"a: {text}".encode(), "f").value == {"a": value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "f.yaml:2:1: duplicate key `a`: it stands already in line 1"),
        ("a: &x 1", "f.yaml:1:4: anchor `&x`: anchors are refused; write the value out"),
        ("a: *x", "f.yaml:1:4: alias `*x`: aliases are refused; write the value out"),
        ("a: !!str 1", "f.yaml:1:4: tag `tag:yaml.org,2002:str`: tags are refused"),
        ("<<: {a: 1}", "f.yaml:1:1: merge key `<<`: merge keys are refused; write the keys out"),
        ("1: a", 'f.yaml:1:1: key `1` must be text: write "1"'),
        ("true: a", 'f.yaml:1:1: key `true` must be text: write "true"'),
        ("? [a]\n: b", "f.yaml:1:3: a key must be text"),
        ("a:", 'f.yaml:1:3: the value is missing: write it, or null, "" or []'),
        ("a: 1\n---\nb: 1", "f.yaml:2:1: a second document: a policy file holds one"),
        ("%YAML 1.1\n---\na: 1", "f.yaml:1:1: YAML directives are refused"),
        ("a: 1234567890123456789", "f.yaml:1:4: integers have at most 18 digits; quote it if it is text"),
        ("a:\n\tb: 1", "f.yaml:2:1: this is not YAML: a tab stands here; indent with spaces"),
        ("", "f.yaml:1:1: the file is empty: a policy file starts with `residency: 1`"),
        ("[" * 40, "f.yaml:1:33: nested deeper than 32 levels"),
        ("a: \x07", "f.yaml:1:4: character U+0007 may not stand in a policy file"),
        ('a: "x\\e[2J"', "f.yaml:1:4: character U+001B may not stand in a policy file, nor its escape"),
        ('a: "x\\r\\r<b>"', "f.yaml:1:4: character U+000D may not stand in a policy file, nor its escape"),
        ('"a\\u202e": 1', "f.yaml:1:1: character U+202E may not stand in a policy file, nor its escape"),
        ('a: 1\n"x\\ny": 1\n"x\\ny": 2', r"f.yaml:3:1: duplicate key `x\x0ay`: it stands already in line 2"),
    ],
)
def test_what_is_refused_is_named_where_it_stands(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_all_problems_come_at_once_and_the_rest_is_still_read() -> None:
    doc = parse_yaml(b"a: 1\na: {x: [1]}\n1: 2\n<<: {q: 1}\n? {a: b}\n: {c: d}\nz: 3\n", "f")
    assert [p.line for p in doc.problems] == [2, 3, 4, 5]
    assert doc.value == {"a": 1, "z": 3}


def test_every_value_and_key_has_its_place() -> None:
    doc = parse_yaml(b"a:\n  - b: NO\n", "f")
    assert doc.mark(("a", 0, "b")) == (2, 8)
    assert doc.key_mark(("a", 0, "b")) == (2, 5)
    assert doc.mark(("a", 0, "nothing", "here")) == (2, 5)


def test_what_is_no_text_or_too_much_is_refused_with_its_line() -> None:
    assert str(parse_yaml(b"a: 1\nb: \xff", "f").problems[0]) == "f:2:1: this line is not UTF-8 text"
    assert MAX_BYTES == 1024 * 1024  # docs/reference/policy-files.md says so
    assert list(parse_yaml(b"a: 1\n" + b"#" * (MAX_BYTES - 5), "f").problems) == []
    assert "has at most" in str(parse_yaml(b"#" * (MAX_BYTES + 1), "f").problems[0])


def test_a_syntax_error_is_told_with_its_place() -> None:
    (problem,) = parse_yaml(b"a:\n  - b\n c: 1\n", "f").problems
    assert (problem.line, problem.message[:17]) == (3, "this is not YAML:")
