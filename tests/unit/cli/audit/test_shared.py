"""What somebody else wrote is shown on a terminal, and does nothing there."""

from __future__ import annotations

import pytest
import typer

from residency.cli.audit.shared import cell, csv_cell, fail, shown

HOSTILE = "log\x1b]0;title\x07\x9b31m [red]name"


def test_text_of_others_holds_no_terminal_codes_and_no_markup_and_keeps_its_lines() -> None:
    assert shown(HOSTILE + "\nnext") == "log�]0;title��31m \\[red]name\nnext"
    assert cell(HOSTILE) == shown(HOSTILE)
    assert cell(None) == ""


def test_why_a_log_does_not_hold_is_told_without_terminal_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail(f"no signature by {HOSTILE}", as_json=False)
    told = capsys.readouterr().err
    assert "[red]name" in told
    assert not {"\x1b]", "\x07", "\x9b"} & {told[at : at + width] for at in range(len(told)) for width in (1, 2)}


@pytest.mark.parametrize("text", ['=HYPERLINK("https://x","y")', "+1+1", "-2+3", "@sum", "\t=1", "\r=1"])
def test_no_text_of_a_log_is_a_formula_to_a_spreadsheet(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-", "-3", "0.25", "-1.5e-06", "vn.d333.19.2", "GET /a=b"])
def test_other_text_and_numbers_stay_as_they_are_in_csv(text: str) -> None:
    assert csv_cell(text) == text
