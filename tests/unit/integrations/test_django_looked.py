"""A unit of work under about() gives nothing of others whose law does not let it, over SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2] / "integration" / "django_about.py"
UNSAID = "UsageError: a statement under about() tells of rows of "
ELSES = "UsageError: a row of "
LEADS = "UsageError: a row that leads to one of "
CHANGES = "UsageError: a statement changes rows of "
HIDDEN = "UsageError: behind '"
UNSEEN = "UsageError: a statement gives rows of "


def beginning(told: dict[str, Any], *words: str) -> dict[str, Any]:
    """Those that begin with none of these words."""
    return {name: each for name, each in told.items() if not str(each).startswith(words)}


def test_what_is_hers_or_may_be_read_is_given(project: dict[str, Any]) -> None:
    expected = project["expected"]["given"]
    assert project["given"] == expected


def test_views_and_functions_behind_which_somebodys_rows_are_read_are_refused(project: dict[str, Any]) -> None:
    assert len(project["behind"]) == 10
    assert beginning(project["behind"], HIDDEN) == {}
    assert project["behind, vouched for"] == ["p-anh", "p-beng"]


def test_objects_and_columns_of_whose_law_forbids_it_are_refused_by_it(project: dict[str, Any]) -> None:
    assert len(project["forbidden"]) > 20
    assert beginning(project["forbidden"], "Refused: only_in_country") == {}
    assert project["refused"] == [["only_in_country", "people-sg"]]


def test_what_does_not_say_whose_rows_it_tells_of_is_refused_with_what_to_write(project: dict[str, Any]) -> None:
    assert len(project["loose"]) > 40
    assert beginning(project["loose"], UNSAID) == {}
    assert "add WHERE author = … (or by the table's key" in project["loose"]["values"]
    assert "`with own_rows():`" in project["loose"]["values"]


def test_a_group_is_of_all_its_members_and_nobody_else(project: dict[str, Any]) -> None:
    assert project["group"] == {"both": ["p-beng", "p-chua"], "all": "Refused: only_in_country"}


def test_a_request_that_names_somebody_else_is_looked_at_and_one_of_ones_own_is_not(project: dict[str, Any]) -> None:
    assert project["named"]["her"] == "Refused: only_in_country"
    assert beginning(project["named"], "Refused", UNSAID) == {}
    refused = project["own"].keys() - beginning(project["own"], "UsageError", "Refused").keys()
    assert refused == {"deleted by text", "text that changes"}  # by an activity that reads


def test_of_an_activity_about_nobody_all_is_of_others(project: dict[str, Any]) -> None:
    assert project["nobody"]["hers"] == "Refused: only_in_country"
    assert project["nobody"]["allowed"] == ["p-beng"]
    assert project["nobody"]["count"].startswith(UNSAID)


def test_whose_many_rows_are_is_asked_for_each_chunk_at_once(project: dict[str, Any]) -> None:
    assert project["statements"] <= 6  # for more than 250 rows, by 100


def test_what_a_unit_writes_is_of_its_own_subject(project: dict[str, Any]) -> None:
    assert project["written"] == project["expected"]["written"]
    assert beginning(project["not written"], UNSAID, ELSES, UNSEEN, CHANGES, LEADS, "Refused: only_in_country") == {}
    chuas = {name: each for name, each in project["not written"].items() if name.startswith("Chua's")}
    assert beginning(chuas, CHANGES, ELSES) == {}
    assert project["own writes"]["for another"].startswith(ELSES)
    assert project["own writes"]["text"].startswith(UNSEEN)
    assert project["own writes"]["text of what leads to another"].startswith(UNSEEN)


def test_what_a_unit_of_ones_own_changes_is_ones_own(project: dict[str, Any]) -> None:
    assert project["own written"] == project["expected"]["own written"]
    assert len(project["own not written"]) > 20
    assert beginning(project["own not written"], CHANGES, ELSES, HIDDEN) == {}
    along = project["own not written"]["deleted along"]
    assert along.startswith("UsageError: a statement changes rows of 'reply' that are somebody else's")
    assert "add WHERE author = … (or by the table's key)" in project["own not written"]["by another column"]


def test_no_way_around_a_units_compilers_and_its_connection_is_taken(project: dict[str, Any]) -> None:
    around = project["around"]
    assert around["older"].startswith(UNSAID)
    assert around["past"].startswith("UsageError: a unit of work takes no ")
    # There it would be in no transaction of the unit's, and stay when that is rolled back.
    without, own = around["thread"]
    assert without.startswith("UsageError: a unit of work on sink 'people-sg' is of the thread that opened it")
    assert own == 1
    connecting, changing, ending = around["anew"]
    assert connecting.startswith("UsageError: a unit of work keeps the connection that it began on")
    assert changing == connecting
    assert ending != "committed"
    assert around["composed"].startswith(UNSAID)


def test_what_a_driver_is_told_past_django_it_is_not_told(project: dict[str, Any]) -> None:
    drivers = project["around"]["drivers"]
    assert len(drivers["refused"]) == 9
    around = "UsageError: a unit of work takes no "
    assert beginning(drivers["refused"], around, "UsageError: what a driver's own connection or cursor is told") == {}
    # Who watches an app asks for such things, and whether there are others.
    assert drivers["tells"] == [True, False]


def test_a_store_that_names_no_tables_is_no_way_to_those_of_another_in_the_same_sink(project: dict[str, Any]) -> None:
    assert project["store"] == "Refused: only_in_country"


def test_nothing_that_was_refused_was_done(project: dict[str, Any]) -> None:
    assert project["left"] == {
        "Topic": [["t", "topic"], ["u", "topic"]],
        "Member": [[who, f"of {who}"] for who in ("anh", "beng", "chua")],
        "Post": [[f"p-{who}", f"of {who}"] for who in ("anh", "beng", "chua")],
        "Reply": [
            ["r-anh-beng", "of anh"],
            ["r-beng-anh", "of beng"],
            ["r-beng-beng", "of beng"],
            ["r-beng-chua", "of beng"],
            ["r-chua-beng", "of chua"],
        ],
    }


def test_whatever_is_asked_nothing_of_hers_is_told(project: dict[str, Any]) -> None:
    if "seen" in project:  # drawn at random, over SQLite
        assert min(project["seen"].values()) > 50
