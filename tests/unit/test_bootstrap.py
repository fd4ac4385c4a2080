"""The composition root: built without touching anything, opened once, closed whole, opened again."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from residency.adapters.clock_manual import ManualClock
from residency.adapters.journal_files import JournalFiles
from residency.adapters.policy_files import load
from residency.adapters.sequencer import Sequencer
from residency.audit.checkpoint import parse_verifier_key
from residency.audit.cosignature import COSIGNER_KINDS, SECOND_VKEY_PATH, Cosignature, find_cosignature
from residency.audit.entry import parse_entry
from residency.audit.verify import read_checkpoint, verify_entries
from residency.bootstrap import Residency, build
from residency.enforcement.current import Current
from residency.enforcement.request import Request
from residency.errors import (
    AddressDataUnavailable,
    JournalFailed,
    KeysUnavailable,
    PinsUnavailable,
    PolicyError,
    SinkUnavailable,
)
from residency.model import Pin, SubjectId
from residency.observe import names
from residency.policy.archive import facts_digest, facts_path, parse_archive, parse_facts, policy_path
from residency.wiring import gauges

DEPLOYMENT = """
residency: 1
kind: deployment
name: test
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://objects"}
stores: {uploads: [objects]}
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
activities:
  - {route: "GET /plain", subject: none, data: [content]}
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """A deployment file of its own folder."""
    file = tmp_path / "test.yaml"
    file.write_text(DEPLOYMENT)
    return file


def entries(folder: Path) -> list[str | None]:
    """The notes of all entries of the verified log."""

    def read(path: str) -> bytes | None:
        file = folder / "audit" / "log" / path
        return file.read_bytes() if file.is_file() else None

    key = read("log.vkey")
    assert key is not None
    checkpoint = read_checkpoint(read, parse_verifier_key(key.decode().strip()))
    return [parse_entry(data).note for data in verify_entries(read, checkpoint)]


def test_building_makes_no_file_and_no_thread(deployment: Path) -> None:
    runtime = build(deployment, env={})
    assert [path.name for path in deployment.parent.iterdir()] == ["test.yaml"]
    assert not runtime.is_open


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("mode: enforce", "mode: maybe", PolicyError),
        ("stores:", "signals: {geoip: ./none.mmdb}\nstores:", AddressDataUnavailable),
        ("stores:", "signals: {identity: {jwt: {jwks: ./none.json}}}\nstores:", KeysUnavailable),
    ],
)
def test_what_is_wrong_without_touching_anything_is_found_when_building(
    deployment: Path, old: str, new: str, error: type[Exception]
) -> None:
    deployment.write_text(DEPLOYMENT.replace(old, new))
    with pytest.raises(error):
        build(deployment, env={})


def test_everything_written_lies_below_the_deployment_files_folder(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = deployment.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    async def once() -> None:
        runtime = build(deployment, env={})
        await runtime.start()
        await runtime.aclose()

    asyncio.run(once())
    assert {path.name for path in deployment.parent.iterdir()} >= {"audit", "detail", "keys", "objects", "pins.db"}
    assert list(elsewhere.iterdir()) == []


def test_what_was_recorded_is_published_at_the_end_and_a_second_life_goes_on(deployment: Path) -> None:
    async def lives() -> None:
        runtime = build(deployment, env={})
        for _ in range(2):
            await runtime.start()
            await runtime.start()
            await runtime.aclose()
            await runtime.aclose()

    asyncio.run(lives())
    assert entries(deployment.parent) == ["begins", "start", "start"]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("", "begins"),
        ("predecessor: none, ", "begins; predecessor none"),
        ("predecessor: old.example/a, ", "begins; predecessor old.example/a"),
    ],
)
def test_an_instance_says_once_which_log_it_goes_on_from_however_many_workers_and_lives_it_has(
    deployment: Path, setting: str, says: str
) -> None:
    deployment.write_text(DEPLOYMENT.replace("audit: {", f"audit: {{{setting}"))

    async def lives() -> None:
        for _ in range(2):
            workers = [build(deployment, env={}) for _ in range(3)]
            for worker in workers:
                await worker.start()
            for worker in workers:
                await worker.aclose()

    asyncio.run(lives())
    notes = entries(deployment.parent)
    assert notes[0] == says
    assert notes[1:] == ["start"] * 6


