"""All slots' journals become one log, however often the sequencer changes hands."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import Sequencer
from residency.audit.checkpoint import parse_verifier_key
from residency.audit.cosignature import COSIGNER_KINDS, SECOND_VKEY_PATH, Cosignature, find_cosignature
from residency.audit.journal import RECORDS_AT, record_size
from residency.audit.verify import read_checkpoint, verify_entries
from residency.errors import JournalCorrupt, VerificationError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SECOND = MLDSA44PrivateKey.from_seed_bytes(bytes(32))


class Place:
    """A folder with journals and a log, and everything opened in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = LogFiles(folder / "log")
        self.opened: list[JournalFiles | Sequencer] = []

    def journal(self) -> JournalFiles:
        journal = JournalFiles(self.folder / "journal", segment_bytes=16_384, entry_limit=2000).open()
        self.opened.append(journal)
        return journal

    def sequencer(
        self, key: Ed25519PrivateKey = KEY, origin: str = "log.example", second: MLDSA44PrivateKey | None = None
    ) -> Sequencer:
        state = LogFiles(self.folder)
        sequencer = Sequencer(
            self.folder / "journal", self.log, state, key=key, origin=origin, second_key=second, interval=0.02
        )
        self.opened.append(sequencer)
        return sequencer

    def entries(self) -> list[bytes]:
        vkey = self.log.read("log.vkey")
        assert vkey is not None
        return list(verify_entries(self.log.read, read_checkpoint(self.log.read, parse_verifier_key(vkey.decode()))))

    def close(self) -> None:
        for thing in self.opened:
            if isinstance(thing, JournalFiles):
                thing.close()
            else:
                thing.stop()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_an_empty_log_is_published_at_once_with_its_key(place: Place) -> None:
    assert place.sequencer().tick() == 0
    assert place.entries() == []


def test_entries_of_all_slots_come_in_each_slots_order(place: Place) -> None:
    journals = [place.journal() for _ in range(3)]
    for i in range(200):
        journals[i % 3].append(b"%d from %d" % (i, i % 3))
    sequencer = place.sequencer()
    assert sequencer.tick() == 200
    assert sequencer.tick() == 0
    found = place.entries()
    assert len(found) == 200
    for slot in range(3):
        mine = [int(entry.split()[0]) for entry in found if entry.endswith(b"%d" % slot)]
        assert mine == list(range(slot, 200, 3))
    assert sequencer.published == 200
    assert sequencer.cursors == {0: 67, 1: 67, 2: 66}
    standby = place.sequencer()
    assert standby.cursors == {}
    assert standby.stored_cursors() == {0: 67, 1: 67, 2: 66}


def test_growth_over_many_ticks_segments_and_sequencers_keeps_every_entry_once(place: Place) -> None:
    journal = place.journal()
    expected = []
    for round_ in range(6):
        sequencer = place.sequencer()
        for i in range(round_ * 37 + 5):
            expected.append(b"%d/%d " % (round_, i) + b"x" * 400)
            journal.append(expected[-1])
            if i % 20 == 0:
                sequencer.tick()
        sequencer.stop()
        assert place.entries() == expected


def test_a_dead_workers_entries_are_integrated_too(place: Place) -> None:
    journal = place.journal()
    journal.append(b"last words")
    journal.close()
    place.sequencer().tick()
    assert place.entries() == [b"last words"]


def test_segments_that_are_wholly_published_go_but_for_the_last_before_the_one_being_read(place: Place) -> None:
    journal = place.journal()
    sequencer = place.sequencer()
    for i in range(300):
        journal.append(b"%d " % i + b"x" * 500)
    sequencer.tick()
    left = sorted(int(path.stem) for path in (place.folder / "journal/0").glob("*.seg"))
    assert left[0] > 5
    journal.close()
    journal = place.journal()
    assert journal.next_seq == 300
    journal.append(b"and on")
    sequencer.tick()
    assert len(place.entries()) == 301


def test_of_two_sequencers_one_works_and_the_other_takes_over_when_it_lets_go(place: Place) -> None:
    journal = place.journal()
    first, second = place.sequencer(), place.sequencer()
    journal.append(b"one")
    assert (first.tick(), second.tick()) == (1, 0)
    assert (first.active, second.active) == (True, False)
    journal.append(b"two")
    assert second.tick() == 0
    first.stop()
    assert second.tick() == 0  # the first one integrated it before it stopped
    journal.append(b"three")
    assert second.tick() == 1
    assert place.entries() == [b"one", b"two", b"three"]


