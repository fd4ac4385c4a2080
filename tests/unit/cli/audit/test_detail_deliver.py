"""What an instance abroad spooled, sealed, comes home whole and once, and opens there alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from residency.adapters.detail_store import DetailStore
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import format_detail
from residency.audit.detail_head import Head, seal_context
from residency.cli.audit import audit_app
from residency.cli.audit.detail_place import moment
from residency.enforcement.current import Current
from residency.enforcement.request import Refusal
from residency.model import Reason
from residency.vault.hpke import HomeBox
from tests.detail_world import LOGS, deploy, live, logged
from tests.world import HOME


def run(*args: str) -> tuple[int, str]:
    found = CliRunner().invoke(audit_app, args)
    return found.exit_code, found.output


def key_of(folder: Path) -> str:
    code, output = run("detail-key", "--country", "VN", "--keys", str(folder), "--json")
    assert code == 0
    return str(json.loads(output)["seal_to"])


def rows(folder: Path) -> list[tuple[Head, bytes]]:
    return list(DetailStore(folder / "details.db").rows())


class Two:
    """A deployment at home, and an instance in Singapore that spools for it."""

    def __init__(self, folder: Path, *rules: str) -> None:
        (folder / "home").mkdir()
        (folder / "abroad").mkdir()
        self.home = deploy(folder / "home")
        public = key_of(folder / "home" / "keys")
        spool = f"region: sg, detail: {{VN: {{folder: ./spool-vn, seal_to: '{public}'}}}}"
        # What an instance abroad reads is recorded alone here: these tests are about what it keeps.
        replace = [("detail: {VN: ./detail-vn}", spool), ("name: test", "name: abroad\nreaders: record")]
        self.abroad = deploy(folder / "abroad", *rules or (LOGS,), replace=replace)
        self.spool = folder / "abroad" / "spool-vn"

    def deliver(self, *options: str) -> tuple[int, dict[str, Any]]:
        place = ("--policy", str(self.home), "--country", "VN", "--json")
        code, output = run("detail", "deliver", str(self.spool), *place, *options)
        return code, json.loads(output)

    @property
    def at_home(self) -> list[tuple[Head, bytes]]:
        return rows(self.home.parent / "detail-vn")


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def test_a_countrys_key_is_made_once_and_its_private_half_stays(tmp_path: Path) -> None:
    code, output = run("detail-key", "--country", "VN", "--keys", str(tmp_path / "keys"))
    assert code == 0
    assert output == f"seal_to: {key_of(tmp_path / 'keys')}\n"
    private = KeysFiles(tmp_path / "keys").secret("detail-home-vn")
    assert private.hex() not in output
    assert run("detail-key", "--country", "Vietnam", "--keys", str(tmp_path))[0] == 2


def test_what_is_spooled_opens_with_no_key_of_the_instance_abroad(two: Two) -> None:
    live(two.abroad, "an", "binh")
    sealed = rows(two.spool)
    assert {head.keeping for head, _ in sealed} == {"log>=12m", "pin"}
    assert not (two.abroad.parent / "keys" / "detail-vn.secret").exists()
    assert not any(b"binh" in path.read_bytes() for path in two.spool.rglob("*") if path.is_file())
    code, output = run("detail", "export", "--policy", str(two.abroad), "--country", "VN")
    assert code == 2
    assert "open there alone" in " ".join(output.split())
    account = ("detail", "erase", "--policy", str(two.abroad), "--country", "VN", "--account")
    assert run(*account)[0] == 2


def test_details_come_home_and_open_there_beside_the_homes_own(two: Two) -> None:
    live(two.home, "chi")
    live(two.abroad, "an", "binh")
    own = len(two.at_home)
    spooled = len(rows(two.spool))
    assert two.deliver() == (0, {"done": True, "read": spooled, "new": spooled, "erased": 0})
    assert len(two.at_home) == own + spooled
    code, output = run("detail", "export", "--policy", str(two.home), "--country", "VN")
    told = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert {(each["origin"], each["detail"].get("account")) for each in told if "account" in each["detail"]} == {
        ("test", "chi"), ("abroad", "an"), ("abroad", "binh")
    }  # fmt: skip
    committed = {entry.id: entry.detail for entry in logged(two.abroad) if entry.detail is not None}
    assert {each["entry"]: each["commitment"] for each in told if each["origin"] == "abroad"} == committed


def test_a_second_delivery_doubles_nothing_and_brings_what_is_new(two: Two) -> None:
    live(two.abroad, "an")
    first = two.deliver()[1]["new"]
    assert two.deliver()[1]["new"] == 0
    live(two.abroad, "binh")
    assert two.deliver()[1]["new"] == len(rows(two.spool)) - first
    assert len(two.at_home) == len(rows(two.spool))


def test_a_delivery_that_was_killed_is_gone_on_with(two: Two) -> None:
    live(two.abroad, "an", "binh")
    two.deliver()
    half = [head for head, _ in two.at_home][::2]
    path = two.home.parent / "detail-vn" / "details.db"
    kept = [row for row in two.at_home if row[0] not in half]
    path.unlink()
    DetailStore(path).file(kept, moment())  # as after a kill between two batches
    assert two.deliver()[1]["new"] == len(half)
    assert len(two.at_home) == len(rows(two.spool))


def test_what_lies_at_home_may_be_erased_from_the_spool(two: Two) -> None:
    live(two.abroad, "an")
    spooled = rows(two.spool)
    code, told = two.deliver("--erase")
    assert (code, told["erased"]) == (0, len(spooled))
    assert rows(two.spool) == []
    live(two.abroad)  # whose next life turns its journals over
    for path in two.spool.rglob("*"):
        assert not path.is_file() or not any(sealed in path.read_bytes() for _, sealed in spooled)
    assert two.deliver()[1] == {"done": True, "read": 0, "new": 0, "erased": 0}
    assert len(two.at_home) == len(spooled)


def test_what_was_erased_at_home_does_not_come_back_by_a_copy_of_the_spool(two: Two) -> None:
    live(two.abroad, "an")
    two.deliver()
    heads = [head for head, _ in two.at_home]
    DetailStore(two.home.parent / "detail-vn" / "details.db").erase(heads)
    assert two.deliver()[1]["new"] == 0
    assert two.at_home == []


def test_what_is_still_in_a_journal_comes_home_too(two: Two) -> None:
    live(two.abroad, "an")
    count = len(rows(two.spool))
    copy = two.spool.parent / "copy"
    shutil.copytree(two.spool, copy)
    (copy / "details.db").unlink()  # as if nothing had been filed yet
    two.spool = copy
    assert two.deliver()[1] == {"done": True, "read": count, "new": count, "erased": 0}


def test_a_spool_for_another_key_or_a_changed_one_does_not_open_and_nothing_of_its_batch_is_kept(two: Two) -> None:
    live(two.abroad, "an")
    (two.home.parent / "keys" / "detail-home-vn.secret").write_bytes(bytes(range(32)))
    code, told = two.deliver()
    assert code == 1
    assert "does not open" in told["problem"]
    assert two.at_home == []


def test_a_detail_that_was_forged_abroad_does_not_come_home(two: Two) -> None:
    # Whoever has the public key can seal; what the log commits to they cannot choose afterwards.
    live(two.abroad, "an")
    head, _ = rows(two.spool)[0]
    DetailStore(two.spool / "details.db").erase([head])
    forged = replace(head, entry="0.99")
    box = HomeBox(base64.b64decode(key_of(two.home.parent / "keys")), os.urandom)
    sealed = box.seal(format_detail({"account": "mallory"}, bytes(16)), seal_context("VN", forged))
    DetailStore(two.spool / "details.db").file([(forged, sealed)], moment())
    code, told = two.deliver()
    assert code == 1
    assert "entry 0.99 of abroad: its detail is not the one it commits to" in told["problem"]
    assert "0.99" not in [head.entry for head, _ in two.at_home]


def test_wrong_use_is_told(two: Two, tmp_path: Path) -> None:
    place = ("--policy", str(two.home), "--country", "VN")
    assert run("detail", "deliver", str(tmp_path), *place)[0] == 2
    live(two.abroad, "an")
    assert run("detail", "deliver", str(two.spool), "--policy", str(two.abroad), "--country", "VN")[0] == 2


def test_where_data_may_not_leave_the_country_in_any_form_the_instance_abroad_refuses(tmp_path: Path) -> None:
    two = Two(tmp_path, HOME, LOGS)
    (answer,) = live(two.abroad, "an")
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.DETAIL_ABROAD
    (plain,) = live(two.abroad, "an", path="/plain")  # no law keeps this at home
    assert isinstance(plain, Current)
    entries = [entry for entry in logged(two.abroad) if entry.kind != "system"]
    assert [(entry.kind, entry.detail is None) for entry in entries] == [("refusal", True), ("decision", False)]
    assert [head.entry for head, _ in rows(two.spool)] == [entries[1].id]
