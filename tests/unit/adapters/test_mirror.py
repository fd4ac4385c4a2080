"""Shipping a log: whole, once, by one process, never over what is another log; and the lock is looked at."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from residency.adapters.log_files import LogFiles
from residency.adapters.mirror import Mirror, Shipped
from residency.adapters.mount import FolderPlace
from residency.audit.checkpoint import note_signer
from residency.audit.cosignature import SECOND_VKEY_PATH
from residency.audit.mirror import Lock, Required
from residency.errors import VerificationError
from residency.wiring.mirror import place_at
from tests.audit_log import KEY, VERIFIER
from tests.log_mirror import GrowingLog, held
from tests.servers import eventually

DAY = 86_400_000_000
YEAR = Required(lambda put: put + 365 * DAY, 366)


def a_lock(mode: str = "COMPLIANCE", until: int | None = 800 * DAY) -> Lock:
    """What a bucket says of an object that was put at the beginning of time."""
    return Lock(0, mode, until)


class Bucket(FolderPlace):
    """A folder that says that it locks; it counts what is put."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder, LogFiles(folder))
        self.locked = a_lock()
        self.looked_at: list[str] = []
        self.written: list[str] = []

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        self.written.append(path)

    def lock(self, path: str) -> Lock:
        assert self.read(path) is not None
        self.looked_at.append(path)
        return self.locked


@pytest.fixture
def log(tmp_path: Path) -> GrowingLog:
    """A log of 300 entries."""
    log = GrowingLog(tmp_path / "log")
    log.grow(300)
    return log


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """An empty place."""
    return Bucket(tmp_path / "bucket")


@pytest.fixture
def mirror(log: GrowingLog, bucket: Bucket, tmp_path: Path) -> Iterator[Mirror]:
    """A mirror of the log, not started."""
    mirror = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "mirror.lock")
    yield mirror
    mirror.stop()


def test_round_after_round_the_place_holds_the_whole_log(mirror: Mirror, log: GrowingLog, bucket: Bucket) -> None:
    assert mirror.ship() == Shipped(300, 7, 0)
    assert held(bucket.read) == log.entries
    for more in (1, 100, 300, 256, 2000):
        log.grow(more)
        before = len(bucket.written)
        shipped = mirror.ship()
        assert shipped is not None
        assert (shipped.size, shipped.files) == (len(log.entries), len(bucket.written) - before)
        assert held(bucket.read) == log.entries
    assert len(bucket.written) == len(set(bucket.written)) + bucket.written.count("checkpoint") - 1


def test_the_key_is_first_and_the_checkpoint_last(mirror: Mirror, bucket: Bucket) -> None:
    mirror.ship()
    assert (bucket.written[0], bucket.written[-1]) == ("log.vkey", "checkpoint")


def test_a_round_with_nothing_new_puts_nothing(mirror: Mirror, bucket: Bucket) -> None:
    mirror.ship()
    before = list(bucket.written)
    assert mirror.ship() == Shipped(300, 0, 300)
    assert bucket.written == before


def test_a_log_that_was_not_begun_is_nothing_to_ship(tmp_path: Path, bucket: Bucket) -> None:
    mirror = Mirror(GrowingLog(tmp_path / "new").files, bucket, key=VERIFIER, lock=tmp_path / "lock")
    assert mirror.ship() == Shipped(0, 0, 0)
    assert bucket.written == []


def test_partial_files_go_once_the_full_one_is_there_unless_all_is_locked(
    mirror: Mirror, log: GrowingLog, tmp_path: Path
) -> None:
    mirror.ship()
    log.grow(300)
    mirror.ship()
    names = {str(path.relative_to(tmp_path / "bucket")) for path in (tmp_path / "bucket").rglob("*") if path.is_file()}
    assert {name for name in names if ".p/" in name} == {
        "tile/0/002.p/88",
        "tile/entries/002.p/88",
        "tile/1/000.p/1",
    } | {"tile/1/000.p/2"}


def test_a_second_signature_and_its_key_are_shipped_too(mirror: Mirror, log: GrowingLog, bucket: Bucket) -> None:
    mirror.ship()
    second = note_signer("log.example", KEY)[0]("other text\n")
    note = log.files.read("checkpoint")
    assert note is not None
    log.files.write("checkpoint", note + second.replace("log.example", "witness.example").encode() + b"\n")
    log.files.write(SECOND_VKEY_PATH, b"a key\n")
    assert mirror.ship() == Shipped(300, 2, 300)
    assert bucket.read(SECOND_VKEY_PATH) == b"a key\n"
    assert bucket.read("checkpoint") == log.files.read("checkpoint")


