"""`residency move`: a dry run changes nothing; with --go everybody is home, and the log tells of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from residency.adapters.keys_files import KeysFiles
from residency.adapters.move_journal import MoveJournalSqlite
from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import build
from residency.cli import patience
from residency.cli.app import app_for
from residency.enforcement.about import key_text
from residency.enforcement.ports import ObjectSink
from residency.errors import SinkUnavailable
from residency.model import Anchor, Pin, SubjectId, Trust
from residency.storage import under_way
from residency.storage.homes_known import are_known
from residency.storage.move import State, Step
from residency.storage.parcels import Cargo, RecordParcels
from residency.storage.under_way import is_under_way
from residency.vault.subjects import subject_digest
from residency.wiring.records import records_of
from tests.world import write_deployment

DEPLOYMENT = """
sinks:
  rows-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  rows-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://files-sg"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files-vn"}
stores: {people: [rows-sg, rows-vn], uploads: [files-sg, files-vn]}
records:
  people:
    people: {subject: id, data: [personal], times: {creation: made}}
    letters: {via: {person: people}, data: [content]}
  uploads:
    "users/{subject}/": {data: [personal]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "POST /uploads", subject: app, data: [personal], store: uploads}
"""
TABLES = """
CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT, made TEXT);
CREATE TABLE letters (id INTEGER PRIMARY KEY, person TEXT REFERENCES people (id), text TEXT);
"""
KNOWN = "".join(
    json.dumps({"subject": f"p{number}", "residence": "VN" if number % 2 else "SG"}) + "\n" for number in range(6)
)
QUICK = ("--drain", "0", "--linger", "0", "--known", "known.jsonl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app with six people in Singapore, of whom every other lives in Vietnam."""
    law = """
  - id: test.residence
    article: art. 9
    text: Personal data of residents stays in Vietnam.
    applies: {anchor: residence, data: [personal]}
    duty: {only: [VN]}
"""
    write_deployment(tmp_path, DEPLOYMENT, (law,))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "known.jsonl").write_text(KNOWN)
    for place in ("sg", "vn"):
        with closing(sqlite3.connect(tmp_path / f"{place}.db")) as database:
            database.executescript(TABLES)
    with closing(sqlite3.connect(tmp_path / "sg.db")) as database, database:
        for number in range(6):
            database.execute("INSERT INTO people VALUES (?, 'N', '2026-03-04 05:06:07')", (f"p{number}",))
            database.executemany("INSERT INTO letters (person, text) VALUES (?, 'x')", [(f"p{number}",)] * 2)
    # Letters count up by themselves, so those at home are others until they are moved.
    return tmp_path


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app_for(["move"]), ["move", "test.yaml", "--store", "people", "--to-home", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def people(folder: Path, place: str) -> list[str]:
    with closing(sqlite3.connect(folder / f"{place}.db")) as database:
        return [row[0] for row in database.execute("SELECT id FROM people ORDER BY id")]


def entries(folder: Path) -> list[Entry]:
    found = []
    for segment in sorted((folder / "audit" / "journal").glob("*/*.seg")):
        found += [parse_entry(bytes(r.payload)) for r in scan(segment.read_bytes(), RECORDS_AT, None).records]
    return found


def test_a_dry_run_tells_who_lies_wrong_by_law_and_category_and_changes_nothing(folder: Path) -> None:
    code, output = run(*QUICK, "--json")
    assert code == 1
    told = json.loads(output)
    assert told["jobs"] == []
    assert told["sinks"][0] == {
        "store": "people", "sink": "rows-sg", "subjects": 6, "wrong": 3, "nowhere": 0, "to": {"VN": 3},
        "records_by_category": {"personal": 3, "content": 6}, "rules": {"Test law art. 9": 3},
        "since": 1772600767000000,
    }  # fmt: skip
    assert "3 would go in VN" in run(*QUICK)[1]
    assert "nothing was changed" in run(*QUICK)[1]
    assert not (folder / "audit" / "journal").exists()
    assert people(folder, "vn") == []


def test_with_go_everybody_is_home_and_a_second_run_finds_nothing_to_do(folder: Path) -> None:
    code, output = run(*QUICK, "--go", "--json", "--proof", "proof.json")
    assert code == 0, output
    told = json.loads(output)
    assert (told["moved"], told["records"], told["pinned"], told["conflicts"]) == (3, 9, 3, 0)
    assert people(folder, "vn") == ["p1", "p3", "p5"]
    assert people(folder, "sg") == ["p0", "p2", "p4"]
    with closing(sqlite3.connect(folder / "vn.db")) as database:
        assert database.execute("SELECT count(*) FROM letters").fetchone() == (6,)
    pins = [entry for entry in entries(folder) if entry.operation == "pin"]
    assert [entry.act for entry in pins if entry.kind == "outcome"] == ["committed"] * 6, "3 pinned, 3 arrived"
    assert {entry.note for entry in pins if entry.kind == "intent"} == {"move: to home"}
    told_to_log = [entry.note or "" for entry in entries(folder) if entry.kind == "system"]
    assert "move: to home, 3 subjects from SG to VN" in told_to_log
    assert any(note.startswith("move: 3 subjects home, 9 records") for note in told_to_log)
    assert any("sha256" in note for note in told_to_log)
    assert json.loads((folder / "proof.json").read_text())["sinks"][0]["wrong"] == 0
    # The pins remember whom the law covers: the file of what the app knows is needed once.
    code, output = run("--go", "--drain", "0", "--linger", "0", "--json")
    assert (code, json.loads(output)["moved"]) == (0, 0)


async def _are_known() -> bool | None:
    runtime = build("test.yaml", reload=False)
    await runtime.start()
    try:
        return are_known(runtime.point.homes, runtime.point.perception.digest)
    finally:
        await runtime.aclose()


def test_whoever_has_no_pin_is_new_once_all_stores_were_seen_and_nobody_stayed_behind(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "vn.db")) as database, database:
        database.execute("INSERT INTO people VALUES ('p1', 'another', '2026-03-04 05:06:07')")
    assert run(*QUICK, "--go")[0] == 1, "a conflict"
    assert not anyio.run(_are_known), "p1 has no pin, and lies where the app always kept them"
    with closing(sqlite3.connect(folder / "vn.db")) as database, database:
        database.execute("DELETE FROM people WHERE id = 'p1'")
    assert run(*QUICK, "--go")[0] == 0
    assert not anyio.run(_are_known), "another store was not looked at"
    whole = CliRunner().invoke(app_for(["move"]), ["move", "test.yaml", "--go", *QUICK])
    assert whole.exit_code == 0, whole.output
    assert anyio.run(_are_known)


