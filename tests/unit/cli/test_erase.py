"""`residency erase`: every copy is gone through, floors keep what they hold, and the receipt says so and is signed."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import typer
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from residency.asgi.middleware import ResidencyMiddleware
from residency.audit.note import parse_verifier_key
from residency.bootstrap import build
from residency.cli.audit.detail_place import caught_up
from residency.cli.erase import erase
from residency.errors import VerificationError
from residency.model import SubjectId
from residency.storage import mover_lease
from residency.storage.receipts import ERASURE, parse_receipt
from tests.record_world import LIMITED
from tests.upkeep_world import ALIAS, TEXT, acts, change, days_ago, entries, rows, run, world

app = typer.Typer()
app.command()(erase)


def erased(policy: Path, *options: str, who: str = "an") -> tuple[int, str]:
    return run(app, str(policy), "--subject-file", "-", *options, given=f"{who}\n")


def pinned(policy: Path, who: str) -> bool:
    async def look() -> bool:
        runtime = build(policy)
        async with runtime.reading_pins() as (pins, digest):
            return await pins.get(digest(SubjectId(who).value)) is not None

    return anyio.run(look)


@pytest.fixture
def free(tmp_path: Path) -> Path:
    """No floor holds anything."""
    return world(tmp_path, rules=(LIMITED,))


def test_without_go_it_is_told_and_nothing_changes(free: Path, tmp_path: Path) -> None:
    before = len(entries(tmp_path))
    code, output = erased(free)
    assert code == 0
    assert "would go" in output
    told = json.loads(erased(free, "--json")[1])
    assert {(part["sink"], part["record"], part["count"]) for part in told["erased"]} == {
        ("vn", "person", 1), ("vn", "account", 1), ("old", "person", 1), ("old", "account", 1),
        ("files", "users/{subject}/", 1),
    }  # fmt: skip
    assert not told["done"]
    assert rows(tmp_path, "vn", "person") == ["an", "binh"]
    assert len(entries(tmp_path)) == before


def test_nobody_is_erased_while_somebody_moves_people_for_what_is_in_hand_would_be_put_down_again(
    free: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[erase.__module__], "_PATIENCE", 0.0)
    monkeypatch.setattr(mover_lease, "_LOOK", 0.01)
    monkeypatch.setattr(mover_lease, "_BEAT", 0.02)
    begun, ended = threading.Event(), threading.Event()

    async def move() -> None:
        runtime = build(free)
        await runtime.start()
        digest = runtime.point.perception.digest
        async with mover_lease.MoverLease(runtime.point.homes.pins, digest, "1" * 32, "hanoi", "VN").held():
            begun.set()
            await anyio.to_thread.run_sync(ended.wait)
        await runtime.aclose()

    mover = threading.Thread(target=anyio.run, args=(move,))
    mover.start()
    assert begun.wait(30)
    try:
        code, output = erased(free, "--go")
    finally:
        ended.set()
        mover.join()
    assert code == 2
    assert "another move is on: hanoi" in output
    assert rows(tmp_path, "vn", "person") == ["an", "binh"]
    assert erased(free, "--go", "--receipt", str(tmp_path / "receipt"))[0] == 0


def test_every_copy_loses_the_person_and_nobody_else_loses_anything(free: Path, tmp_path: Path) -> None:
    code, output = erased(free, "--go", "--receipt", str(tmp_path / "receipt"))
    assert code == 0
    for sink in ("vn", "old"):
        assert rows(tmp_path, sink, "person") == ["binh"]
        assert rows(tmp_path, sink, "account", "owner") == ["binh"]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "files").rglob("*") if path.is_file())
    assert b"canary-an-photo" not in stored
    assert b"canary-binh-photo" in stored
    assert acts(tmp_path) == [
        ("erase", "vn", "committed"), ("erase", "old", "committed"), ("erase", "files", "committed"),
    ]  # fmt: skip
    assert {e.subject for e in entries(tmp_path) if e.kind == "intent"} == {ALIAS}
    assert not pinned(free, "an")
    assert pinned(free, "binh")
    assert "forgotten" in output


def test_the_receipt_is_signed_by_the_logs_key_and_names_nobody(free: Path, tmp_path: Path) -> None:
    receipt = tmp_path / "receipt"
    erased(free, "--go", "--receipt", str(receipt))
    key = parse_verifier_key((tmp_path / "audit" / "log" / "log.vkey").read_text())
    document = parse_receipt(ERASURE, receipt.read_bytes(), key)
    assert document["complete"]
    assert document["unlinked"]
    assert document["not_covered"] == []
    assert document["alias"] == ALIAS
    assert {copy["sink"] for copy in document["copies"]} == {"vn", "sg", "old", "files"}
    told = {entry.id: entry for entry in entries(tmp_path)}
    for part in document["erased"]:
        assert told[part["act"]].act == "committed"
        assert told[part["act"]].sink == part["sink"]
    assert b"canary" not in receipt.read_bytes()
    assert receipt.stat().st_mode & 0o077 == 0
    vkey = str(tmp_path / "audit" / "log" / "log.vkey")
    code, output = run(app, str(receipt), "--check", vkey, "--json")
    assert (code, json.loads(output)["complete"]) == (0, True)
    receipt.write_bytes(receipt.read_bytes().replace(b'"complete":true', b'"complete":null'))
    code, output = run(app, str(receipt), "--check", vkey)
    assert (code, "Does not hold: " in output, "Not done" in output) == (1, True, False)
    with pytest.raises(VerificationError):
        parse_receipt(ERASURE, receipt.read_bytes(), key)


def test_what_a_floor_holds_stays_with_day_and_rules_and_the_pin_stays_with_it(tmp_path: Path) -> None:
    policy = world(tmp_path)
    change(tmp_path, "vn", "UPDATE account SET closed = ? WHERE owner = 'an'", days_ago(2))
    code, output = erased(policy, "--go", "--json")
    assert code == 1
    told = json.loads(output)
    assert not told["complete"]
    assert rows(tmp_path, "vn", "person") == ["binh"]
    assert rows(tmp_path, "vn", "account", "owner") == ["an", "binh"]
    kept = {part["sink"]: part for part in told["kept"]}
    assert kept["vn"]["rules"] == ["test.floor"]
    assert kept["vn"]["retained_until"] > days_ago(0)[:10]
    assert kept["old"]["retained_until"] is None  # its event has not happened
    assert not told["unlinked"]
    assert pinned(policy, "an")
    again = json.loads(erased(policy, "--go", "--json")[1])
    assert again["erased"] == []
    assert len(again["kept"]) == 2


def test_a_store_that_nobody_tells_of_is_named_and_keeps_the_alias(tmp_path: Path) -> None:
    policy = world(
        tmp_path, rules=(LIMITED,), replace=[('  uploads:\n    "users/{subject}/": {data: [personal]}\n', "")]
    )
    code, output = erased(policy, "--go", "--json")
    told = json.loads(output)
    assert (code, told["not_covered"], told["unlinked"]) == (0, ["uploads"], False)
    assert pinned(policy, "an")


def test_a_deployment_that_tells_whose_nothing_is_erases_nothing_and_says_so(tmp_path: Path) -> None:
    records = TEXT[TEXT.index("records:") : TEXT.index("audit:")]
    policy = world(tmp_path, rules=(LIMITED,), replace=[(records, "")])
    for options in ((), ("--go",)):
        code, output = erased(policy, *options)
        assert code == 2
        assert "no `records`" in output
    assert rows(tmp_path, "vn", "person") == ["an", "binh"]


def test_somebody_of_whom_there_is_nothing_is_told_so(free: Path) -> None:
    code, output = erased(free, who="nobody")
    assert code == 0
    assert "Nothing of this person" in output


def test_wrong_use_is_told_and_changes_nothing(free: Path, tmp_path: Path) -> None:
    assert run(app, str(free))[0] == 2
    assert run(app, str(free), "--subject", "an", "--subject-file", "-")[0] == 2
    assert erased(free, who="")[0] == 2
    (tmp_path / "there").write_text("")
    assert erased(free, "--go", "--receipt", str(tmp_path / "there"))[0] == 2
    assert rows(tmp_path, "vn", "person") == ["an", "binh"]


def test_nothing_is_erased_where_the_deployment_observes(tmp_path: Path) -> None:
    policy = world(tmp_path, rules=(LIMITED,), replace=[("mode: enforce", "mode: observe")])
    assert erased(policy, "--go")[0] == 2
    assert rows(tmp_path, "vn", "person") == ["an", "binh"]


def test_the_id_is_in_no_output_and_no_entry(free: Path, tmp_path: Path) -> None:
    change(tmp_path, "vn", "INSERT INTO person VALUES ('subject-4711', 'x', ?)", days_ago(1))
    _, first = erased(free, who="subject-4711")
    _, second = erased(free, "--go", who="subject-4711")
    assert "4711" not in first + second
    for path in (tmp_path / "audit").rglob("*"):
        assert not path.is_file() or b"subject-4711" not in path.read_bytes()


LOGGED = """
  - id: test.logs
    article: art. 16
    text: Logs are kept for a year.
    applies: {anchor: territory}
    duty: {log: [account], retain: [{at_least: 12 months, data: log, from: creation}]}