# -- the archive ---------------------------------------------------------------------------------------------------

FACTS = {f"facts/{hashlib.sha256(data).hexdigest()}.json": data for data in (b"one", b"two", b"three")}


@pytest.fixture
def archive(tmp_path: Path) -> LogFiles:
    """An audit folder with archived facts, and files beside them that are none."""
    files = LogFiles(tmp_path / "audit")
    files.write_all([*FACTS.items(), ("policies/notes.txt", b"x"), ("facts/.half.tmp", b"x"), ("versions/1", b"x")])
    return files


def whole(log: GrowingLog, bucket: Bucket, archive: LogFiles, tmp_path: Path) -> Mirror:
    """A mirror that ships the archive too."""
    return Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "mirror.lock", archive=archive)


def test_what_is_archived_is_there_before_the_checkpoint_that_needs_it(
    log: GrowingLog, bucket: Bucket, archive: LogFiles, tmp_path: Path
) -> None:
    mirror = whole(log, bucket, archive, tmp_path)
    assert mirror.ship() == Shipped(300, 10, 0)
    assert {path for path in bucket.written if not path.startswith(("tile/", "log.", "checkpoint"))} == set(FACTS)
    assert max(map(bucket.written.index, FACTS)) < bucket.written.index("checkpoint")
    more = f"facts/{hashlib.sha256(b'four').hexdigest()}.json"
    archive.write(more, b"four")
    log.grow(1)
    bucket.written.clear()
    assert mirror.ship() == Shipped(301, 3 + 1, 300)
    assert (bucket.written[0], bucket.written[-1]) == (more, "checkpoint")


def test_a_place_that_has_the_log_and_no_archive_is_given_it(
    log: GrowingLog, bucket: Bucket, archive: LogFiles, mirror: Mirror, tmp_path: Path
) -> None:
    mirror.ship()
    mirror.release()
    first = whole(log, bucket, archive, tmp_path)
    assert first.ship() == Shipped(300, 3, 300)
    assert first.ship() == Shipped(300, 0, 300)
    first.release()
    assert whole(log, bucket, archive, tmp_path).ship() == Shipped(300, 0, 300)


def test_an_archived_file_that_was_changed_stays_here_and_is_told_once_the_log_is_shipped(
    log: GrowingLog, bucket: Bucket, archive: LogFiles, tmp_path: Path
) -> None:
    broken = sorted(FACTS)[0]
    archive.write(broken, b"else")
    mirror = whole(log, bucket, archive, tmp_path)
    for _ in range(2):
        with pytest.raises(VerificationError, match=f"{broken} is not what its digest names"):
            mirror.ship()
    assert held(bucket.read) == log.entries
    assert [bucket.read(path) is None for path in sorted(FACTS)] == [True, False, False]
    archive.write(broken, FACTS[broken])
    assert mirror.ship() == Shipped(300, 1, 300)


def test_a_log_of_another_is_given_no_archive(
    log: GrowingLog, bucket: Bucket, archive: LogFiles, tmp_path: Path
) -> None:
    other = GrowingLog(tmp_path / "other", first=b"another first entry")
    other.grow(300)
    whole(other, bucket, LogFiles(tmp_path / "none"), tmp_path).ship()
    with pytest.raises(VerificationError, match="does not begin with"):
        Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "lock", archive=archive).ship()
    assert not [path for path in bucket.written if path.startswith("facts")]


# -- another log ---------------------------------------------------------------------------------------------------


def test_a_place_that_knows_more_is_left_as_it_is(mirror: Mirror, bucket: Bucket, tmp_path: Path) -> None:
    mirror.ship()
    mirror.release()
    before = dict(files(tmp_path / "bucket"))
    lost = GrowingLog(tmp_path / "lost")
    lost.grow(299)
    with pytest.raises(VerificationError, match=r"300 entries and the log here only 299.*predecessor"):
        Mirror(lost.files, bucket, key=VERIFIER, lock=tmp_path / "lock").ship()
    assert dict(files(tmp_path / "bucket")) == before


