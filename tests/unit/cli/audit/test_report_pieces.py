"""Cells are escaped, numbers are grouped, long names may go on in the next line."""

from __future__ import annotations

from residency.cli.audit.report_pieces import Below, Span, breakable, figure, table


def test_cells_are_escaped_and_numbers_grouped() -> None:
    text = table(("<a>", "n"), [("<b>", 1_234)], " n")
    assert "<th>&lt;a&gt;</th>" in text
    assert '<td>&lt;b&gt;</td><td class="n">1,234</td>' in text
    assert "<thead>" not in table(("a",), [("b",)], " ", head=False)


def test_a_row_of_its_own_spans_the_table_and_only_our_own_markup_is_kept() -> None:
    text = table(("a", "b"), [Span("<i>"), Below("<i>x</i>")], "  ")
    assert '<td class="s" colspan="2">&lt;i&gt;</td>' in text
    assert '<td class="g" colspan="2"><i>x</i></td>' in text


def test_words_break_after_dots_slashes_and_colons_within_them() -> None:
    assert breakable("vn.l91.20 a/b & 1.") == "vn.<wbr>l91.<wbr>20 a/<wbr>b &amp; 1."


def test_what_is_not_to_be_broken_has_no_place_to_break() -> None:
    assert "<wbr>" in table(("a",), [("55.3",)], " ")
    assert "<wbr>" not in table(("a", "b"), [("55.3%", "2026:11")], "nw")


def test_no_chart_is_no_figure() -> None:
    assert (figure(""), figure("<svg/>")) == ("", "<figure><svg/></figure>")
