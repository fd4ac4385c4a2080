"""`residency copies`: prepared, made, told, halted, withdrawn; and what erasing and moving do to copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from residency.cli.copies import copies_app
from residency.cli.erase import erase
from residency.cli.move import move
from tests.copies_world import change, copies_world, result, rows
from tests.upkeep_world import entries
from tests.upkeep_world import run as run_app

LETTERS = "SELECT id, person, text FROM letters ORDER BY id"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Two people at home in VN, one of them with a letter; nothing is prepared."""
    file = copies_world(tmp_path)
    change(
        tmp_path,
        "vn",
        "INSERT INTO people VALUES ('an', 'canary-an', '0901'), ('binh', 'canary-binh', NULL)",
        "INSERT INTO letters VALUES (1, 'an', 'xin chào')",
    )
    return file


def run(*args: object) -> tuple[int, str]:
    """(exit code, output)."""
    return run_app(copies_app, *map(str, args))


def app_of(command: Callable[..., None]) -> typer.Typer:
    """An application of this one command."""
    app = typer.Typer()
    app.command()(command)
    return app


def make(file: Path) -> dict[str, object]:
    """Make what is due."""
    _, output = run("run", file, "--once", "--go", "--json")
    told: dict[str, object] = json.loads(output.splitlines()[-1])
    return told


def test_what_is_not_prepared_is_told_with_the_sink_s_name(world: Path) -> None:
    code, output = run("status", world)
    assert (code, "sink 'vn' is not prepared" in output) == (1, True)
    assert run("prepare", world)[0] == 0
    assert run("status", world)[0] == 0


def test_without_go_nothing_is_changed_and_with_it_copies_are_as_at_home(world: Path, tmp_path: Path) -> None:
    code, output = run("prepare", world)
    assert (code, "3 records noted" in output) == (0, True)
    code, output = run("run", world)
    assert (code, "nothing was changed" in output) == (0, True)
    assert rows(tmp_path, "sg") == []
    told = make(world)
    assert (told["copied"], told["deleted"]) == (3, 0)
    assert rows(tmp_path, "sg") == rows(tmp_path, "vn")
    assert rows(tmp_path, "sg", LETTERS) == [(1, "an", "xin chào")]
    change(tmp_path, "vn", "DELETE FROM letters", "UPDATE people SET name = 'other' WHERE id = 'binh'")
    told = make(world)
    assert (told["copied"], told["deleted"]) == (1, 1)
    assert rows(tmp_path, "sg", LETTERS) == []
    assert rows(tmp_path, "sg") == rows(tmp_path, "vn")
    assert make(world)["copied"] == 0


def test_each_subject_s_copy_is_an_act_that_says_whose_law_covers(world: Path, tmp_path: Path) -> None:
    run("prepare", world)
    make(world)
    found = entries(tmp_path)
    acts = [entry for entry in found if (entry.note or "").startswith("operator: copy of") and entry.kind == "intent"]
    assert sorted((entry.subject, entry.sink, entry.operation) for entry in acts) == [
        (f"{number:032x}", "sg", "write") for number in (0, 1)
    ]
    assert all(entry.jurisdictions == ("VN",) and entry.evidence == ("filing:vn.transfer_dossier",) for entry in acts)
    assert {entry.act for entry in found if entry.of in {entry.id for entry in acts}} == {"committed"}


def test_marks_that_were_lost_are_found_anew_where_all_is_noted_anew(world: Path, tmp_path: Path) -> None:
    run("prepare", world)
    make(world)
    known = hashlib.sha256(b"known\0people\0sg").hexdigest()
    marks = "SELECT id FROM residency_sent"
    assert (known,) in rows(tmp_path, "vn", marks)
    change(tmp_path, "vn", f"DELETE FROM residency_sent WHERE id <> '{known}'")  # noqa: S608 - our own
    assert "3 records noted" in run("prepare", world, "--fill")[1]
    assert rows(tmp_path, "vn", marks) == []
    change(tmp_path, "vn", "DELETE FROM letters")
    assert make(world)["deleted"] == 1
    assert (len(rows(tmp_path, "vn", marks)), (known,) in rows(tmp_path, "vn", marks)) == (3, True)


def test_erasing_a_person_takes_their_marks_and_leaves_those_of_others(world: Path, tmp_path: Path) -> None:
    run("prepare", world)
    make(world)
    before = {row[0] for row in rows(tmp_path, "vn", "SELECT id FROM residency_sent")}
    code, output = run_app(app_of(erase), str(world), "--subject", "an", "--go", "--json")
    assert code == 0, output
    kept = [("known", "people", "sg"), ("sent", "people", "sg", "people", '{"id":"binh"}')]
    after = {row[0] for row in rows(tmp_path, "vn", "SELECT id FROM residency_sent")}
    assert after == {hashlib.sha256("\0".join(each).encode()).hexdigest() for each in kept} < before
    assert rows(tmp_path, "sg", "SELECT count(*) FROM residency_copied") == [(1,)]


def test_a_failed_dossier_halts_copies_and_withdraws_those_that_are_there_until_it_passes(
    world: Path, tmp_path: Path
) -> None:
    run("prepare", world)
    make(world)
    result(tmp_path, "failed")
    change(tmp_path, "vn", "UPDATE people SET name = 'later' WHERE id = 'an'")
    code, output = run("withdraw", world, "--json")
    assert code == 1
    (sink,) = json.loads(output)["sinks"]
    assert (sink["copies"], sink["reasons"], sink["deleted"]) == (3, {"filing_missing": 3}, 0)
    assert len(rows(tmp_path, "sg")) == 2
    told = make(world)
    assert (told["copied"], told["deleted"]) == (0, 3)
    assert (rows(tmp_path, "sg"), rows(tmp_path, "sg", LETTERS)) == ([], [])
    (outbox,) = json.loads(run("status", world, "--json")[1])
    assert outbox["held"]["filing_missing"] >= 1
    result(tmp_path, "passed")
    assert make(world)["copied"] == 3
    assert rows(tmp_path, "sg") == rows(tmp_path, "vn")
    assert rows(tmp_path, "vn", "SELECT count(*) FROM residency_outbox") == [(0,)]


