"""Charts are well-formed, to scale, and say what they show to who cannot see them."""

from __future__ import annotations

import re
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest

from residency.cli.audit.report_charts import bars, days, shares
from residency.cli.audit.report_words import WORDS

SVG = "{http://www.w3.org/2000/svg}"


def rows(count: int, *, every: int = 1) -> list[dict[str, object]]:
    first = date(2026, 1, 5)
    return [
        {"day": (first + timedelta(days=number * every)).isoformat(), "permit": number, "hold": 0, "deny": 1}
        for number in range(count)
    ]


def parsed(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)  # noqa: S314 - made here, of these very lines


def rectangles(chart: str, group: bool = True) -> list[ElementTree.Element]:
    root = parsed(chart)
    return list(root.iterfind(f"{SVG}g/{SVG}rect" if group else f"{SVG}rect"))


def test_columns_are_as_tall_as_their_numbers() -> None:
    tall = [float(each.attrib["height"]) for each in rectangles(days(rows(4), "x", WORDS["en"]))]
    assert tall == pytest.approx([30, 30, 30, 60, 30, 90, 30])


@pytest.mark.parametrize("count", [1, 2, 9, 93])
def test_columns_stay_columns_and_stand_over_their_names(count: int) -> None:
    chart = days(rows(count), "x", WORDS["en"])
    widths = [float(each.attrib["width"]) for each in rectangles(chart)]
    assert 0 < max(widths) <= 48
    if count == 1:
        (column,), name = rectangles(chart), parsed(chart).findall(f"{SVG}text")[-1]
        assert float(column.attrib["x"]) + widths[0] / 2 == pytest.approx(float(name.attrib["x"]), abs=0.1)
        assert name.attrib["text-anchor"] == "middle"


@pytest.mark.parametrize(
    ("count", "every", "columns", "first"),
    [(93, 1, 93, "2026-01-05"), (94, 1, 14, "2026-01-05"), (100, 7, 23, "2026-01"), (5, 4000, 44, "2026")],
)  # fmt: skip
def test_many_days_are_put_together_by_week_month_or_year_and_none_is_lost(
    count: int, every: int, columns: int, first: str
) -> None:
    told = rows(count, every=every)
    titles = re.findall(r"<title>([^<]*)</title>", days(told, "x", WORDS["en"]))
    assert (len(titles), titles[0].partition(":")[0]) == (columns, first)
    permits = [int(title.split("permit ")[1].split(", hold")[0].replace(",", "")) for title in titles]
    assert sum(permits) == sum(int(str(row["permit"])) for row in told)


def test_days_without_a_decision_are_columns_too() -> None:
    assert days(rows(2, every=10), "x", WORDS["vi"]).count("<title>") == 11


def test_a_day_beyond_the_calendar_does_not_break_the_chart() -> None:
    told = [*rows(2), {"day": "beyond the calendar", "permit": 1, "hold": 0, "deny": 0}]
    assert days(told, "x", WORDS["en"]).count("<title>") == 3


def test_bars_are_the_largest_and_the_rest_is_one_bar() -> None:
    chart = bars({f"rule {number}": number for number in range(1, 31)}, "x", most=5)
    assert re.findall(r"<title>([^<]*)</title>", chart) == [
        "rule 30: 30", "rule 29: 29", "rule 28: 28", "rule 27: 27", f"+ 26: {sum(range(1, 27))}"
    ]  # fmt: skip


def test_shares_cut_one_bar_into_its_parts() -> None:
    chart = shares([("a", 30), ("b", 70)], "x")
    wide = [float(each.attrib["width"]) for each in rectangles(chart, group=False) if each.attrib["height"] == "22"]
    assert wide == pytest.approx([204, 476])
    assert "b: 70 (70.0%)" in chart


def test_names_are_escaped_and_each_chart_has_a_label() -> None:
    for chart in (bars({"<b>&": 1}, 'a "label"'), shares([("<b>&", 1)], 'a "label"')):
        root = parsed(chart)
        assert (root.attrib["role"], root.attrib["aria-label"]) == ("img", 'a "label"')
        assert "&lt;b&gt;&amp;" in chart


def test_nothing_is_no_chart() -> None:
    assert (days([], "x", WORDS["en"]), bars({}, "x"), shares([("a", 0)], "x")) == ("", "", "")