def test_what_the_app_knows_of_where_people_use_the_service_outweighs_what_is_presumed(folder: Path) -> None:
    for file in folder.rglob("*.yaml"):
        said = file.read_text().replace("anchor: residence", "anchor: territory")
        file.write_text(said.replace("territory: not_covered", "territory: covered"))
    code, output = run(*QUICK, "--json")
    assert json.loads(output)["sinks"][0]["wrong"] == 6, "residence says nothing of where a service is used"
    (folder / "known.jsonl").write_text(KNOWN.replace("residence", "territory"))
    code, output = run(*QUICK, "--json")
    assert (code, json.loads(output)["sinks"][0]["wrong"]) == (1, 3)
    (folder / "known.jsonl").write_text('{"subject": "p1", "home": "VN"}\n')
    code, output = run(*QUICK)
    assert code == 2
    assert "line 1 has 'home'; words: " in output


def test_the_locator_of_the_new_country_knows_what_was_moved_and_that_of_the_old_one_forgets_it(folder: Path) -> None:
    located = CliRunner().invoke(app_for(["sinks"]), ["sinks", "locate", "test.yaml", "--store", "people"])
    assert located.exit_code == 0, located.output
    code, output = run(*QUICK, "--go")
    assert code == 0, output

    async def noted() -> dict[str, list[bool]]:
        runtime = build("test.yaml", reload=False)
        await runtime.start()
        locators = runtime.stores.locators
        assert locators is not None
        rows = [("people", f"p{number}") for number in range(6)] + [("letters", number + 1) for number in range(12)]
        keys = [locators.key("people", name, key_text(key)) for name, key in rows]
        owners = {place: await each.owners(keys) for place, each in locators.by_place.items()}
        await runtime.aclose()
        return {place: [owner is not None for owner in them] for place, them in owners.items()}

    known = anyio.run(noted)
    moved = [number % 2 == 1 for number in range(6)] + [number // 2 % 2 == 1 for number in range(12)]
    assert known == {"VN": moved, "SG": [not each for each in moved]}


def test_locators_are_told_of_objects_that_are_moved(folder: Path) -> None:
    async def store() -> None:
        runtime = build("test.yaml", reload=False)
        sink = runtime.stores.sinks_of("uploads")[0]
        assert isinstance(sink, ObjectSink)
        await sink.start()
        for number in range(6):
            await sink.put(f"users/p{number}/cv", b"cv")
        await sink.aclose()

    async def noted() -> dict[str, list[bool]]:
        runtime = build("test.yaml", reload=False)
        await runtime.start()
        locators = runtime.stores.locators
        assert locators is not None
        keys = [locators.key("uploads", "users/{subject}/", key_text(f"users/p{number}/cv")) for number in range(6)]
        owners = {place: await each.owners(keys) for place, each in locators.by_place.items()}
        await runtime.aclose()
        return {place: [owner is not None for owner in them] for place, them in owners.items()}

    anyio.run(store)
    located = CliRunner().invoke(app_for(["sinks"]), ["sinks", "locate", "test.yaml", "--store", "uploads"])
    assert located.exit_code == 0, located.output
    assert anyio.run(noted) == {"SG": [True] * 6, "VN": [False] * 6}
    code, output = run(*QUICK, "--go", "--store", "uploads")
    assert code == 0, output
    moved = [number % 2 == 1 for number in range(6)]
    assert anyio.run(noted) == {"VN": moved, "SG": [not each for each in moved]}


def test_a_rate_is_waited_for_after_each_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    sleep = anyio.sleep

    async def noted(seconds: float) -> None:
        if seconds == 1:
            waited.append(seconds)
        await sleep(0 if seconds == 1 else seconds)

    monkeypatch.setattr(anyio, "sleep", noted)
    assert run(*QUICK, "--go", "--batch", "1", "--rate", "1")[0] == 0
    # Three people of three records each, and four batches may be under way at once.
    assert 3 * 9 <= sum(waited) <= 3 * 12
    assert people(folder, "vn") == ["p1", "p3", "p5"]


def test_whose_home_has_other_bytes_stays_and_the_run_says_so(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "vn.db")) as database, database:
        database.execute("INSERT INTO people VALUES ('p3', 'another', '2026-03-04')")
    code, output = run(*QUICK, "--go")
    assert code == 1
    assert "1 could not be moved" in output
    assert "p3" not in output
    assert people(folder, "sg") == ["p0", "p2", "p3", "p4"]