def test_a_running_sequencer_publishes_by_itself_and_stopping_drains(place: Place) -> None:
    journal = place.journal()
    sequencer = place.sequencer()
    sequencer.start()
    journal.append(b"one")
    until = time.monotonic() + 30
    while sequencer.published != 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert place.entries() == [b"one"]
    journal.append(b"two")
    sequencer.stop()
    sequencer.stop()
    assert place.entries() == [b"one", b"two"]
    assert sequencer.problem is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_who_stands_by_integrates_what_is_left_where_the_other_one_went_before_it(place: Place) -> None:
    first, second, journal = place.sequencer(), place.sequencer(), place.journal()
    first.tick()
    second.start()
    time.sleep(0.05)  # it has looked once, and does so again in half a second
    first.stop()
    journal.append(b"recorded as the first one ended")
    second.stop((journal.slot, journal.next_seq))
    assert place.entries() == [b"recorded as the first one ended"]


@pytest.mark.parametrize("last", ["publishes", "goes"])
def test_who_stands_by_waits_at_its_end_for_the_one_that_works(place: Place, last: str) -> None:
    first, second, journal = place.sequencer(), place.sequencer(), place.journal()
    first.tick()
    second.start()
    journal.append(b"recorded after the first one looked")
    ending = threading.Thread(target=second.stop, args=((journal.slot, journal.next_seq),))
    ending.start()
    ending.join(0.2)
    assert ending.is_alive()
    if last == "publishes":
        first.tick()
    else:
        first._release()  # without a last look
    ending.join(60)
    assert not ending.is_alive()
    assert place.entries() == [b"recorded after the first one looked"]
    assert first.active is (last == "publishes")


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(place: Place) -> None:
    first = place.sequencer()
    first.tick()
    read, write = os.pipe()
    born_read, born_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.write(born_write, b"!")
        os.read(read, 1)
        os._exit(0)
    os.read(born_read, 1)  # the child lets go as it is born, not as its parent returns from fork
    first.stop()
    second = place.sequencer()
    second.tick()
    assert second.active
    for fd in (write, read, born_read, born_write):
        os.close(fd)
    os.waitpid(child, 0)


def test_another_key_or_origin_is_refused_for_a_log_that_has_one(place: Place) -> None:
    place.journal().append(b"one")
    first = place.sequencer()
    first.tick()
    first.stop()
    with pytest.raises(VerificationError, match=r"log\.vkey"):
        place.sequencer(key=Ed25519PrivateKey.from_private_bytes(b"\1" * 32)).tick()
    place.close()
    with pytest.raises(VerificationError, match=r"log\.vkey"):
        place.sequencer(origin="log.other").tick()


def signed_twice(place: Place) -> bool:
    note, key = place.log.read("checkpoint"), place.log.read(SECOND_VKEY_PATH)
    assert note is not None
    assert key is not None
    second = parse_verifier_key(key.decode(), COSIGNER_KINDS)
    return find_cosignature(note, second) == Cosignature(second, 0)


def test_with_a_second_key_every_checkpoint_is_signed_by_both_and_both_keys_lie_beside_it(place: Place) -> None:
    journal, sequencer = place.journal(), place.sequencer(second=SECOND)
    for _ in range(2):
        journal.append(b"entry")
        sequencer.tick()
        assert signed_twice(place)
    assert place.entries() == [b"entry", b"entry"]


def test_a_log_that_gets_a_second_key_signs_what_is_published_by_it_at_once(place: Place) -> None:
    place.journal().append(b"entry")
    first = place.sequencer()
    assert first.tick() == 1
    first.stop()
    assert place.sequencer(second=SECOND).tick() == 0
    assert signed_twice(place)
    assert place.entries() == [b"entry"]


def test_another_second_key_is_refused_for_a_log_that_has_one(place: Place) -> None:
    first = place.sequencer(second=SECOND)
    first.tick()
    first.stop()
    with pytest.raises(VerificationError, match=SECOND_VKEY_PATH):
        place.sequencer(second=MLDSA44PrivateKey.from_seed_bytes(b"\1" * 32)).tick()