"""


def visit(policy: Path) -> None:
    """`an` calls the app once, which leaves a detail beside the log."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("ok")(scope, receive, send)

    runtime = build(policy)
    client = TestClient(ResidencyMiddleware(app, policy=runtime), client=("113.160.0.1", 5000))
    assert client.get("/people/an").status_code == 200
    anyio.run(runtime.aclose)


def details(folder: Path) -> list[str]:
    """The classes of the details of `an` that are filed."""
    return sorted(head.keeping for head, _ in caught_up(folder / "detail").rows(alias=ALIAS))


READ = (
    '  - {route: "POST /people"',
    '  - {route: "GET /people/{id}", subject: path.id, data: [personal]}\n  - {route: "POST /people"',
)


def test_details_that_no_law_holds_go_with_the_alias(tmp_path: Path) -> None:
    policy = world(tmp_path, rules=(LIMITED,), replace=[READ])
    visit(policy)
    assert details(tmp_path)
    told = json.loads(erased(policy, "--go", "--json")[1])
    assert (told["details"]["erased"], told["details"]["kept"], told["unlinked"]) == (1, [], True)
    assert details(tmp_path) == []


def test_details_that_a_law_holds_stay_and_are_told_with_the_law(tmp_path: Path) -> None:
    policy = world(tmp_path, rules=(LIMITED, LOGGED), replace=[READ])
    visit(policy)
    code, output = erased(policy, "--go", "--json")
    told = json.loads(output)
    assert code == 0  # of the records nothing is left
    (kept,) = told["details"]["kept"]
    assert (kept["country"], kept["count"], kept["rules"]) == ("VN", 1, ["test.logs"])
    assert kept["retained_until"] > days_ago(-360)[:10]
    assert details(tmp_path) == ["log>=12m"]
    assert not pinned(policy, "an")
