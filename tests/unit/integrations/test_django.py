"""Django's own ORM, router and caches under real requests, over SQLite and PostgreSQL, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.world import write_deployment

PROJECT = Path(__file__).resolve().parents[2] / "integration" / "django_people.py"


def test_rows_lie_where_their_subjects_law_wants_them(project: dict[str, Any]) -> None:
    assert (project["answers"]["an"], project["answers"]["tan"]) == ("200 people-vn", "200 people-sg")
    assert project["rows"] == {"people-vn": ["AN", "async", "hooked"], "people-sg": ["TAN"]}


def test_a_read_from_abroad_follows_the_person_home(project: dict[str, Any]) -> None:
    assert project["answers"]["an reads"] == "200 AN"


def test_a_write_waits_until_its_subjects_data_is_home(project: dict[str, Any]) -> None:
    assert project["answers"]["moved"] == "200 people-vn"


def test_each_unit_is_one_act_with_its_true_outcome(project: dict[str, Any]) -> None:
    acts = [act for act in project["acts"] if act[0].startswith("people")]
    fetched = acts[15:]  # until the database was away: what was read stays read
    assert fetched
    assert all(act == ["people-vn", "committed"] for act in fetched)
    assert acts[:15] == [
        ["people-vn", "committed"],
        ["people-vn", "rolled_back"],
        ["people-sg", "committed"],
        ["people-sg", "rolled_back"],
        ["people-sg", "committed"],
        ["people-vn", "committed"],
        ["people-vn", "committed"],
        ["people-vn", "rolled_back"],
        ["people-vn", "committed"],
        ["people-vn", "committed"],  # a hook of it raised, when it was committed
        ["people-vn", "committed"],
        *[["people-vn", "rolled_back"]] * 4,  # no writes taken, a duplicate, a missing table, wrong credentials
    ]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("outside a unit", "UsageError: model people_app.Person is of store 'people'"),
        ("using", "UsageError: inside a request a statement reaches sink 'people-sg' in a unit of work only"),
        *(
            (what, "UsageError: table 'people_app_person' is of store 'people', and database 'default' is none of its")
            for what in (
                "using another",
                "text there",
                "raw there",
                "joined",
                "filtered",
                "within",
                "ordered",
                "written there",
                "deleted there",
            )
        ),
        ("other text there", "no error"),
        ("not joined", "OperationalError"),  # it has not even a table
        ("nothing serves", "OperationalError"),
        ("other sink inside", "UsageError: inside a request a statement reaches sink"),
        ("twice", "UsageError: a unit of work on store 'people' is open already"),
        ("commit", "UsageError: a unit of work takes no statement that ends its transaction"),
        ("rollback", "KeyError"),
        ("abroad an", "Refused: sink 'people-sg' may not take this data"),
        ("bare thread", "NoDecision"),
        ("bare thread using", "NoDecision"),
        ("write in a read", "UsageError: a statement on sink 'people-vn' changes data, but the act only reads"),
        ("on the loop", "SynchronousOnlyOperation"),
        ("no request", "NoDecision"),
        ("cache without a request", "NoDecision"),
        ("clear", "UsageError"),
        ("abroad tan", "no error"),
        ("first cursor", "UsageError: inside a request a statement reaches sink 'people-sg' in a unit of work only"),
        ("second cursor", "UsageError: inside a request a statement reaches sink 'people-sg' in a unit of work only"),
        ("hook", "UsageError: model people_app.Person is of store 'people'"),
        ("hook using", "UsageError: inside a request a statement reaches sink 'people-vn' in a unit of work only"),
        ("hook raises", "KeyError"),
        ("standby", "SinkUnavailable: sink 'people-vn' takes no writes"),
    ],
)
def test_what_goes_around_the_decision_is_an_error(project: dict[str, Any], what: str, error: str) -> None:
    assert project["told"][what].startswith(error)


def test_a_database_that_is_not_as_it_should_be_is_a_503_that_names_the_sink_alone(project: dict[str, Any]) -> None:
    bad = project["told"]["bad"]
    # Of a file it is the folder that is not there; of a server, the password.
    away = ("cannot be re", "does not accept the credentials")
    for what, words in (("unmigrated", ("has no such table",)), ("away", away)):
        assert bad[what].startswith("503 ")
        assert any(f"sink 'people-vn' {each}" in bad[what] for each in words)
        assert not any(word in bad[what] for word in ("wrong-password", "127.0.0", "no-such-folder", "people_app"))


def test_a_database_that_goes_away_while_rows_are_fetched_is_that_too(project: dict[str, Any]) -> None:
    fetched = {what: told for what, told in project["told"]["bad"].items() if what.startswith("fetched")}
    assert "fetched" in fetched
    for told in fetched.values():
        assert told.startswith("503 ")
        assert "sink 'people-vn' cannot be re" in told


def test_an_error_of_a_value_while_rows_are_fetched_stays_djangos_own_and_quotes_none(project: dict[str, Any]) -> None:
    assert project["told"]["quotes"].startswith(("DataError: ", "no error"))  # SQLite reads any text as a number
    assert "AN" not in project["told"]["quotes"]


def test_an_error_of_a_statement_stays_djangos_own_and_quotes_no_value(project: dict[str, Any]) -> None:
    assert project["answers"]["duplicate"].startswith("500")
    assert "nique" in project["told"]["duplicate"].lower()
    assert "AN-secret" not in project["told"]["duplicate"]


def test_a_sink_gets_the_tables_of_its_stores_models_and_no_others(project: dict[str, Any]) -> None:
    assert project["told"]["migrates"] == {
        "default person": False,
        "default ticket": None,
        "default None": None,
        "people-vn person": True,
        "people-vn ticket": False,
        "people-vn None": True,
    }


def test_two_jurisdictions_share_no_cached_key(project: dict[str, Any]) -> None:
    assert project["caches"] == {"cache-vn": "chi", "cache-sg": "dat"}
    assert project["answers"]["cache an"] == "200 chi True None False"
    assert [act for act in project["acts"] if act[0].startswith("cache")] == [
        *[["cache-vn", "committed"]] * 5,
        *[["cache-sg", "committed"]] * 5,
    ]


def test_databases_are_encrypted_as_the_deployments_urls_say(tmp_path: Path) -> None:
    from residency.integrations.django import databases

    text = """
sinks:
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "${URL}"}
stores: {people: [people-vn]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
    env = {"URL": "postgresql://app:secret@db.example/people?sslmode=verify-full"}
    found = databases(write_deployment(tmp_path, text), env=env)["people-vn"]
    wanted = {
        "hostaddr": "", "options": "", "sslmode": "verify-full", "sslrootcert": "system", "connect_timeout": 10
    }  # fmt: skip
    assert (found["HOST"], found["OPTIONS"]) == ("db.example", wanted)


def test_databases_are_told_what_the_urls_tell_libpq_and_nothing_that_is_anothers(tmp_path: Path) -> None:
    from residency.integrations.django import databases

    text = """
sinks:
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "${URL}"}
stores: {people: [people-vn]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
    query = "host=/run/postgresql&options=-csearch_path%3Dshop&application_name=shop&connect_timeout=3&pool_size=9"
    env = {"URL": f"postgresql://app:secret@/people?{query}&prepared_statement_cache_size=0"}
    found = databases(write_deployment(tmp_path, text), env=env)["people-vn"]
    assert (found["HOST"], found["OPTIONS"]) == ("", {
        "host": "/run/postgresql", "options": "-csearch_path=shop", "application_name": "shop", "hostaddr": "",
        "connect_timeout": 3,
    })  # fmt: skip
