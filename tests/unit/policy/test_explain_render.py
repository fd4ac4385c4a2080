"""A page as lines and as Markdown: what is told is shown as it is, and is never taken for markup."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.policy.explain_render import Item, Page, Section, lines, markdown

PAGE = Page(
    "GET /a: refused",
    ("Because.",),
    (Section("Rules", (Item("test.rule: Law art. 1", ("A text.",), "https://law.example/1"), Item("two"))),),
)
SPECIAL = re.compile(r"(?<!\\)[*_\[\]<>|#~]")


def test_lines_are_set_in_by_their_rank() -> None:
    assert list(lines(PAGE)) == [
        "GET /a: refused", "  Because.", "Rules", "  test.rule: Law art. 1", "    A text.",
        "    https://law.example/1", "  two",
    ]  # fmt: skip


def test_markdown_has_a_heading_a_list_and_links() -> None:
    assert markdown(PAGE) == (
        "# GET /a: refused\n\nBecause.\n\n## Rules\n\n"
        "- test.rule: Law art. 1\n  - A text.\n  - <https://law.example/1>\n- two\n"
    )


def test_what_stands_between_backticks_stays_code() -> None:
    assert "`a_b*`" in markdown(Page("x", ("say `a_b*` and a_b",), ()))
    assert r"a\_b" in markdown(Page("x", ("say `a_b*` and a_b",), ()))


@given(st.text("ab`*_[]<>|#~\\\n(){}", max_size=30))
def test_no_text_becomes_markup(text: str) -> None:
    page = markdown(Page("t", (), (Section("t", (Item(text),)),)))
    heading, section, item = [line for line in page.split("\n") if line]
    assert (heading, section, item[:2]) == ("# t", "## t", "- ")
    if "`" not in text:
        assert SPECIAL.search(item[2:].replace("\\\\", "")) is None


@pytest.mark.parametrize("text", ["`a\r\r<script>`", "a\r# b", "a\x1b]0;b\x07", "a\u2028b", "a\u202eb", "a\x85b"])
def test_no_text_ends_its_line_or_steers_a_terminal(text: str) -> None:
    page = Page("t", (), (Section("t", (Item(text, (text,), text),)),))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", markdown(page) + "\n".join(lines(page)))
    assert len(list(lines(page))) == len("".join(f"{line}\n" for line in lines(page)).splitlines()) == 5


@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://a.example/>\n<script>", "https://a.example/ <b>"])
def test_what_is_no_address_of_the_web_is_no_link(link: str) -> None:
    told = markdown(Page("t", (), (Section("t", (Item("x", (), link),)),)))
    assert re.search(r"(?<!\\)[<>]", told) is None


def test_what_names_a_character_in_html_is_shown_as_it_is() -> None:
    assert r"\&lt;b\&gt;" in markdown(Page("&lt;b&gt;", (), ()))
