"""`residency pin`: the home is shown without an id, and moves once, with a reason, when its data is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner

from residency.adapters.move_journal import MoveJournalSqlite
from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import build
from residency.cli import patience
from residency.cli.move_places import journal_of
from residency.cli.pin import pin_app
from residency.enforcement.ports import ObjectSink
from residency.errors import SinkUnavailable
from residency.model import Anchor, Pin, SubjectId, Trust
from residency.storage.moves import State, Step
from residency.storage.parcels import RecordParcels
from tests.world import write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
MOVE = ("--to", "VN", "--reason", "ticket 1234", "--data-is-there")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A deployment in which `an` has a home in Singapore."""
    file = write_deployment(tmp_path, DEPLOYMENT)

    async def pin() -> None:
        runtime = build(file)
        runtime.open()
        digest = runtime.point.digest(SubjectId("an"))
        anchors = ((Anchor.TERRITORY, "SG", Trust.NETWORK),)
        await runtime.point.homes.pins.put(Pin(digest, "SG", anchors, "ab" * 16, "first_write", "0" * 64, 1))
        await runtime.aclose()

    anyio.run(pin)
    return file


def run(policy: Path, *args: str, subject: str = "an") -> tuple[int, str]:
    result = CliRunner().invoke(pin_app, [args[0], "--policy", str(policy), *args[1:]], input=f"{subject}\n")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def entries(policy: Path) -> list[Entry]:
    found = []
    for segment in sorted((policy.parent / "audit" / "journal").glob("*/*.seg")):
        found += [parse_entry(bytes(r.payload)) for r in scan(segment.read_bytes(), RECORDS_AT, None).records]
    return found


def test_a_pin_is_shown_without_the_subjects_id_or_digest(policy: Path) -> None:
    code, output = run(policy, "show", "--json")
    assert code == 0
    told = json.loads(output)
    assert (told["home"], told["version"], told["set_by"]) == ("SG", 1, "first_write")
    assert told["remembers"] == [{"anchor": "territory", "place": "SG", "trust": "network"}]
    assert "subject" not in told
    assert "home SG, version 1" in run(policy, "show")[1]


def test_a_subject_without_a_pin_exits_1(policy: Path) -> None:
    assert run(policy, "show", subject="binh")[0] == 1
    assert run(policy, "move", *MOVE, subject="binh")[0] == 1


def test_an_operators_move_is_an_act_with_its_reason_in_the_log(policy: Path) -> None:
    assert run(policy, "move", *MOVE)[0] == 0
    code, output = run(policy, "show", "--json")
    assert code == 0
    assert (json.loads(output)["home"], json.loads(output)["version"]) == ("VN", 2)
    (intent,) = [entry for entry in entries(policy) if entry.operation == "pin" and entry.kind == "intent"]
    assert (intent.note, intent.region) == ("operator: ticket 1234", "VN")
    assert [entry.act for entry in entries(policy) if entry.of == intent.id] == ["committed"]


def test_a_home_that_is_where_it_is_to_be_is_said_and_nothing_is_done(policy: Path) -> None:
    before = entries(policy)
    code, output = run(policy, "move", "--to", "SG", *MOVE[2:])
    assert code == 0
    assert output.startswith("the home is SG already: nothing was changed\nhome SG, version 1,")
    assert entries(policy) == before


def test_to_show_a_pin_writes_nothing(policy: Path) -> None:
    def files() -> dict[Path, bytes]:
        found = [path for path in policy.parent.rglob("*") if path.is_file() and not path.name.startswith("pins.db")]
        return {path: path.read_bytes() for path in found}

    before = files()
    assert run(policy, "show")[0] == 0
    assert run(policy, "show", subject="binh")[0] == 1
    assert files() == before


def test_a_deployment_that_never_ran_here_has_no_key_to_find_a_pin_by_and_none_is_made(tmp_path: Path) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT)
    code, output = run(file, "show")
    assert (code, "key subjects.secret is missing" in output) == (2, True)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("--to", "VN", "--reason", "ticket 1234"),
        ("--to", "VN", "--reason", "x", "--data-is-there"),
        ("--to", "VN", "--reason", "an@example.org", "--data-is-there"),
        ("--to", "DE", "--reason", "ticket 1234", "--data-is-there"),
    ],
    ids=["before the data", "no reason", "a reason with a person in it", "a place of no region"],
)
def test_a_move_that_is_not_meant_so_moves_nothing(policy: Path, args: tuple[str, ...]) -> None:
    assert run(policy, "move", *args)[0] == 2
    assert json.loads(run(policy, "show", "--json")[1])["version"] == 1


def test_no_subject_and_no_policy_are_wrong_use(policy: Path) -> None:
    assert run(policy, "show", subject="")[0] == 2
    assert run(policy.with_name("none.yaml"), "show")[0] == 2


