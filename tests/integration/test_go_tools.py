"""Go's own sumdb/note and sumdb/tlog read our logs unchanged, and find what was changed; we read what they sign.

The program is in tests/integration/go; it knows nothing of this package but that a tile's path leaves out its height.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.adapters.journal_files import JournalFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import Sequencer
from residency.audit.checkpoint import Checkpoint, format_checkpoint, parse_verifier_key, verify_checkpoint
from residency.audit.cosignature import ed25519_cosigner, ml_dsa_cosigner
from residency.audit.fleet import Fleet, add_log, format_fleet
from residency.audit.note import (
    format_note,
    format_verifier_key,
    note_signer,
    parse_note,
    together,
    verify_note,
    with_signature,
)
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.errors import VerificationError
from tests.audit_log import KEY, ORIGIN, SIGNER, VERIFIER
from tests.conftest import GO_PACKAGES

pytestmark = [pytest.mark.needs("go"), pytest.mark.timeout(300)]  # the first one waits until all is built
SOURCE = Path(__file__).with_name("go")
SECOND = MLDSA44PrivateKey.from_seed_bytes(bytes(32))


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    mode = {"GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    subprocess.run(["go", "vet", "."], cwd=SOURCE, env={**os.environ, **mode}, check=True, timeout=110)
    program = folder / "tlogcheck"
    subprocess.run(["go", "build", "-o", program, "."], cwd=SOURCE, env={**os.environ, **mode}, check=True, timeout=110)
    return program


def run(program: Path, *arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [program, *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=110)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


class Growing:
    """A real journal and sequencer; each `grow` publishes, and the checkpoint is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.journal = JournalFiles(folder / "journal").open()
        self.sequencer = Sequencer(
            folder / "journal", LogFiles(self.log), LogFiles(folder), key=KEY, origin=ORIGIN, second_key=SECOND
        )
        self.kept: list[Path] = []

    def grow(self, count: int) -> None:
        for _ in range(count):
            number = self.journal.next_seq
            self.journal.append(b"entry %d " % number + b"x" * (number % 700))
        self.sequencer.tick()
        note = self.folder / f"kept-{len(self.kept)}"
        note.write_bytes((self.log / "checkpoint").read_bytes())
        self.kept.append(note)


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Growing]:
    made = Growing(tmp_path)
    yield made
    made.journal.close()
    made.sequencer.stop()


def test_every_entry_and_every_checkpoint_of_a_growing_log_holds_at_each_size(go: Path, growing: Growing) -> None:
    size = 0
    for step, count in enumerate((1, 1, 5, 248, 1, 1, 255, 300)):
        growing.grow(count)
        size += count
        done = run(go, "verify", growing.log, 1, *growing.kept)
        assert done.returncode == 0, done.stderr
        told = f"{ORIGIN}: {size} of {size} entries included, {step + 1} checkpoints continued\n"
        assert done.stdout == told


def test_a_log_of_more_than_a_thousand_tiles_holds_by_their_paths(go: Path, tmp_path: Path) -> None:
    size, kept, tree = 0, [], Tree()
    for count in (65_535, 1, 190_465, 700):  # the second level begins at 65,536, paths of two parts at 256,000
        entries = [b"%d" % number for number in range(size, size + count)]
        tree, steps = plan_commit(tree, entries, {}, SIGNER, ORIGIN)
        size += count
        for step in steps:
            if step.kind in (StepKind.TILE, StepKind.CHECKPOINT):
                file = tmp_path / "log" / step.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(step.data)
        kept.append(tmp_path / f"kept-{size}")
        kept[-1].write_bytes((tmp_path / "log/checkpoint").read_bytes())
    (tmp_path / "log/log.vkey").write_text(format_verifier_key(VERIFIER) + "\n")
    assert (tmp_path / "log/tile/0/x001/000").is_file()
    assert (tmp_path / "log/tile/2/000.p/3").is_file()
    done = run(go, "verify", tmp_path / "log", 1013, *kept)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ORIGIN}: 255 of 256701 entries included, 4 checkpoints continued\n"


def test_what_was_changed_is_found_by_go_too(go: Path, growing: Growing) -> None:
    growing.grow(300)
    older = growing.kept[0].read_bytes()
    growing.grow(300)
    for name in ("checkpoint", "log.vkey", "tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001"):
        path = growing.log / name
        whole = path.read_bytes()
        at = 13 if name == "checkpoint" else len(whole) - 3  # the end of a checkpoint is a signature of a kind Go lacks
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert run(go, "verify", growing.log, 1).returncode == 1, name
        path.write_bytes(whole)
    forked = growing.folder / "forked"
    fork, _ = note_signer(ORIGIN, KEY)
    forked.write_bytes(format_note(format_checkpoint(Checkpoint(ORIGIN, 299, bytes(32))), fork))
    assert run(go, "verify", growing.log, 1, forked).returncode == 1
    forked.write_bytes(older)
    assert run(go, "verify", growing.log, 1, forked).returncode == 0


