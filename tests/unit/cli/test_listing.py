"""A listing is a table where there is room; where there is not, each row is lines, and no cell is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from residency.cli.listing import Listing

CELLS = ("2", "subject.erase_by_processor", "2026-11-23T00:22:37Z", "31 d 4 h ago", "")


def printed(width: int, title: str | None = None) -> str:
    listing = Listing("no.", "kind", "next due (UTC)", "left", "reference", title=title)
    listing.row(*CELLS, style="red")
    out = io.StringIO()
    listing.show(Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_no_cell_is_cut_whatever_the_width(width: int) -> None:
    told = printed(width, title="3 requests")
    assert all(cell in told for cell in CELLS)
    assert "3 requests" in told
    assert "…" not in told


def test_rows_without_room_name_their_cells_and_leave_empty_ones_out() -> None:
    assert printed(60).splitlines() == [
        "no. 2",
        "    kind subject.erase_by_processor; next due (UTC) 2026-11-23T00:22:37Z; left 31 d 4 h ago",
    ]


def test_what_was_escaped_stays_text_in_either_form() -> None:
    for width in (10, 100):
        listing = Listing("a", "b")
        listing.row(r"\[red]", "x" * 20)
        out = io.StringIO()
        listing.show(Console(file=out, width=width))
        assert "[red]" in out.getvalue()


def test_an_empty_listing_is_false() -> None:
    assert not Listing("a")