def test_a_move_takes_the_subjects_records_along(tmp_path: Path) -> None:
    told = DEPLOYMENT.replace('url: "memory:"', 'url: "file://SINK"').replace(
        "audit:", 'records: {people: {"users/{subject}/": {data: [personal]}}}\naudit:'
    )
    file = write_deployment(tmp_path, told.replace("SINK", "sg", 1).replace("SINK", "vn", 1))

    async def fill() -> None:
        runtime = build(file)
        await runtime.start()
        (sink, _) = runtime.stores.sinks_of("people")
        assert isinstance(sink, ObjectSink)
        await sink.put("users/an/cv", b"mine")
        await sink.put("users/binh/cv", b"another's")
        digest = runtime.point.digest(SubjectId("an"))
        await runtime.point.homes.pins.put(Pin(digest, "SG", (), "ab" * 16, "first_write", "0" * 64, 1))
        await runtime.aclose()

    async def lies() -> tuple[list[str], list[str]]:
        runtime = build(file)
        await runtime.stores.start()
        found = []
        for sink in runtime.stores.sinks_of("people"):
            assert isinstance(sink, ObjectSink)
            found.append([meta.key async for meta in sink.list("")])
        await runtime.stores.aclose()
        return found[0], found[1]

    anyio.run(fill)
    code, output = run(file, "move", *MOVE[:-1])
    assert (code, "home VN, version 3" in output) == (0, True), output
    assert anyio.run(lies) == (["users/binh/cv"], ["users/an/cv"])
    notes = [entry.note for entry in entries(file) if entry.note is not None]
    assert "move: operator: ticket 1234, 1 subjects from SG to VN" in notes
    assert run(file, "move", *MOVE[:-1])[0] == 0


def test_a_move_that_ended_before_it_had_deleted_is_not_said_to_be_done(policy: Path) -> None:
    """The pin says the new home already, and records still lie at the old one."""
    assert run(policy, "move", *MOVE)[0] == 0
    runtime = build(policy)

    async def ended_early(state: State) -> None:
        runtime.open()
        journal = MoveJournalSqlite(journal_of(runtime))
        await journal.put([Step(runtime.point.digest(SubjectId("an")), "SG", "VN", state)])
        journal.close()
        await runtime.aclose()

    anyio.run(ended_early, State.VERIFIED)
    code, output = run(policy, "move", *MOVE[:-1])
    assert (code, "not all that lay in SG is deleted" in output) == (1, True), output
    runtime = build(policy)
    anyio.run(ended_early, State.DONE)
    assert run(policy, "move", *MOVE[:-1])[0] == 0


@pytest.mark.parametrize(
    ("state", "code"),
    [(State.COPIED, 1), (State.VERIFIED, 1), (State.LATE, 1), (State.CONFLICT, 0), (State.DONE, 0)],
)
def test_a_home_moves_alone_only_where_no_move_of_theirs_has_a_copy_or_a_rest_somewhere(
    policy: Path, state: State, code: int
) -> None:
    runtime = build(policy)

    async def begun() -> None:
        runtime.open()
        journal = MoveJournalSqlite(journal_of(runtime))
        await journal.put([Step(runtime.point.digest(SubjectId("an")), "SG", "VN", state)])
        journal.close()
        await runtime.aclose()

    anyio.run(begun)
    found, output = run(policy, "move", *MOVE)
    assert (found, "a move of theirs from SG to VN has not ended" in output) == (code, bool(code)), output
    assert json.loads(run(policy, "show", "--json")[1])["version"] == (1 if code else 2)


def test_a_store_that_is_away_twice_keeps_nobody_from_moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSES", (0.0, 0.0))
    told = DEPLOYMENT.replace('url: "memory:"', 'url: "file://SINK"').replace(
        "audit:", 'records: {people: {"users/{subject}/": {data: [personal]}}}\naudit:'
    )
    file = write_deployment(tmp_path, told.replace("SINK", "sg", 1).replace("SINK", "vn", 1))

    async def fill() -> None:
        runtime = build(file)
        await runtime.start()
        (sink, _) = runtime.stores.sinks_of("people")
        assert isinstance(sink, ObjectSink)
        await sink.put("users/an/cv", b"mine")
        digest = runtime.point.digest(SubjectId("an"))
        await runtime.point.homes.pins.put(Pin(digest, "SG", (), "ab" * 16, "first_write", "0" * 64, 1))
        await runtime.aclose()

    anyio.run(fill)
    clear, away = RecordParcels.clear, 2

    async def call(self: RecordParcels, wanted: Mapping[str, str]) -> frozenset[str]:
        """The home has turned; what lay abroad is still there."""
        nonlocal away
        if away:
            away -= 1
            raise SinkUnavailable("sink 'people-sg' is away")
        return await clear(self, wanted)

    monkeypatch.setattr(RecordParcels, "clear", call)
    code, output = run(file, "move", *MOVE[:-1])
    assert (code, away, "home VN" in output) == (0, 0, True), output
    assert list((tmp_path / "sg").rglob("*cv*")) == []