def test_a_lost_or_older_state_is_refused_rather_than_signing_a_second_history(place: Place) -> None:
    journal = place.journal()
    journal.append(b"one")
    first = place.sequencer()
    first.tick()
    old = (place.folder / "sequencer.json").read_bytes()
    journal.append(b"two")
    first.tick()
    first.stop()
    (place.folder / "sequencer.json").write_bytes(old)
    with pytest.raises(VerificationError, match="knows 1 entries, the checkpoint 2"):
        place.sequencer().tick()
    place.close()
    (place.folder / "sequencer.json").unlink()
    with pytest.raises(VerificationError, match="is missing, though the log holds 2"):
        place.sequencer().tick()


@pytest.mark.parametrize(
    "path",
    ["log/checkpoint", "log/log.vkey", "log/tile/0/000.p/3", "log/tile/entries/000.p/3", "sequencer.json"],
)
def test_who_takes_over_refuses_what_was_changed_or_cut_and_names_the_file(place: Place, path: str) -> None:
    journal = place.journal()
    for entry in (b"one", b"two", b"three"):
        journal.append(entry)
    first = place.sequencer()
    first.tick()
    first.stop()
    file = place.folder / path
    whole = file.read_bytes()
    second = place.sequencer()
    for at in range(0, len(whole), 7):
        for changed in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            file.write_bytes(changed)
            with pytest.raises(VerificationError, match=path.removeprefix("log/").replace(".", r"\.")):
                second.tick()
    file.write_bytes(whole)
    assert second.tick() == 0


def test_a_journal_that_was_emptied_or_removed_is_noticed(place: Place) -> None:
    journal = place.journal()
    journal.append(b"one")
    first = place.sequencer()
    first.tick()
    first.stop()
    journal.close()
    home = place.folder / "journal/0"
    for path in home.glob("*.seg"):
        path.unlink()
    place.journal().append(b"a new beginning")
    with pytest.raises(JournalCorrupt, match="not the journal that the log was built from"):
        place.sequencer().tick()
    place.close()
    for path in home.iterdir():
        path.unlink()
    home.rmdir()
    with pytest.raises(JournalCorrupt, match="slot 0 is gone"):
        place.sequencer().tick()


def spoil(path: Path, at: int) -> bytes:
    """Change one byte of a file; what it was."""
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))
    return data[at : at + 1]