def test_what_was_copied_ahead_of_somebody_who_has_gone_since_is_removed(folder: Path) -> None:
    with (folder / "known.jsonl").open("a") as known:
        known.write('{"subject": "p9", "residence": "VN"}\n')
    with closing(sqlite3.connect(folder / "vn.db")) as database, database:
        database.execute("INSERT INTO people VALUES ('p1', 'N', '2026-03-04 05:06:07'), ('p9', 'N', '2026-03-04')")
    with closing(sqlite3.connect(folder / "sg.db")) as database, database:
        database.execute("DELETE FROM letters WHERE person = 'p1'")
        database.execute("DELETE FROM people WHERE id = 'p1'")

    async def killed() -> None:
        runtime = build("test.yaml", reload=False)
        await runtime.start()
        journal = MoveJournalSqlite(folder / "audit" / "move.db")
        sink = next(each for each in runtime.stores.sinks_of("people") if each.name == "rows-vn")
        copies = await RecordParcels(records_of(sink, runtime.deployment.records["people"])).tally(["p1", "p9"])
        for who, copy in (("p1", copies["p1"]), ("p9", "another digest")):
            subject = runtime.point.perception.digest(who)
            await journal.put([Step(subject, "SG", "VN", State.COPIED, {"people/rows-sg": copy}, 1)])
        journal.close()
        await runtime.aclose()

    anyio.run(killed)
    code, output = run(*QUICK, "--go")
    assert people(folder, "vn") == ["p1", "p3", "p5", "p9"], "another store may have something of theirs"
    result = CliRunner().invoke(app_for(["move"]), ["move", "test.yaml", *QUICK, "--go"])
    assert (code, result.exit_code) == (0, 0), output + result.output
    assert people(folder, "vn") == ["p3", "p5", "p9"], "what is not as it was copied is somebody's"


