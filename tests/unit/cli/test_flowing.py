"""Help is broken where the terminal ends, and not where the source is."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from residency.cli.app import app_for
from residency.cli.flowing import flowing, flowing_all


def test_a_paragraph_is_one_line_and_a_table_stays_as_it_stands() -> None:
    text = "First\n    line.\n\n    Second\n    one.\n\n    \b\n    a  b\n    c  d\n"
    assert flowing(text) == "First line.\n\nSecond one.\n\n\b\na  b\nc  d"
    assert flowing(None) == ""


def test_the_commands_of_an_application_flow() -> None:
    app = typer.Typer()

    @app.command()
    def one() -> None:
        """Tell.

        All
        of it.
        """

    flowing_all(app)
    assert [command.help for command in app.registered_commands] == ["Tell.\n\nAll of it."]


def test_no_help_of_ours_is_broken_in_the_middle_of_a_line() -> None:
    for command, words in (
        ("doctor", "Exit 0 where nothing is bad (what is not"),
        ("check", "1 = one does not, or with --strict is warned of, 2 = wrong use."),
    ):
        output = CliRunner(env={"COLUMNS": "200"}).invoke(app_for([command]), [command, "--help"]).output
        assert words in " ".join(output.split("\n")[:40])