def test_a_slot_that_cannot_be_read_stands_and_the_others_go_on(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = place.journal(), place.journal()
    for i in range(3):
        bad.append(b"bad %d" % i)
        good.append(b"good %d" % i)
    bad.sync(2)
    path = place.folder / "journal/0/00000000.seg"
    at = RECORDS_AT + record_size(5) + 20
    was = spoil(path, at)
    sequencer = place.sequencer()
    sequencer._try_tick()
    assert place.entries() == [b"bad 0", b"good 0", b"good 1", b"good 2"]  # what is whole before the place, too
    sequencer._try_tick()
    assert sequencer.stopped.keys() == {0}
    assert sequencer.problem is not None
    assert "slot 0 stands: 0/00000000.seg: the record at offset 152" in sequencer.problem
    good.append(b"good 3")
    with pytest.raises(JournalCorrupt, match="slot 0 stands"):
        sequencer.tick()
    assert place.entries()[4:] == [b"good 3"]
    assert sequencer.cursors == {0: 1, 1: 4}
    assert len(caplog.records) == 1
    # Mended, it goes on where it stood; until then it is not read at every tick.
    with path.open("r+b") as file:
        file.seek(at)
        file.write(was)
    with pytest.raises(JournalCorrupt):
        sequencer.tick()
    sequencer._again.clear()
    sequencer._try_tick()
    assert not sequencer.problem
    assert not sequencer.stopped
    assert place.entries()[5:] == [b"bad 1", b"bad 2"]


def test_a_slot_whose_disk_does_not_take_it_does_not_enter_the_log(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = [place.journal() for _ in range(2)]
    for journal in journals:
        journal.append(b"from %d" % journal.slot)
    sync = os.fdatasync

    def fails(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == place.folder / "journal/1/00000000.seg":
            raise OSError(5, "Input/output error")
        sync(fd)

    sequencer = place.sequencer()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        with pytest.raises(JournalCorrupt, match=r"slot 1 stands: journal/1/00000000\.seg \(EIO\)"):
            sequencer.tick()
    assert place.entries() == [b"from 0"]
    assert sequencer.tick() == 1
    assert place.entries() == [b"from 0", b"from 1"]


def test_a_read_that_fails_stops_its_slot_and_no_other_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for journal in (place.journal(), place.journal()):
        journal.append(b"from %d" % journal.slot)
    read = os.pread

    def fails(fd: int, size: int, offset: int) -> bytes:
        if offset >= RECORDS_AT and Path(f"/proc/self/fd/{fd}").readlink() == place.folder / "journal/1/00000000.seg":
            raise OSError(5, "Input/output error")
        return read(fd, size, offset)

    sequencer = place.sequencer()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", fails)
        with pytest.raises(JournalCorrupt, match=r"slot 1 stands: journal/1/00000000\.seg \(EIO\)"):
            sequencer.tick()
    assert place.entries() == [b"from 0"]
    assert sequencer.tick() == 1
    assert place.entries() == [b"from 0", b"from 1"]


def test_no_slot_waits_for_a_busier_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residency.adapters.sequencer.sequencer._BATCH", 10)
    busy, idle = place.journal(), place.journal()
    for i in range(40):
        busy.append(b"busy %d" % i)
    idle.append(b"idle")
    assert place.sequencer().tick() == 41
    assert place.entries().index(b"idle") == 5


def test_many_entries_come_in_order_whatever_is_read_and_committed_at_a_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sequencer.slots._PIECE", 7)
    monkeypatch.setattr("residency.adapters.sequencer.slots._BYTES", 900)
    monkeypatch.setattr("residency.adapters.sequencer.sequencer._BATCH", 300)
    journal = place.journal()
    entries = [b"%d " % i * (1 + i % 9) for i in range(700)]
    for entry in entries:
        journal.append(entry)
    sequencer = place.sequencer()
    assert sequencer.tick() == len(entries)
    assert place.entries() == entries
    assert sequencer.tick() == 0


@pytest.mark.parametrize("whole", [20, 21])  # within a piece, and between two
def test_what_is_whole_before_a_corrupt_place_is_integrated_though_it_is_read_in_pieces(
    place: Place, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr("residency.adapters.sequencer.slots._PIECE", 7)
    journal = place.journal()
    for i in range(40):
        journal.append(b"entry %04d" % i)
    journal.sync(39)
    segment = place.folder / "journal/0/00000000.seg"
    data = bytearray(segment.read_bytes())
    data[data.index(b"entry %04d" % whole)] ^= 1
    segment.write_bytes(data)
    sequencer = place.sequencer()
    assert sequencer.tick() == whole
    with pytest.raises(JournalCorrupt, match="slot 0 stands"):
        sequencer.tick()
    assert place.entries() == [b"entry %04d" % i for i in range(whole)]


def test_a_problem_is_told_and_goes_when_it_is_over(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.journal().append(b"one")
    sequencer = place.sequencer()
    (place.folder / "log").write_text("a file where the folder should be")
    sequencer._try_tick()
    assert sequencer.problem is not None
    (place.folder / "log").unlink()
    sequencer._try_tick()
    assert sequencer.problem is None
    assert place.entries() == [b"one"]
    sequencer._try_tick()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "what is recorded cannot be published now", "what is recorded is published again",
    ]  # fmt: skip


def test_a_mistake_of_our_own_is_told_and_does_not_end_the_thread(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.journal().append(b"one")
    sequencer = place.sequencer()
    swap = place.log.swap
    place.log.swap = _broken  # type: ignore[method-assign]
    sequencer._try_tick()
    sequencer._try_tick()
    assert sequencer.problem == "the sequencer failed with ZeroDivisionError"
    assert len(caplog.records) == 1
    place.log.swap = swap  # type: ignore[method-assign]
    sequencer._try_tick()
    assert sequencer.problem is None
    assert place.entries() == [b"one"]


def _broken(path: str, data: bytes) -> None:
    raise ZeroDivisionError


class Bell:
    """An event that notes how long it was to be waited for, and ends it after three times."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def is_set(self) -> bool:
        return len(self.waits) == 3

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.mark.parametrize(("interval", "longest"), [(10.0, 9.98), (0.001, 0.0)])
def test_a_long_tick_does_not_put_off_the_next_one(
    place: Place, monkeypatch: pytest.MonkeyPatch, interval: float, longest: float
) -> None:
    sequencer = place.sequencer()
    sequencer.tick()
    bell = Bell()
    with monkeypatch.context() as patched:
        patched.setattr(sequencer, "_interval", interval)
        patched.setattr(sequencer, "tick", lambda: time.sleep(0.02))
        patched.setattr(sequencer, "_stopping", bell)
        sequencer._run()
    assert all(0 <= seconds <= longest for seconds in bell.waits)