@pytest.mark.parametrize("size", [300, 301, 900])
def test_a_place_that_holds_another_history_is_left_as_it_is(
    mirror: Mirror, bucket: Bucket, tmp_path: Path, size: int
) -> None:
    mirror.ship()
    before = dict(files(tmp_path / "bucket"))
    other = GrowingLog(tmp_path / "other", first=b"another first entry")
    other.grow(size)
    with pytest.raises(VerificationError, match="does not begin with"):
        Mirror(other.files, bucket, key=VERIFIER, lock=tmp_path / "lock").ship()
    assert dict(files(tmp_path / "bucket")) == before


def test_a_place_whose_checkpoint_we_did_not_sign_is_left_as_it_is(
    log: GrowingLog, bucket: Bucket, mirror: Mirror, tmp_path: Path
) -> None:
    for note in (b"not a note", (log.files.read("checkpoint") or b"").replace(b"log.example", b"else.example")):
        bucket.write("checkpoint", note)
        with pytest.raises(VerificationError, match=r"checkpoint is not of this log.*place of its own"):
            mirror.ship()
        assert dict(files(tmp_path / "bucket")) == {"checkpoint": note}


def test_a_place_that_forgot_is_shipped_to_again_and_that_is_told(
    mirror: Mirror, bucket: Bucket, log: GrowingLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.ship()
    (tmp_path / "bucket" / "checkpoint").unlink()
    mirror.ship()
    assert held(bucket.read) == log.entries
    assert "held 300 entries and now says 0" in caplog.text


def test_a_file_that_somebody_else_put_is_told_and_left(mirror: Mirror, bucket: Bucket) -> None:
    bucket.write("tile/0/000", b"poison")
    with pytest.raises(VerificationError, match="something else as tile/0/000"):
        mirror.ship()
    assert bucket.read("tile/0/000") == b"poison"
    assert bucket.read("checkpoint") is None


def test_a_local_file_that_changed_is_not_shipped(mirror: Mirror, log: GrowingLog, bucket: Bucket) -> None:
    data = log.files.read("tile/entries/000")
    assert data is not None
    log.files.write("tile/entries/000", data.replace(b"entry 7\0", b"entry 8\0"))
    with pytest.raises(VerificationError, match="tile/entries/000 is not what"):
        mirror.ship()
    assert (bucket.read("tile/entries/000"), bucket.read("checkpoint")) == (None, None)


# -- locks ---------------------------------------------------------------------------------------------------------


def test_a_lock_is_looked_at_first_on_the_key_and_in_each_round_on_what_was_put(
    log: GrowingLog, bucket: Bucket, tmp_path: Path
) -> None:
    mirror = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "lock", required=YEAR)
    mirror.ship()
    log.grow(1)
    mirror.ship()
    mirror.ship()
    assert bucket.looked_at == ["log.vkey", "tile/1/000.p/1", "tile/0/001.p/45"]


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        (a_lock(mode="", until=None), "locked not at all"),
        (a_lock(mode="GOVERNANCE"), "locked in mode governance"),
        (a_lock(until=None), "locked in mode compliance"),
        (a_lock(until=364 * DAY), "locked for 364 days only"),
    ],
)
def test_a_place_that_does_not_lock_is_told_before_the_log_lies_in_it(
    log: GrowingLog, bucket: Bucket, tmp_path: Path, lock: Lock, says: str
) -> None:
    bucket.locked = lock
    mirror = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "lock", required=YEAR)
    with pytest.raises(VerificationError, match=f"{says}.*default retention of 366 days in mode COMPLIANCE"):
        mirror.ship()
    assert bucket.written == ["log.vkey"]


def test_a_lock_that_is_taken_away_later_holds_the_checkpoint_back(
    log: GrowingLog, bucket: Bucket, tmp_path: Path
) -> None:
    mirror = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "lock", required=YEAR)
    mirror.ship()
    log.grow(1)
    bucket.locked = a_lock(until=1)
    with pytest.raises(VerificationError, match="days only"):
        mirror.ship()
    assert held(bucket.read) == log.entries[:300]


def test_a_lock_of_just_the_time_asked_for_is_enough(log: GrowingLog, bucket: Bucket, tmp_path: Path) -> None:
    bucket.locked = a_lock(until=365 * DAY)
    assert Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "lock", required=YEAR).ship() is not None


# -- processes and threads -----------------------------------------------------------------------------------------


