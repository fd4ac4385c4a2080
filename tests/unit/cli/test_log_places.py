"""Where a log lies: a folder, a bucket, a web address; verified over each as on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from residency.cli.log_places import around, folder_of, is_url, name_of, reader_of
from residency.errors import Unavailable
from tests.audit_log import ENTRIES, write_log
from tests.object_store import StubS3, stub_s3
from tests.recorded_log import some_weeks

runner = CliRunner()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of four entries."""
    return write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES])


@pytest.fixture
def stub(log: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """A bucket that holds the log below `chat`; it is a web server of plain files too."""
    with stub_s3(monkeypatch) as server:
        for path in log.rglob("*"):
            if path.is_file():
                server.put(f"chat/{path.relative_to(log)}", path.read_bytes())
        yield server


@pytest.fixture(params=["folder", "file", "s3", "http"])
def place(request: pytest.FixtureRequest, log: Path, stub: StubS3) -> str:
    """Each kind of place in turn."""
    return {
        "folder": str(log),
        "file": f"file://{log}",
        "s3": "s3://bucket/chat",
        "http": f"{stub.endpoint}/chat",
    }[str(request.param)]


def test_a_log_verifies_wherever_it_lies(place: str, log: Path) -> None:
    result = runner.invoke(audit_app, ["verify", place, "--key", str(log / "log.vkey"), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["size"]) == (0, 4)


def test_an_export_is_the_same_wherever_the_log_lies(place: str, log: Path, tmp_path: Path) -> None:
    for which in (place, str(log)):
        out = tmp_path / ("here" if which == str(log) else "there")
        result = runner.invoke(audit_app, ["export", which, "--out", str(out), "--format", "jsonl"])
        assert result.exit_code == 0, result.output
    there = tmp_path / "there"
    assert not there.exists() or there.read_bytes() == (tmp_path / "here").read_bytes()


def test_a_file_that_is_missing_there_is_missing(stub: StubS3, log: Path) -> None:
    stub.objects.pop("chat/tile/0/000.p/4")
    for place in ("s3://bucket/chat", f"{stub.endpoint}/chat"):
        result = runner.invoke(audit_app, ["verify", place, "--key", str(log / "log.vkey")])
        assert result.exit_code == 1
        assert "tile/0/000.p/4 is missing" in " ".join(result.output.split())


def test_a_file_that_cannot_be_read_there_is_told_with_its_status(stub: StubS3) -> None:
    stub.bend = lambda _method, key: 403 if key.endswith("checkpoint") else None
    for place in ("s3://bucket/chat", f"{stub.endpoint}/chat"):
        with pytest.raises(Unavailable, match=r"checkpoint .*\(status 403"):
            reader_of(place)("checkpoint")


@pytest.mark.parametrize(
    "command",
    [
        ["verify"], ["show"], ["open"], ["query"], ["query", "--scan"], ["register"], ["rebuild"], ["prove", "0"],
        ["report", "--out", "r.html"], ["receipt", "--index", "0"], ["export", "--out", "x", "--format", "jsonl"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_place_that_cannot_be_reached_says_nothing_of_the_log_and_exits_2(
    stub: StubS3, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stub.bend = lambda _method, _key: 403
    for place in ("s3://bucket/chat", f"{stub.endpoint}/chat"):
        result = runner.invoke(audit_app, [command[0], place, *command[1:]])
        assert result.exit_code == 2, result.output
        told = " ".join(result.output.split())
        assert "status 403" in told
        assert "Does not hold" not in told
        assert '"holds": false' not in told


def test_for_a_program_a_place_that_cannot_be_reached_holds_nothing_known(stub: StubS3) -> None:
    stub.bend = lambda _method, _key: 503
    result = runner.invoke(audit_app, ["verify", f"{stub.endpoint}/chat", "--json"])
    assert (result.exit_code, json.loads(result.stdout)["holds"]) == (2, None)


# -- a mirror is a whole log ---------------------------------------------------------------------------------------


class Shipped:
    """A log with everything in it and its archive, on disk and in each kind of place that a mirror can be."""

    def __init__(self, audit: Path, folder: Path, stub: StubS3) -> None:
        self.log = shutil.copytree(audit, folder / "audit") / "log"
        self.key = folder / "log.vkey"
        self.key.write_bytes((self.log / "log.vkey").read_bytes())
        mount = folder / "mount"
        mount.mkdir()
        self.places = {
            "folder": str(mount), "file": f"file://{mount}", "s3": "s3://bucket/weeks",
            "http": f"{stub.endpoint}/weeks",
        }  # fmt: skip
        for place in (self.places["file"], self.places["s3"]):
            result = runner.invoke(audit_app, ["mirror", str(self.log), place])
            assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit folder of some weeks."""
    folder = tmp_path_factory.mktemp("weeks")
    return some_weeks(folder / "made", 150).write(folder / "audit").parent


@pytest.fixture
def shipped(weeks: Path, tmp_path: Path, stub: StubS3, monkeypatch: pytest.MonkeyPatch) -> Shipped:
    """The weeks of a deployment, shipped; what commands keep is kept in the test's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return Shipped(weeks, tmp_path, stub)


@pytest.mark.parametrize("kind", ["folder", "file", "s3", "http"])
def test_decisions_are_made_again_from_a_mirror_alone(shipped: Shipped, kind: str) -> None:
    told = {}
    for place in (str(shipped.log), shipped.places[kind]):
        result = runner.invoke(audit_app, ["verify", place, "--key", str(shipped.key), "--json"])
        assert result.exit_code == 0, result.output
        told[place] = json.loads(result.stdout)["coverage"]
    assert told[shipped.places[kind]] == told[str(shipped.log)]
    assert told[str(shipped.log)]["replayed"] == told[str(shipped.log)]["decisions"] > 100


@pytest.mark.parametrize("kind", ["s3", "http"])
@pytest.mark.parametrize(
    "command",
    [
        ["show", "--last", "30", "--json"], ["open"], ["query", "--effect", "deny", "--json"],
        ["query", "--scan", "--kind", "intent", "--json"], ["register", "--json", "--at", "2026-10-01"],
        ["rebuild", "--json"], ["receipt", "--alias", "aa" * 8],
    ],
    ids=" ".join,
)  # fmt: skip
def test_commands_that_read_answer_alike_wherever_the_log_lies(
    shipped: Shipped, command: list[str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_795_000_000_000_000_000)
    told = {}
    for place in (str(shipped.log), shipped.places[kind]):
        result = runner.invoke(audit_app, [command[0], place, *command[1:], "--key", str(shipped.key)])
        told[place] = result.exit_code, result.stdout
    assert told[shipped.places[kind]] == told[str(shipped.log)]
    assert told[str(shipped.log)][1]


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_report_on_a_mirror_is_that_on_the_log_but_for_where_it_lies(shipped: Shipped, kind: str) -> None:
    told = []
    for place in (str(shipped.log), shipped.places[kind]):
        result = runner.invoke(audit_app, ["report", place, "--key", str(shipped.key), "--out", "r.html"])
        assert result.exit_code == 0, result.output
        told.append(json.loads(Path("r.json").read_text()))
    assert [each["verification"].pop("log") for each in told] == ["log", shipped.places[kind]]
    assert told[0] == told[1]


def test_an_index_of_a_log_elsewhere_is_kept_by_who_asks_and_carried_on(shipped: Shipped, stub: StubS3) -> None:
    for _ in range(2):
        stub.asked.clear()
        result = runner.invoke(audit_app, ["query", shipped.places["s3"], "--rule", "no.such.rule"])
        assert result.exit_code == 0, result.output
    assert [path.suffix for path in sorted(Path("state/residency").glob("index-*"))] == [".db", ".mac"]
    assert not [key for _, key in stub.asked if "entries" in key]


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_an_archived_file_that_was_changed_there_does_not_hold(shipped: Shipped, stub: StubS3, kind: str) -> None:
    for folder in ("policies", "facts"):
        (path,) = (key for key in stub.objects if f"/{folder}/" in key)
        before = stub.objects[path]
        stub.put(path, before.replace(b'"v":1', b'"v":2'))
        result = runner.invoke(audit_app, ["verify", shipped.places[kind], "--key", str(shipped.key), "--json"])
        problem = json.loads(result.stdout)["problem"]
        assert (result.exit_code, problem) == (1, f"{path.removeprefix('weeks/')} is not what its digest names")
        stub.put(path, before)


def test_a_mirror_without_an_archive_is_told_as_a_log_without_one(shipped: Shipped, stub: StubS3) -> None:
    for path in [key for key in stub.objects if "/policies/" in key]:
        del stub.objects[path]
    result = runner.invoke(audit_app, ["verify", shipped.places["s3"], "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["coverage"]) == (0, None)
    assert "not_replayed" in [finding["what"] for finding in told["findings"]]
    audit = str(shipped.log.parent)
    result = runner.invoke(audit_app, ["verify", shipped.places["s3"], "--audit", audit, "--json"])
    assert json.loads(result.stdout)["coverage"]["share"] == 1.0


def test_tiles_that_a_bucket_lost_are_made_again_there_and_behind_a_web_address_they_are_named(
    shipped: Shipped, stub: StubS3
) -> None:
    before = stub.objects["weeks/tile/0/000"]
    del stub.objects["weeks/tile/0/000"]
    result = runner.invoke(audit_app, ["rebuild", shipped.places["http"], "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["missing"], told["written"]) == (1, ["tile/0/000"], [])
    assert runner.invoke(audit_app, ["rebuild", shipped.places["http"], "--replace"]).exit_code == 2
    result = runner.invoke(audit_app, ["rebuild", shipped.places["s3"], "--json"])
    assert (result.exit_code, json.loads(result.stdout)["written"]) == (0, ["tile/0/000"])
    assert stub.objects["weeks/tile/0/000"] == before


def test_a_place_is_named_to_others_without_its_folders_and_credentials() -> None:
    assert name_of("/srv/audit/log") == name_of("file:///srv/audit/log") == "log"
    assert name_of("https://me:secret@logs.example/chat") == "https://logs.example/chat"
    assert name_of("s3://bucket/chat") == "s3://bucket/chat"


def test_what_lies_beside_a_log_is_looked_for_above_it_and_in_a_mirror_in_it(tmp_path: Path) -> None:
    log = tmp_path / "audit" / "log"
    (log / "policies").mkdir(parents=True)
    assert (around(str(log)), around("s3://bucket/log")) == (log, None)
    (tmp_path / "audit" / "policies").mkdir()
    assert around(str(log)) == tmp_path / "audit"
    assert folder_of(f"file://{log}") == log


@pytest.mark.parametrize("place", ["ftp://host/log", "s3://", "https://", "/nowhere/at/all", "s3://KEY:TOP@bucket/log"])
def test_what_cannot_be_read_from_is_wrong_use(place: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        reader_of(place)
    assert "TOP" not in str(refused.value)


def test_a_url_is_told_from_a_folder() -> None:
    assert is_url("s3://bucket/log")
    assert not is_url("./log")
    assert not is_url("C:/log")