def test_a_second_signature_is_on_every_checkpoint_once_the_deployment_asks_for_it(deployment: Path) -> None:
    async def life() -> None:
        runtime = build(deployment, env={})
        await runtime.start()
        await runtime.aclose()

    log = deployment.parent / "audit/log"
    asyncio.run(life())
    assert not (log / SECOND_VKEY_PATH).exists()
    deployment.write_text(DEPLOYMENT.replace("audit: {", "audit: {second_signature: ml-dsa-44, "))
    asyncio.run(life())
    key = parse_verifier_key((log / SECOND_VKEY_PATH).read_text(), COSIGNER_KINDS)
    assert find_cosignature((log / "checkpoint").read_bytes(), key) == Cosignature(key, 0)
    assert key.name == "test"
    assert entries(deployment.parent) == ["begins", "start", "start"]


def test_threads_that_open_at_once_open_once(deployment: Path) -> None:
    runtime = build(deployment, env={})
    barrier = Barrier(8)

    def go() -> None:
        barrier.wait()
        runtime.open()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(go) for _ in range(8)]:
            done.result()
    asyncio.run(runtime.aclose())
    assert entries(deployment.parent) == ["begins", "start"]


@pytest.mark.parametrize(
    ("blocked", "error"),
    [("audit", JournalFailed), ("detail", JournalFailed), ("keys", KeysUnavailable), ("pins.db", PinsUnavailable)],
)
def test_an_opening_that_fails_leaves_nothing_open_and_succeeds_once_it_is_mended(
    deployment: Path, blocked: str, error: type[Exception]
) -> None:
    runtime = build(deployment, env={})
    place = deployment.parent / blocked
    if blocked == "pins.db":
        place.mkdir()
    else:
        place.write_text("a file where a folder must be")
    for _ in range(2):
        with pytest.raises(error):
            runtime.open()
        assert not runtime.is_open
    if blocked == "pins.db":
        place.rmdir()
    else:
        place.unlink()
    runtime.open()
    # Had a failed opening kept its slot, this one would have got another.
    assert runtime.point.recorder._journal.slot == 0
    asyncio.run(runtime.aclose())


def test_the_clock_of_the_runtime_is_the_one_that_judges_everything(deployment: Path) -> None:
    clock = ManualClock()
    runtime = Residency(load(deployment, {}), clock=clock)
    runtime.open()
    here = runtime.point.admit(Request("GET", "/plain", b"/plain", (), ("127.0.0.1", 5)))
    assert isinstance(here, Current)
    assert here.detail["at"] == clock.now()
    asyncio.run(runtime.aclose())