def test_whom_a_killed_move_left_on_their_way_is_erased_at_both_ends_and_the_next_run_ends_it(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "vn.db")) as database, database:
        database.execute("INSERT INTO people VALUES ('p1', 'N', '2026-03-04 05:06:07')")

    async def killed() -> None:
        runtime = build("test.yaml", reload=False)
        await runtime.start()
        homes, subject = runtime.point.homes, runtime.point.perception.digest("p1")
        await under_way.set_out(homes, runtime.point.perception.digest, "SG", "VN")
        await homes.pins.put(Pin(subject, "VN", (), "1" * 32, "move", "p", 1, 1, moving="SG"))
        journal = MoveJournalSqlite(folder / "audit" / "move.db")
        await journal.put([Step(subject, "SG", "VN", State.VERIFIED, {"people/rows-sg": "what was copied"}, 3)])
        journal.close()
        await runtime.aclose()

    async def known() -> bool:
        runtime = build("test.yaml", reload=False)
        await runtime.start()
        homes, digest = runtime.point.homes, runtime.point.perception.digest
        found = await homes.fetch(digest("p1")) is not None or await is_under_way(homes, digest)
        await runtime.aclose()
        return found

    anyio.run(killed)
    erased = CliRunner().invoke(app_for(["erase"]), ["erase", "test.yaml", "--subject", "p1", "--go"])
    assert erased.exit_code == 0, erased.output
    assert "p1" not in people(folder, "sg") + people(folder, "vn")
    result = CliRunner().invoke(app_for(["move"]), ["move", "test.yaml", *QUICK, "--go"])
    assert result.exit_code == 0, result.output
    assert people(folder, "vn") == ["p3", "p5"]
    assert not anyio.run(known), "nothing of them is waited for"


def test_what_cannot_be_meant_exits_2(folder: Path) -> None:
    assert run("--go", "--find")[0] == 2
    assert run("--store", "nothing")[0] == 2
    (folder / "known.jsonl").write_text('{"residence": "VN"}\n')
    code, output = run(*QUICK)
    assert (code, "line 1" in output) == (2, True)
    (folder / "known.jsonl").write_text('{"subject": "p1", "country": "VN"}\n')
    assert "'country'" in run(*QUICK)[1]


def test_of_a_sink_that_is_away_the_name_is_told_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSES", (0.0,))
    (folder / "vn.db").unlink()
    (folder / "vn.db").mkdir()
    code, output = run(*QUICK)
    assert code == 2
    assert "rows-vn" in output
    assert "vn.db" not in output


