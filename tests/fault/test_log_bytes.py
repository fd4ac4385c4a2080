"""Whatever byte of whatever file of an audit folder is flipped, dropped, inserted, moved or cut: `audit verify` says
so, and names the file or the entry."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from residency.audit.entry import format_entry
from residency.audit.open_intents import OPEN_INTENTS_PATH, OpenIntents, format_open_intents
from residency.audit.sequencer import STATE_PATH, Cursor, State, format_state
from residency.audit.verify import read_checkpoint
from residency.cli.audit import audit_app
from residency.cli.audit.verify_log import Asked, verify_log
from residency.errors import VerificationError
from tests.audit_log import INTENT, VERIFIER, write_log
from tests.recorded_log import RecordedLog
from tests.world import HOME, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
START = 1_795_000_000_000_000
ASKED = Asked(key=None, seen=(), audit=None, replay=True, max_gap=10**15, now=START + 10**9, progress=False)
# Where a message may say that something is wrong, if not by the name of the very file.
PLACE = re.compile(r"entry \d+ is not the one that tile/0/|entries do not hash to the root in the checkpoint")
Change = Callable[[bytes], Iterator[bytes]]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit folder: a log of five entries, its policy and facts, what the sequencer keeps."""
    folder = tmp_path_factory.mktemp("served")
    log = RecordedLog(load_policy(write_deployment(folder, DEPLOYMENT, (HOME,))), START)
    log.ask("POST /people")
    log.ask("POST /people")
    written = log.write(folder / "audit")
    checkpoint = read_checkpoint(lambda path: (written / path).read_bytes(), VERIFIER)
    state = State(checkpoint.origin, checkpoint.size, checkpoint.root, {0: Cursor(0, 4096, checkpoint.size)})
    (folder / "audit" / STATE_PATH).write_bytes(format_state(state))
    (folder / "audit" / OPEN_INTENTS_PATH).write_bytes(format_open_intents(OpenIntents(), checkpoint.origin))
    return folder / "audit"


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two full bundles and a partial one, with both levels of tiles."""
    entries = [format_entry(replace(INTENT, id=f"0.{n}", kind="decision", at=START + n)) for n in range(600)]
    return write_log(tmp_path_factory.mktemp("larger") / "log", entries)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def why(log: Path) -> str | None:
    """Why the log does not hold, None where it does."""
    try:
        verify_log(str(log), ASKED)
    except VerificationError as error:
        return str(error)
    return None


def flipped(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def dropped(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[:at] + data[at + 1 :]


def inserted(data: bytes) -> Iterator[bytes]:
    for at in range(len(data) + 1):
        yield data[:at] + b"\n0 \0"[at % 4 : at % 4 + 1] + data[at:]


def cut(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[:at]


def thinned(changed: Iterator[bytes], full: bool) -> Iterator[bytes]:
    """All of them, or each 11th and the first."""
    return (data for number, data in enumerate(changed) if full or number % 11 == 0)


CHANGES: list[Change] = [flipped, dropped, inserted, cut]


def test_the_untouched_folder_holds_and_all_its_decisions_come_out_again(audit: Path) -> None:
    verified = verify_log(str(audit / "log"), ASKED)
    assert verified.redecide is not None
    assert (verified.redecide.right, verified.findings) == (2, ())
    assert len(files(audit)) == 8


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("change", CHANGES)
def test_each_byte_of_each_file_of_a_log_and_its_archive(
    audit: Path, tmp_path: Path, change: Change, full: bool
) -> None:
    copy = Path(shutil.copytree(audit, tmp_path / "audit"))
    for path, data in files(audit).items():
        for other in thinned(change(data), full):
            (copy / path).write_bytes(other)
            told = why(copy / "log")
            assert told is not None, (path, other)
            own = path.removeprefix("log/")
            assert own in told or (PLACE.search(told) and path.startswith("log/tile/")), (path, told)
        (copy / path).write_bytes(data)
    assert why(copy / "log") is None


@pytest.mark.parametrize("path", ["checkpoint", "log.vkey", "tile/0/000.p/5", "tile/entries/000.p/5"])
def test_a_file_that_is_gone_is_named(audit: Path, tmp_path: Path, path: str) -> None:
    copy = Path(shutil.copytree(audit, tmp_path / "audit"))
    (copy / "log" / path).unlink()
    told = why(copy / "log")
    assert told is not None
    assert path in told


def test_an_archived_policy_that_is_gone_is_told_and_not_taken_for_the_same(audit: Path, tmp_path: Path) -> None:
    for folder in ("policies", "facts"):
        copy = Path(shutil.copytree(audit, tmp_path / folder))
        for path in (copy / folder).iterdir():
            path.unlink()
        assert [finding.what for finding in verify_log(str(copy / "log"), ASKED).findings] == ["not_replayed"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_change_to_a_larger_log(larger: Path, data: st.DataObject) -> None:
    known = files(larger)
    path = data.draw(st.sampled_from(sorted(known)))
    content = known[path]
    at = data.draw(st.integers(0, len(content) - 1))
    how = data.draw(st.sampled_from(["flip", "insert", "drop", "cut", "swap", "double"]))
    if how == "flip":
        changed = content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :]
    elif how == "insert":
        changed = content[:at] + data.draw(st.binary(min_size=1, max_size=70)) + content[at:]
    elif how == "drop":
        changed = content[:at] + content[at + data.draw(st.integers(1, 70)) :]
    elif how == "cut":
        changed = content[:at]
    elif how == "double":
        changed = content + content[at:]
    else:
        other = data.draw(st.sampled_from(sorted(known)))
        if known[other] == content:
            return
        changed = known[other]
    told = refused(known | {path: changed}, larger)
    assert told is not None, (path, how, at)
    assert path in told or (PLACE.search(told) and path.startswith("tile/")), (path, told)


def refused(changed: dict[str, bytes], log: Path) -> str | None:
    """Why a log of these files does not hold; what of it differs from `log` is written there and taken back."""
    kept = files(log)
    try:
        for path, content in changed.items():
            if kept[path] != content:
                (log / path).write_bytes(content)
        return why(log)
    finally:
        for path, content in kept.items():
            if changed[path] != content:
                (log / path).write_bytes(content)


def framed(bundle: bytes) -> list[bytes]:
    """The entries of a bundle with their lengths."""
    frames = []
    while bundle:
        end = 2 + int.from_bytes(bundle[:2], "big")
        frames.append(bundle[:end])
        bundle = bundle[end:]
    return frames


@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 255), (17, 200)])
def test_two_entries_that_change_places_are_found_in_the_bundle_alone_and_with_its_tile(
    larger: Path, tmp_path: Path, one: int, other: int
) -> None:
    copy = Path(shutil.copytree(larger, tmp_path / "log"))
    bundle, tile = copy / "tile/entries/001", copy / "tile/0/001"
    frames = framed(bundle.read_bytes())
    frames[one], frames[other] = frames[other], frames[one]
    bundle.write_bytes(b"".join(frames))
    assert f"entry {256 + one} is not the one that tile/0/001 commits to" in (why(copy) or "")
    hashes = [tile.read_bytes()[at : at + 32] for at in range(0, 8192, 32)]
    hashes[one], hashes[other] = hashes[other], hashes[one]
    tile.write_bytes(b"".join(hashes))
    # Now the tile above does not fit; and once that was made to fit too, the root that is signed.
    assert re.search(r"entry \d+ is|tile/1/000\.p/2: hash 1", why(copy) or "")


def test_two_files_that_change_places_are_found(larger: Path, tmp_path: Path) -> None:
    for folder in ("tile/entries", "tile/0"):
        copy = Path(shutil.copytree(larger, tmp_path / folder.replace("/", "-")))
        first, second = copy / folder / "000", copy / folder / "001"
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)
        assert "entry 0 is not the one that tile/0/000 commits to" in (why(copy) or "")


def test_a_log_cut_at_an_earlier_checkpoint_holds_alone_and_not_for_whoever_saw_the_later_one(
    larger: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    entries = [format_entry(replace(INTENT, id=f"0.{n}", kind="decision", at=START + n)) for n in range(300)]
    shorter = write_log(tmp_path / "shorter", entries)
    assert why(shorter) is None
    told = verify("--remember", seen, larger)
    assert (told["holds"], told["seen"]) == (True, 0)
    told = verify("--remember", seen, shorter)
    assert told["holds"] is False
    assert "shorter: seen 600 entries under root" in told["problem"]
    assert seen.read_bytes() == (larger / "checkpoint").read_bytes()


def verify(*args: str | Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(CliRunner().invoke(audit_app, ["verify", *map(str, args), "--json"]).stdout)
    return told