def test_a_strategy_that_anybody_can_forge_is_warned_of_at_the_start_and_each_use_is_counted(
    deployment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = "signals: {client_address: {strategy: unsafe_leftmost_non_private}}\n"
    deployment.write_text(DEPLOYMENT.replace("stores:", strategy + "stores:"))
    runtime = build(deployment, env={})
    runtime.open()
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "unsafe_leftmost_non_private" in warning
    for _ in range(2):
        headers = ((b"x-forwarded-for", b"113.160.0.1"),)
        runtime.point.admit(Request("GET", "/plain", b"/plain", headers, ("9.9.9.9", 5)))
    assert runtime.metrics.value(names.UNSAFE_ADDRESS) == 2
    asyncio.run(runtime.aclose())


def test_what_a_power_cut_may_take_is_what_the_deployment_says(deployment: Path) -> None:
    deployment.write_text(DEPLOYMENT.replace("audit: {", "audit: {max_loss: 250 ms, "))
    runtime = build(deployment, env={})
    runtime.open()
    try:
        journal = runtime.point.recorder._journal
        assert isinstance(journal, JournalFiles)
        assert journal._max_loss == 0.25
    finally:
        asyncio.run(runtime.aclose())


def test_gauges_answer_while_open_after_and_before(deployment: Path) -> None:
    runtime = build(deployment, env={})

    def gauges() -> dict[str, Any]:
        return {family.spec.name: family.series for family in runtime.metrics.families()}

    assert gauges()[names.OPEN_INTENTS] == ()
    runtime.open()
    assert gauges()[names.OPEN_INTENTS] == gauges()[names.OLDEST_INTENT] == (((), 0.0),)
    assert gauges()[names.SLOTS_STOPPED] == (((), 0.0),)
    runtime.point.recorder.pin_intent(Pin("s", "VN", (), "ab" * 16, "test", runtime.policy.digest, 1), "x")
    runtime.point.recorder._slot.opened = {0: runtime.clock.now() - 5_000_000}
    assert gauges()[names.OLDEST_INTENT][0][1] >= 5
    assert gauges()[names.INFO][0][0] == (runtime.policy.digest, "test", "0")
    assert gauges()[names.ADDRESS_DATA_AGE][0][1] > 0
    asyncio.run(runtime.aclose())
    assert gauges()[names.OPEN_INTENTS] == (((), 1.0),)
    page, _ = runtime.render_metrics()
    assert b"residency_scrape_errors_total{" not in page


def test_open_intents_of_the_whole_log_are_told_after_the_process_that_left_them(deployment: Path) -> None:
    first = Residency(load(deployment, {}), clock=ManualClock())
    first.open()
    first.point.recorder.pin_intent(Pin("s", "VN", (), "ab" * 16, "test", first.policy.digest, 1), "x")
    asyncio.run(first.aclose())
    clock = ManualClock()
    second = Residency(load(deployment, {}), clock=clock)
    second.open()

    def gauge(name: str) -> Any:
        return next(family.series for family in second.metrics.families() if family.spec.name == name)

    try:
        until = time.monotonic() + 30
        while not gauge(names.LOG_OPEN_INTENTS) and time.monotonic() < until:
            time.sleep(0.01)
        assert gauge(names.LOG_OPEN_INTENTS) == ((("0s",), 1.0), (("5m",), 0.0), (("7d",), 0.0))
        assert gauge(names.OPEN_INTENTS) == (((), 0.0),)
        assert gauge(names.JOURNAL_WAITED)[0][1] < 60
        clock.advance(301_000_000)
        assert gauge(names.LOG_OPEN_INTENTS) == ((("0s",), 1.0), (("5m",), 1.0), (("7d",), 0.0))
        assert gauge(names.LOG_OLDEST_INTENT) == (((), 301.0),)
    finally:
        asyncio.run(second.aclose())
    assert gauge(names.LOG_OPEN_INTENTS) == gauge(names.LOG_OLDEST_INTENT) == ()  # another may sequence now


def test_a_journal_whose_entries_do_not_reach_the_log_admits_nothing(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "OVERDUE_AFTER", 0.2)
    monkeypatch.setattr(Sequencer, "stored_cursors", lambda _: {})
    runtime = build(deployment, env={})
    runtime.open()
    journal = runtime.point.recorder._journal
    assert isinstance(journal, JournalFiles)
    until = time.monotonic() + 30
    try:
        while journal._barred is None and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(JournalFailed, match="not in the log after"):
            runtime.point.recorder.ready()
    finally:
        asyncio.run(runtime.aclose())


def test_a_lost_subjects_key_does_not_pass_for_subjects_without_a_home(deployment: Path) -> None:
    runtime = build(deployment, env={})
    runtime.open()
    assert runtime._pins is not None
    pin = Pin(runtime.point.digest(SubjectId("lan")), "VN", (), "ab" * 16, "first_write", "", 1)
    asyncio.run(runtime._pins.put(pin))
    asyncio.run(runtime.aclose())
    key = deployment.parent / "keys" / "subjects.secret"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(PinsUnavailable, match="another `subjects` key"):
        build(deployment, env={}).open()
    key.write_bytes(kept)
    again = build(deployment, env={})
    again.open()
    assert again._pins is not None
    assert again._pins.peek(pin.subject) == (pin, True)
    asyncio.run(again.aclose())


def test_each_process_reports_its_own_backlog_whichever_of_them_publishes(deployment: Path) -> None:
    def gauge(runtime: Residency, name: str) -> float:
        return next(family for family in runtime.metrics.families() if family.spec.name == name).series[0][1]

    first, second = build(deployment, env={}), build(deployment, env={})
    first.open()
    second.open()
    deadline = time.monotonic() + 20
    while gauge(first, names.JOURNAL_BACKLOG) + gauge(second, names.JOURNAL_BACKLOG) > 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # What is in the way of the one that publishes is told by it, and its neighbour's entries wait too.
    log = deployment.parent / "audit" / "log"
    log.rename(log.with_name("away"))
    while not log.is_file():  # whoever publishes may just have made the folder anew
        with suppress(IsADirectoryError):
            log.write_text("a file where the folder should be")
            break
        shutil.rmtree(log, ignore_errors=True)
    second.point.recorder.system("waits")
    while gauge(first, names.SEQUENCER_FAILING) + gauge(second, names.SEQUENCER_FAILING) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (gauge(first, names.JOURNAL_BACKLOG), gauge(second, names.JOURNAL_BACKLOG)) == (0, 1)
    log.unlink()
    log.with_name("away").rename(log)
    asyncio.run(first.aclose())
    asyncio.run(second.aclose())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 and later: fork beside threads
def test_a_forked_child_finds_its_copy_closed_and_the_parents_pins_gone(deployment: Path) -> None:
    runtime = build(deployment, env={})
    runtime.open()
    answer, question = os.pipe()
    child = os.fork()
    if child == 0:
        # No assert: a failure must reach the parent, and nothing of the test run may go on in here.
        told = b"no"
        try:
            if not runtime.is_open and not hasattr(runtime, "point"):
                runtime.open()
                told = str(runtime.point.recorder._journal.slot).encode()
        finally:
            os.write(question, told)
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(answer, 16) == b"1"
    assert runtime.is_open
    runtime.point.admit(Request("GET", "/plain", b"/plain", (), ("127.0.0.1", 5)))
    asyncio.run(runtime.aclose())
    with sqlite3.connect(deployment.parent / "pins.db") as pins:
        assert pins.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    pins.close()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"file://objects"', '"oracle://u:hush@h/db"', SinkUnavailable),
        ('"file://objects"', '"people.db?hush"', SinkUnavailable),
        ('"sqlite:///pins.db"', '"redis://:hush@h:no"', PolicyError),
        ("pins:", "signals: {geoip: none.mmdb}\npins:", AddressDataUnavailable),
        ("pins:", "signals: {identity: {jwt: {jwks: none.json}}}\npins:", KeysUnavailable),
    ],
)
def test_a_place_that_cannot_be_is_told_with_its_line_and_without_its_url(
    deployment: Path, old: str, new: str, error: type[Exception]
) -> None:
    text = DEPLOYMENT.replace(old, new)
    deployment.write_text(text)
    line = next(
        n for n, (was, now) in enumerate(zip(DEPLOYMENT.splitlines(), text.splitlines(), strict=False), 1) if was != now
    )
    with pytest.raises(error) as raised:
        build(deployment, env={})
    assert f"test.yaml:{line}:" in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("203.0.113.0/24 hosting\n10.0.0.0/8 nonsense\n", "own.txt:2: the class is none of"),
        ("AS64500 vpn\n", "own.txt:1: an AS needs a database"),
        ("", "own.txt:1: the list is empty"),
        (None, "`own.txt` cannot be read"),
    ],
    ids=["a word", "an AS without its database", "empty", "not there"],
)
def test_what_is_wrong_with_a_list_of_networks_is_told_at_the_line_that_names_it(
    deployment: Path, text: str | None, told: str
) -> None:
    signals = "signals:\n  geoip: {max_age: 30 days}\n  networks:\n    lists: [own.txt]\n"
    deployment.write_text(DEPLOYMENT.replace("regions:", signals + "regions:", 1))
    lines = deployment.read_text().splitlines()
    if text is not None:
        deployment.with_name("own.txt").write_text(text)
    with pytest.raises(AddressDataUnavailable) as raised:
        build(deployment, env={}).open()
    assert f"test.yaml:{lines.index('    lists: [own.txt]') + 1}:" in str(raised.value)
    assert told in str(raised.value)


