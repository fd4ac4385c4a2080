"""The independent checker holds on an honest run and fails on each thing that could be wrong with it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.checkpoint import format_verifier_key, note_signer
from residency.audit.entry import Entry, format_entry
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.demo.check_claims import claims as checker
from residency.demo.check_claims import ed25519

POLICY = "ab" * 32
ORIGIN = "test-demo"
PEOPLE: dict[str, tuple[str | None, str | None]] = {
    "p1": ("VN", "VN"), "p2": ("SG", None), "p3": ("DE", "VN"), "p4": (None, None), "p5": ("VN", None),
    "p6": ("VN", None),
}  # fmt: skip


def alias(person: str) -> str:
    return person.encode().hex() * 4


class World:
    """An honest run, written by hand: people in both regions, refusals, a forged header, a kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        self.requests: list[dict[str, Any]] = []
        self.people = {
            key: {
                "key": key, "name": f"Somebody {key}", "email": f"{key}@example.org", "source": f"14.160.7.{20 + n}",
                "country": country, "citizenship": citizenship, "id": f"id-of-{key}", "alias": alias(key),
            }
            for n, (key, (country, citizenship)) in enumerate(PEOPLE.items())
        }  # fmt: skip
        self.rows: dict[str, dict[str, list[tuple[str, str]]]] = {
            sink: {table: [] for table in checker.TABLES} for sink in ("people-vn", "people-sg", "mail-sg")
        }
        self._play()

    def _play(self) -> None:
        self._entry("system", note="start", policy=None)
        for person in ("p1", "p2", "p3", "p4"):
            self._write(person, "sign_up", "POST /v1/people", "people")
        self._write("p5", "sign_up", "POST /v1/people", "people", twin=1)
        self._write("p6", "sign_up", "POST /v1/people", "people", twin=1, forged="43.0.0.1")
        self.people["p6"]["source"] = self.people["p5"]["source"]
        self._write("p1", "post", "POST /v1/posts", "posts")
        self._write("p2", "unverified_post", "POST /v1/posts", "posts")
        self._write("p3", "chat", "WS /v1/chat", "messages")
        export = "POST /v1/people/export-to-singapore"
        self._write("p2", "export", export, "people", stored=False)
        self._refuse("p1", "export", export, 451, "not_home", ["vn.d333.19.2"])
        self._refuse("p3", "export", export, 451, "filing_missing", ["vn.l91.20.2"])
        self._write("p3", "newsletter", "POST /v1/newsletter", "subscriptions", sink="mail-sg")
        self._refuse("p1", "newsletter", "POST /v1/newsletter", 451, "not_home", ["vn.d333.19.2"])
        self._refuse("p4", "unverified_post", "POST /v1/posts", 403, "identity_missing", ["vn.d333.16.2"])
        self._claim("p1", "chat", "WS /v1/chat", "messages")  # cut off by the kill
        self._intent("p1", "WS /v1/chat", "people-vn", "write")
        self._entry("system", note="start", policy=None)

    def _entry(self, kind: str, **fields: Any) -> str:
        entry = Entry(id=f"0.{len(self.entries)}", kind=kind, at=1, **{"policy": POLICY, **fields})
        self.entries.append(entry)
        return entry.id

    def _intent(self, person: str, activity: str, sink: str, operation: str) -> str:
        return self._entry(
            "intent", activity=activity, sink=sink, operation=operation, subject=alias(person), effect="permit"
        )

    def _claim(self, person: str, kind: str, activity: str, table: str, **more: Any) -> dict[str, Any]:
        n = len(self.requests) + 1
        mark = self.people[person]["email"] if table == "people" else f"text {n}"
        claim = {
            "n": n, "kind": kind, "activity": activity, "person": person, "table": table, "mark": mark, "forged": None,
            "twin": None, "outcome": "unknown", "answered": None, "status": None, "reason": None, "rules": [],
            "record": self.people[person]["id"] if table in ("people", "subscriptions") else None,
            "alias": alias(person),
        }  # fmt: skip
        claim.update(more)
        self.requests.append(claim)
        return claim

    def _write(
        self, person: str, kind: str, activity: str, table: str, *, stored: bool = True, sink: str = "", **more: Any
    ) -> None:
        claim = self._claim(person, kind, activity, table, **more)
        record = claim["record"] or f"record-{claim['n']}"
        claim.update(outcome="acknowledged", answered=claim["n"], status=201, record=record)
        country, citizenship = PEOPLE[person]
        sink = sink or ("people-vn" if country in ("VN", None) or citizenship == "VN" else "people-sg")
        of = self._intent(person, activity, sink, "post" if table == "posts" else "write")
        self._entry("outcome", activity=activity, sink=sink, of=of, act="committed", effect="permit")
        if stored:
            self.rows[sink][table].append((record, claim["mark"]))

    def _refuse(self, person: str, kind: str, activity: str, status: int, reason: str, rules: list[str]) -> None:
        table = {"export": "people", "newsletter": "subscriptions"}.get(kind, "posts")
        claim = self._claim(person, kind, activity, table)
        claim.update(outcome="refused", answered=claim["n"], status=status, reason=reason, rules=rules)
        self._entry(
            "refusal", activity=activity, reason=reason, rules=tuple(rules), subject=alias(person), effect="deny"
        )

    def write(self) -> Path:
        """Put everything on disk as a run would leave it."""
        for sink, tables in self.rows.items():
            with closing(sqlite3.connect(self.folder / f"{sink}.sqlite")) as connection, connection:
                for table, (key, mark) in checker.TABLES.items():
                    connection.execute(f"CREATE TABLE {table} ({key} TEXT PRIMARY KEY, {mark} TEXT)")
                    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", tables[table])  # noqa: S608
        write_log(self.folder / "log", [format_entry(entry) for entry in self.entries])
        document = {
            "version": 1,
            "places": {
                "log": "log",
                "databases": {sink: f"{sink}.sqlite" for sink in self.rows},
                "sinks": {"people-vn": "VN", "people-sg": "SG"},
            },
            "people": self.people, "requests": self.requests, "kill": {"answers_before": 99}, "scenes": [],
        }  # fmt: skip
        (self.folder / "claims.json").write_text(json.dumps(document))
        return self.folder