def test_of_two_that_would_ship_one_does(mirror: Mirror, log: GrowingLog, bucket: Bucket, tmp_path: Path) -> None:
    other = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "mirror.lock")
    assert mirror.ship() is not None
    assert other.ship() is None
    assert (mirror.is_ours, other.is_ours, other.lag()) == (True, False, None)
    mirror.release()
    assert other.ship() == Shipped(300, 0, 300)
    other.release()


def test_a_log_that_begins_is_shipped_at_once_however_seldom_the_rest_is(bucket: Bucket, tmp_path: Path) -> None:
    log = GrowingLog(tmp_path / "new")
    mirror = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "lock", every=86_400)
    mirror.start()
    eventually(lambda: mirror.is_ours, what="the first round")
    log.grow(3)
    eventually(lambda: bucket.read("checkpoint"), what="the first shipment")
    assert held(bucket.read) == log.entries
    mirror.stop()


def test_who_stands_by_ships_soon_after_the_shipper_is_gone(
    mirror: Mirror, log: GrowingLog, bucket: Bucket, tmp_path: Path
) -> None:
    mirror.ship()
    other = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "mirror.lock", every=86_400)
    other.start()
    log.grow(5)
    mirror.release()
    eventually(lambda: held(bucket.read) == log.entries, what="the other one's shipment")
    other.stop()


def test_a_forked_child_lets_the_lock_go_and_the_parent_keeps_it(mirror: Mirror) -> None:
    mirror.ship()
    child = os.fork()
    if child == 0:
        os._exit(int(mirror.is_ours))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mirror.is_ours


def test_what_is_published_last_is_shipped_at_the_end(mirror: Mirror, log: GrowingLog, bucket: Bucket) -> None:
    mirror.every = 3600
    mirror.start()
    eventually(lambda: bucket.read("checkpoint"), what="the first shipment")
    log.grow(5)
    mirror.stop()
    assert held(bucket.read) == log.entries
    assert not mirror.is_ours


def test_who_ends_while_another_one_ships_waits_for_it_and_ships_the_rest(
    mirror: Mirror, log: GrowingLog, bucket: Bucket, tmp_path: Path
) -> None:
    mirror.ship()
    other = Mirror(log.files, bucket, key=VERIFIER, lock=tmp_path / "mirror.lock", every=3600)
    other.start()
    log.grow(5)
    ending = threading.Thread(target=other.stop)
    ending.start()
    ending.join(0.3)
    assert ending.is_alive()
    assert held(bucket.read) == log.entries[:300]
    mirror.release()
    ending.join()
    assert held(bucket.read) == log.entries


def test_a_place_that_hangs_holds_the_end_up_for_as_long_as_was_said_and_no_longer(
    mirror: Mirror, log: GrowingLog, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = threading.Event()
    put: list[str] = []

    def hang(path: str, data: bytes) -> bool:
        put.append(path)
        return goes_on.wait(60)

    log.grow(256 * 40)
    mirror.ship()
    log.grow(256 * 40)
    monkeypatch.setattr(bucket, "create", hang)
    mirror.start()
    eventually(lambda: put, what="the first put")
    mirror.stop(patience=0.1)
    assert "the next start goes on with it" in caplog.text
    assert mirror.is_ours
    goes_on.set()
    eventually(lambda: not mirror.is_ours, what="the lock's release")
    # What was on its way is through, and nothing was begun any more.
    assert 1 <= len(put) <= 9
    assert held(bucket.read) == log.entries[: 300 + 256 * 40]


def test_a_place_that_is_away_is_a_problem_that_ends(
    log: GrowingLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mount" / "log"
    mirror = Mirror(log.files, place_at(f"file://{folder}"), key=VERIFIER, lock=tmp_path / "lock", every=0.01)
    with caplog.at_level(logging.WARNING, "residency"):
        mirror.start()
        eventually(lambda: mirror.problem, what="the problem")
        assert mirror.problem == "the mirror's folder is not there: is it mounted?"
        assert (mirror.lag() or 0) > 0
        folder.mkdir(parents=True)
        eventually(lambda: mirror.problem is None, what="the end of the problem")
        mirror.stop()
    assert held(lambda path: (folder / path).read_bytes() if (folder / path).is_file() else None) == log.entries
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "is it mounted?" in told[0]
    assert told[1] == "mirror: it is shipped again"


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