def test_what_is_wrong_with_a_database_is_told_at_its_own_line(deployment: Path) -> None:
    deployment.with_name("own.mmdb").write_bytes(b"no mmdb")
    for key, block in (("second", "geoip"), ("anonymous_ip", "networks"), ("asn", "networks")):
        named = f"    {key}: own.mmdb"
        deployment.write_text(DEPLOYMENT.replace("regions:", f"signals:\n  {block}:\n{named}\nregions:", 1))
        line = deployment.read_text().splitlines().index(named) + 1
        with pytest.raises(AddressDataUnavailable, match=f"test.yaml:{line}:"):
            build(deployment, env={}).open()


def test_what_decisions_are_made_by_is_archived_before_the_first(deployment: Path) -> None:
    runtime = build(deployment, env={})
    runtime.open()
    asyncio.run(runtime.aclose())
    audit = deployment.parent / "audit"
    archive = (audit / policy_path(runtime.policy.digest)).read_bytes()
    assert parse_archive(archive, runtime.policy.digest, {}).deployment == runtime.policy.deployment
    facts = runtime.policy.facts
    assert parse_facts((audit / facts_path(facts_digest(facts))).read_bytes(), facts_digest(facts)) == facts


def test_where_nothing_can_be_archived_nothing_is_decided(deployment: Path) -> None:
    (deployment.parent / "audit").mkdir()
    (deployment.parent / "audit" / "policies").write_text("in the way")
    with pytest.raises(JournalFailed, match="archived"):
        build(deployment, env={}).open()