def test_without_withdraw_copies_stay_as_they_are_until_they_are_withdrawn_by_hand(tmp_path: Path) -> None:
    file = copies_world(tmp_path, replace=[("{to: [sg], withdraw: true}", "sg")])
    change(tmp_path, "vn", "INSERT INTO people VALUES ('an', 'canary-an', NULL)")
    run("prepare", file)
    make(file)
    result(tmp_path, "suspended")
    change(tmp_path, "vn", "UPDATE people SET name = 'later'")
    make(file)
    assert rows(tmp_path, "sg") == [("an", "canary-an")]
    assert run("withdraw", file, "--go")[0] == 0
    assert rows(tmp_path, "sg") == []


def test_what_home_has_no_more_is_deleted_abroad_though_nothing_may_be_copied(world: Path, tmp_path: Path) -> None:
    run("prepare", world)
    make(world)
    result(tmp_path, "failed")
    change(tmp_path, "vn", "DELETE FROM letters")
    make(world)
    assert rows(tmp_path, "sg", LETTERS) == []


def test_somebody_s_own_record_abroad_is_neither_changed_nor_deleted(world: Path, tmp_path: Path) -> None:
    change(tmp_path, "sg", "INSERT INTO people VALUES ('an', 'own', NULL)")
    run("prepare", world)
    make(world)
    change(tmp_path, "vn", "DELETE FROM letters", "DELETE FROM people WHERE id = 'an'")
    make(world)
    assert rows(tmp_path, "sg") == [("an", "own"), ("binh", "canary-binh")]


def test_erasing_reaches_copies_and_notes(world: Path, tmp_path: Path) -> None:
    run("prepare", world)
    make(world)
    result(tmp_path, "failed")
    change(tmp_path, "vn", "UPDATE people SET name = 'later' WHERE id = 'an'")
    make(world)
    code, output = run_app(app_of(erase), str(world), "--subject", "an", "--go", "--json")
    assert code == 0, output
    assert [row[0] for row in rows(tmp_path, "vn")] == ["binh"]
    assert "an" not in [row[0] for row in rows(tmp_path, "sg")]
    keys = [str(row[0]) for row in rows(tmp_path, "vn", "SELECT key FROM residency_outbox")]
    assert not [key for key in keys if "an" in key]
    result(tmp_path, "passed")
    make(world)
    assert [row[0] for row in rows(tmp_path, "sg")] == ["binh"]


def test_moving_neither_takes_copies_for_misplaced_nor_loses_them(world: Path, tmp_path: Path) -> None:
    run("prepare", world)
    make(world)
    quick = ("--go", "--drain", "0", "--linger", "0", "--json")
    code, output = run_app(app_of(move), str(world), *quick)
    assert code == 0, output
    assert rows(tmp_path, "sg") == rows(tmp_path, "vn")
    # Somebody whose data is still abroad is moved home, and gets a copy after that.
    change(tmp_path, "sg", "INSERT INTO people VALUES ('chi', 'canary-chi', NULL)")
    (tmp_path / "known").write_text('{"subject": "chi", "residence": "VN", "citizenship": "VN"}\n')
    code, output = run_app(app_of(move), str(world), *quick, "--known", str(tmp_path / "known"))
    assert (code, json.loads(output)["moved"]) == (0, 1)
    assert "chi" not in [row[0] for row in rows(tmp_path, "sg")]
    make(world)
    assert ("chi", "canary-chi") in rows(tmp_path, "vn")
    assert rows(tmp_path, "sg") == rows(tmp_path, "vn")


def test_a_deployment_that_wants_no_copies_or_only_observes_is_told_so(tmp_path: Path) -> None:
    file = copies_world(tmp_path, replace=[("mode: enforce", "mode: observe")])
    assert run("status", file)[0] == 2
    file.write_text(file.read_text().replace("copies: {people: {to: [sg], withdraw: true}}\n", ""))
    code, output = run("status", file)
    assert (code, "asks for none" in output) == (2, True)


def test_columns_that_come_and_go_leave_copies_known_for_ours_followed_and_withdrawn(
    world: Path, tmp_path: Path
) -> None:
    run("prepare", world)
    make(world)
    for sink in ("sg", "vn"):  # abroad first: what home has more is nowhere to put there
        change(tmp_path, sink, "ALTER TABLE people ADD COLUMN mail TEXT", "ALTER TABLE people DROP COLUMN phone")
    change(tmp_path, "sg", "UPDATE people SET name = 'somebody there' WHERE id = 'binh'")
    run("prepare", world)
    change(tmp_path, "vn", "UPDATE people SET mail = 'an@example.com' WHERE id = 'an'")
    told = make(world)
    assert rows(tmp_path, "sg", "SELECT * FROM people WHERE id = 'an'") == [("an", "canary-an", "an@example.com")]
    change(tmp_path, "sg", "ALTER TABLE people ADD COLUMN more TEXT DEFAULT 'x'")
    result(tmp_path, "failed")
    told = make(world)
    assert told["deleted"] == 2, "a letter, and a row; what somebody changed there is nobody's copy any more"
    assert rows(tmp_path, "sg") == [("binh", "somebody there")]