def test_a_pin_that_was_there_remembers_for_what_its_subject_was_moved(folder: Path) -> None:
    hint = (Anchor.RESIDENCE, "DE", Trust.HINT)  # of where they wrote something: it is no memory of that kind

    async def pinned(put: bool) -> tuple[object, ...]:
        runtime = build("test.yaml", reload=False)
        await runtime.start()
        try:
            digest, pins = runtime.point.digest(SubjectId("p1")), runtime.point.homes.pins
            if put:
                anchors = ((Anchor.TERRITORY, "SG", Trust.NETWORK), hint)
                await pins.put(Pin(digest, "SG", anchors, "ab" * 16, "first_write", "0" * 64, 1))
            pin = await pins.get(digest)
            assert pin is not None
            return pin.home, pin.moving, pin.anchors
        finally:
            await runtime.aclose()

    anyio.run(pinned, True)
    assert run(*QUICK, "--go")[0] == 0
    residence = (Anchor.RESIDENCE, "VN", Trust.DECLARED)
    assert anyio.run(pinned, False) == ("VN", None, ((Anchor.TERRITORY, "SG", Trust.NETWORK), hint, residence))


class Back:
    """Pauses after the second of which a sink is back."""

    def __init__(self, back: Callable[[], object]) -> None:
        self.back = back

    def __iter__(self) -> Iterator[float]:
        yield 0.0
        yield 0.0
        self.back()


def test_a_sink_that_is_away_twice_at_the_start_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, kept = folder / "vn.db", folder / "vn.kept"
    home.rename(kept)
    home.mkdir()

    def back() -> None:
        if kept.exists():
            home.rmdir()
            kept.rename(home)

    monkeypatch.setattr(patience, "_PAUSES", Back(back))
    code, output = run(*QUICK, "--go")
    assert code == 0, output
    assert output.count("tried again") == 2
    assert people(folder, "vn") == ["p1", "p3", "p5"]


@pytest.mark.parametrize("what", ["tally", "load", "put", "take", "clear"])
def test_a_sink_that_is_away_twice_while_it_is_moved_changes_nothing_in_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(patience, "_PAUSES", (0.0, 0.0))
    method, away = getattr(RecordParcels, what), 2

    async def call(self: RecordParcels, *args: Any, **named: Any) -> Any:
        nonlocal away
        done = None if what != "clear" else await method(self, *args, **named)  # some of it was done
        if away:
            away -= 1
            raise SinkUnavailable("sink 'rows-vn' is away")
        return done if what == "clear" else await method(self, *args, **named)

    monkeypatch.setattr(RecordParcels, what, call)
    code, output = run(*QUICK, "--go")
    assert (code, away, output.count("tried again")) == (0, 0, 2), output
    assert people(folder, "vn") == ["p1", "p3", "p5"]
    assert people(folder, "sg") == ["p0", "p2", "p4"]
    with closing(sqlite3.connect(folder / "vn.db")) as database:
        assert database.execute("SELECT count(*) FROM letters").fetchone() == (6,)


def test_lists_look_for_what_lies_twice_from_the_first_copy_until_all_are_home(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    put = RecordParcels.put

    async def on_the_way() -> bool:
        runtime = build("test.yaml", reload=False)
        await runtime.start()
        found = await is_under_way(runtime.point.homes, runtime.point.perception.digest)
        await runtime.aclose()
        return found

    async def watched(self: RecordParcels, cargo: Cargo) -> None:
        with closing(sqlite3.connect(folder / "pins.db")) as database:
            mark = subject_digest(KeysFiles(folder / "keys").secret("subjects"), under_way._MARK)
            seen.append(database.execute("SELECT 1 FROM pin WHERE subject = ?", (mark,)).fetchone() is not None)
        await put(self, cargo)

    monkeypatch.setattr(RecordParcels, "put", watched)
    assert run(*QUICK, "--go")[0] == 0
    assert len(seen) > 0
    assert all(seen)
    assert not anyio.run(on_the_way)