def write_log(log: Path, entries: list[bytes]) -> None:
    signer, key = note_signer(ORIGIN, Ed25519PrivateKey.generate())
    _, steps = plan_commit(Tree(), entries, {}, signer, ORIGIN)
    for step in steps:
        if step.kind in (StepKind.TILE, StepKind.CHECKPOINT):
            path = log / step.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(step.data)
    (log / "log.vkey").write_text(format_verifier_key(key) + "\n")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def failing(folder: Path) -> set[str]:
    return {name for name, holds, _ in checker.check(folder) if not holds}


def test_an_honest_run_holds_in_every_group(world: World) -> None:
    results = checker.check(world.write())
    assert [(name, text) for name, holds, text in results if not holds] == []
    assert len(results) == 11


def test_it_runs_alone_and_isolated_and_says_so_by_its_exit_code(world: World) -> None:
    script = str(Path(checker.__file__).parent)
    folder = world.write()
    good = subprocess.run([sys.executable, "-IS", script, str(folder)], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "VERDICT  every claim holds")
    (folder / "log" / "checkpoint").unlink()
    bad = subprocess.run([sys.executable, "-IS", script, str(folder)], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert bad.stdout.splitlines()[-1].startswith("VERDICT  does not hold: log")
    misuse = subprocess.run([sys.executable, "-IS", script], capture_output=True, text=True, check=False)
    assert misuse.returncode == 2


def test_it_names_residency_in_no_import() -> None:
    for path in Path(checker.__file__).parent.glob("*.py"):
        assert "import residency" not in path.read_text()
        assert "from residency" not in path.read_text()


# -- each thing that could be wrong ----------------------------------------------------------------------------


def test_a_flipped_byte_anywhere_in_the_log_is_seen(world: World) -> None:
    folder = world.write()
    files = [path for path in (folder / "log").rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        honest = path.read_bytes()
        for at in range(0, len(honest), max(1, len(honest) // 60)):
            path.write_bytes(honest[:at] + bytes([honest[at] ^ 1]) + honest[at + 1 :])
            assert "log" in failing(folder), f"{path.name} at {at}"
        path.write_bytes(honest)
    assert failing(folder) == set()


def test_a_file_of_the_log_that_is_cut_or_goes_on_by_one_byte_is_seen(world: World) -> None:
    folder = world.write()
    for path in [path for path in (folder / "log").rglob("*") if path.is_file() and path.name != "log.vkey"]:
        honest = path.read_bytes()
        for tampered in (honest[:-1], honest + b"\0", honest + b"\n", b""):
            path.write_bytes(tampered)
            assert "log" in failing(folder), f"{path.name}: {len(tampered)} bytes"
        path.write_bytes(honest)
    assert failing(folder) == set()


def test_a_log_cut_short_or_signed_by_another_key_is_seen(world: World) -> None:
    folder = world.write()
    shutil.copy(folder / "log" / "log.vkey", folder / "kept")
    write_log(folder / "log", [format_entry(entry) for entry in world.entries])
    shutil.copy(folder / "kept", folder / "log" / "log.vkey")
    assert "log" in failing(folder)


def _drop(kind: str, number: int = 0) -> Callable[[World], None]:
    def tamper(world: World) -> None:
        index = [i for i, entry in enumerate(world.entries) if entry.kind == kind][number]
        del world.entries[index]
        _renumber(world)

    return tamper


def _renumber(world: World) -> None:
    """Close the gap, so that only what is missing can be noticed."""
    new = {entry.id: f"0.{n}" for n, entry in enumerate(world.entries)}
    world.entries = [
        replace(entry, id=new[entry.id], of=None if entry.of is None else new.get(entry.of, "0.999"))
        for entry in world.entries
    ]


def _gap(world: World) -> None:
    del world.entries[3]


def _rolled_back(world: World) -> None:
    index = next(i for i, entry in enumerate(world.entries) if entry.kind == "outcome")
    world.entries[index] = replace(world.entries[index], act="rolled_back")


def _wrong_sink_in_log(world: World) -> None:
    index = next(i for i, entry in enumerate(world.entries) if entry.kind == "intent")
    world.entries[index] = replace(world.entries[index], sink="people-sg")


def _twice(world: World) -> None:
    outcome = next(entry for entry in world.entries if entry.kind == "outcome")
    world.entries.append(replace(outcome, id=f"0.{len(world.entries)}"))


def _move_row(world: World) -> None:
    world.rows["people-sg"]["people"].append(world.rows["people-vn"]["people"].pop(0))


def _copy_row(world: World) -> None:
    world.rows["people-sg"]["people"].append(world.rows["people-vn"]["people"][0])


def _lose_row(world: World) -> None:
    world.rows["people-vn"]["posts"].clear()


def _change_row(world: World) -> None:
    record, _ = world.rows["people-vn"]["posts"][0]
    world.rows["people-vn"]["posts"][0] = (record, "something else")


def _stranger(world: World) -> None:
    world.rows["people-vn"]["messages"].append(("x", "nobody sent this"))


def _refused_stored(world: World) -> None:
    claim = next(c for c in world.requests if c["kind"] == "unverified_post" and c["outcome"] == "refused")
    world.rows["people-vn"]["posts"].append(("sneaked-in", claim["mark"]))


def _refused_exported(world: World) -> None:
    claim = next(c for c in world.requests if c["kind"] == "export" and c["outcome"] == "refused")
    world.rows["people-sg"]["people"].append((claim["record"], claim["mark"]))


def _refused_mailed(world: World) -> None:
    claim = next(c for c in world.requests if c["kind"] == "newsletter" and c["outcome"] == "refused")
    world.rows["mail-sg"]["subscriptions"].append((claim["record"], claim["mark"]))


def _mailed_at_home_too(world: World) -> None:
    world.rows["people-vn"]["subscriptions"].append(world.rows["mail-sg"]["subscriptions"][0])


def _person_at_the_mailing_service(world: World) -> None:
    world.rows["mail-sg"]["people"].append(world.rows["people-sg"]["people"][0])


def _other_rule(world: World) -> None:
    index = next(i for i, entry in enumerate(world.entries) if entry.kind == "refusal")
    world.entries[index] = replace(world.entries[index], rules=("vn.other",))


def _wrong_reason(world: World) -> None:
    next(c for c in world.requests if c["outcome"] == "refused")["reason"] = "hold"


def _served(world: World) -> None:
    claim = next(c for c in world.requests if c["kind"] == "export" and c["outcome"] == "refused")
    claim.update(outcome="acknowledged", status=201)


def _refused_for_nothing(world: World) -> None:
    world._refuse("p2", "unverified_post", "POST /v1/posts", 403, "identity_missing", ["vn.d333.16.2"])


def _forgery_worked(world: World) -> None:
    rows = world.rows["people-vn"]["people"]
    world.rows["people-sg"]["people"].append(rows.pop(next(i for i, row in enumerate(rows) if row[0] == "id-of-p6")))


def _no_forgery(world: World) -> None:
    for claim in world.requests:
        claim["forged"] = None


def _cut_off_went_abroad(world: World) -> None:
    claim = next(c for c in world.requests if c["outcome"] == "unknown")
    world.rows["people-sg"]["messages"].append(("late", claim["mark"]))


def _says(what: str) -> Callable[[World], None]:
    def tamper(world: World) -> None:
        world._entry("system", note=f"welcome {world.people['p1'][what]}", policy=None)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "group"),
    [
        pytest.param(_drop("outcome"), "recorded", id="an outcome is missing"),
        pytest.param(_drop("intent"), "order", id="an intent is missing"),
        pytest.param(_drop("refusal"), "refused", id="a refusal is missing"),
        pytest.param(_drop("system", 1), "killed", id="the restart is missing"),
        pytest.param(_gap, "order", id="a number is missing"),
        pytest.param(_twice, "order", id="an intent has two outcomes"),
        pytest.param(_rolled_back, "recorded", id="an outcome says rolled back"),
        pytest.param(_wrong_sink_in_log, "recorded", id="the log names the other sink"),
        pytest.param(_move_row, "homes", id="a row lies in the other region"),
        pytest.param(_copy_row, "homes", id="a row lies in both regions"),
        pytest.param(_lose_row, "homes", id="a row is lost"),
        pytest.param(_lose_row, "killed", id="a row is lost in the kill"),
        pytest.param(_change_row, "homes", id="a row says something else"),
        pytest.param(_stranger, "rows", id="a row that nobody sent"),
        pytest.param(_refused_stored, "refused", id="a refused post is stored"),
        pytest.param(_refused_exported, "refused", id="a refused export is stored"),
        pytest.param(_refused_mailed, "mailings", id="a refused address is at the mailing service"),
        pytest.param(_refused_mailed, "refused", id="a refused address is stored"),
        pytest.param(_mailed_at_home_too, "mailings", id="a subscription lies in another database too"),
        pytest.param(_person_at_the_mailing_service, "mailings", id="the mailing service knows more than addresses"),
        pytest.param(_other_rule, "refused", id="the log refuses under another rule"),
        pytest.param(_wrong_reason, "refused", id="the wrong reason"),
        pytest.param(_served, "refused", id="served where it had to be refused"),
        pytest.param(_refused_for_nothing, "refused", id="refused where it had to be served"),
        pytest.param(_forgery_worked, "forged", id="a forged header worked"),
        pytest.param(_no_forgery, "forged", id="no header was forged"),
        pytest.param(_cut_off_went_abroad, "killed", id="a cut-off write landed abroad"),
        pytest.param(_says("name"), "privacy", id="a name in the log"),
        pytest.param(_says("id"), "privacy", id="a subject id in the log"),
        pytest.param(_says("source"), "privacy", id="an address in the log"),
        pytest.param(_says("email"), "privacy", id="an e-mail in the log"),
    ],
)
def test_a_run_that_is_not_as_claimed_fails(world: World, tamper: Callable[[World], None], group: str) -> None:
    tamper(world)
    assert group in failing(world.write())


@pytest.mark.parametrize("name", ["claims.json", "people-vn.sqlite", "people-sg.sqlite", "log/log.vkey"])
def test_a_missing_file_is_a_failure_and_not_a_crash(world: World, name: str) -> None:
    folder = world.write()
    (folder / name).unlink()
    assert failing(folder)


@pytest.mark.parametrize("name", ["claims.json", "people-vn.sqlite", "log/log.vkey", "log/checkpoint"])
@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe\x00", b"a\n\nb\n"])
def test_a_garbled_file_is_a_failure_and_not_a_crash(world: World, name: str, data: bytes) -> None:
    folder = world.write()
    (folder / name).write_bytes(data)
    assert failing(folder)


def test_a_run_in_which_nothing_happened_does_not_hold(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.requests.clear()
    assert {"homes", "refused", "forged"} <= failing(world.write())


def test_a_log_of_several_tiles_is_read_whole(world: World) -> None:
    for _ in range(600):
        world._entry("decision", effect="permit")
    assert failing(world.write()) == set()


# -- Ed25519 ---------------------------------------------------------------------------------------------------


def vectors() -> Iterator[tuple[str, str, str]]:
    """RFC 8032 section 7.1, tests 1 to 3: public key, message, signature."""
    yield (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    )  # fmt: skip
    yield (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    )  # fmt: skip
    yield (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    )  # fmt: skip


@pytest.mark.parametrize(("public", "message", "signature"), list(vectors()))
def test_the_vectors_of_rfc_8032_hold(public: str, message: str, signature: str) -> None:
    assert ed25519.signature_holds(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=64), st.integers(0, 511))
def test_it_agrees_with_a_well_known_library_and_sees_any_flipped_bit(seed: bytes, message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert ed25519.signature_holds(public, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not ed25519.signature_holds(public, message, bytes(flipped))
    assert not ed25519.signature_holds(public, message + b"x", signature)


@given(st.binary(max_size=40), st.binary(max_size=70))
def test_garbage_is_no_signature_and_no_crash(public: bytes, signature: bytes) -> None:
    assert not ed25519.signature_holds(public, b"message", signature)