def test_go_passes_over_our_second_signature_and_all_cosignatures(go: Path, growing: Growing) -> None:
    growing.grow(5)
    note = growing.kept[0].read_bytes()
    text = parse_note(note).text
    for cosign, _ in (
        ed25519_cosigner("w.example", Ed25519PrivateKey.from_private_bytes(b"\1" * 32)),
        ml_dsa_cosigner("w.example", MLDSA44PrivateKey.from_seed_bytes(b"\1" * 32)),
    ):
        note = with_signature(note, cosign(text, 1_800_000_000))
    done = run(go, "open", format_verifier_key(VERIFIER), given=note)
    assert done.stdout.splitlines() == [
        f"holds {ORIGIN}",
        f"unknown {ORIGIN}",
        "unknown w.example",
        "unknown w.example",
    ]
    (growing.log / "checkpoint").write_bytes(note)
    assert run(go, "verify", growing.log, 1).returncode == 0


def test_a_fleet_register_is_a_note_that_go_opens(go: Path) -> None:
    signer, key = note_signer("fleet.example", Ed25519PrivateKey.from_private_bytes(b"\7" * 32))
    note = format_note(format_fleet(add_log(Fleet("fleet.example"), VERIFIER, "2026-11-22")), signer)
    assert run(go, "open", format_verifier_key(key), given=note).stdout == "holds fleet.example\n"
    assert run(go, "open", format_verifier_key(key), given=note.replace(b"version 2", b"version 3")).returncode == 1


def spoilt(chance: random.Random, note: bytes) -> bytes:
    """The note with some of its bytes, characters or lines changed, put in, doubled, taken out or moved."""
    for _ in range(chance.randint(1, 3)):
        at, other = chance.randrange(len(note)), chance.randrange(len(note))
        lines = note.split(b"\n")
        line = chance.randrange(len(lines))
        match chance.randrange(8):
            case 0:
                note = note[:at] + bytes([note[at] ^ 1 << chance.randrange(8)]) + note[at + 1 :]
            case 1:
                put_in = chance.choice(["\n", " ", "\u00a0", "\u2003", "\u0085", "\x1f", "\x7f", "+", "=", "—", "\n\n"])
                note = note[:at] + put_in.encode() + note[at:]
            case 2:
                note = note[:at] + bytes([chance.randrange(256)]) + note[at:]
            case 3:
                note = note[: min(at, other)] + note[max(at, other) :] or b"\n"
            case 4:
                note = b"\n".join([*lines[:line], lines[line], *lines[line:]])
            case 5:
                note = b"\n".join([*lines[:line], *lines[line + 1 :]]) or b"\n"
            case 6:
                chance.shuffle(lines)
                note = b"\n".join(lines)
            case _:
                note = note.replace(b"A", b"B", 1) if chance.random() < 0.5 else note.replace(b"=\n", b"\n", 1)
    return note


def test_of_notes_that_were_spoilt_we_open_only_those_that_go_opens_and_read_the_same_text(go: Path) -> None:
    other, _ = note_signer("other.example", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
    text = format_checkpoint(Checkpoint(ORIGIN, 7, bytes(32))) + "\nmore\n"
    whole = [format_note(text, together(signers)) for signers in ([SIGNER], [other, SIGNER], [SIGNER, other, other])]
    chance = random.Random(7)
    notes = [spoilt(chance, whole[number % 3]) for number in range(3000)]
    for number in range(3000):  # of these the text stays, and often the signature over it
        body, _, block = whole[number % 3].rpartition(b"\n\n")
        notes.append(body + b"\n\n" + spoilt(chance, block))
    told = run(go, "each", format_verifier_key(VERIFIER), given="\n".join(note.hex() for note in notes).encode())
    opened, stricter = 0, Counter[str]()
    for note, line in zip(notes, told.stdout.splitlines(), strict=True):
        theirs = None if line == "no" else bytes.fromhex(line.removeprefix("text ")).decode()
        try:
            assert verify_note(note, VERIFIER) == theirs, note
            opened += 1
        except VerificationError as error:
            if theirs is not None:
                stricter[str(error)] += 1
    print(f"{opened} of {len(notes)} opened by both; refused by us alone: {dict(stricter)}")
    assert opened > 300
    # The document's base64 has one form of each value, and a key's signature that fails should spoil the whole note: Go
    # lets the last bits be any, and looks at the first of a key's signatures alone.
    assert set(stricter) <= {"a note signature is not canonical base64", f"the signature by {ORIGIN} does not hold"}


@pytest.mark.parametrize("name", ["log.example", "log.example/one", "đăng-ký.example"])
def test_a_checkpoint_that_go_signs_verifies_here_and_is_what_we_sign(go: Path, name: str) -> None:
    seed = bytes(range(32))
    signer, key = note_signer(name, Ed25519PrivateKey.from_private_bytes(seed))
    checkpoint = Checkpoint(name, 20_852_163, bytes(range(32)))
    text = format_checkpoint(checkpoint)
    vkey, note = run(go, "sign", name, seed.hex(), given=text.encode()).stdout.split("\n\n", 1)
    assert parse_verifier_key(vkey) == key
    assert vkey == format_verifier_key(key)
    assert verify_checkpoint(note.encode(), key) == checkpoint
    assert note.encode() == format_note(text, signer)
