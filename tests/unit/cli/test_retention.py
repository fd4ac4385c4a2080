"""`residency retention run` over real sinks: tells first, deletes with --go, and leaves acts in the log."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from residency.adapters.requests_sqlite import RequestsSqlite
from residency.cli.retention import retention_app
from residency.storage.requests import Request, Step
from tests.upkeep_world import ALIAS, acts, change, days_ago, entries, rows, run, world

DAY = 86_400_000_000


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return world(tmp_path)


def ran(policy: Path, *options: str) -> tuple[int, dict[str, dict[str, object]]]:
    code, output = run(retention_app, "run", str(policy), "--json", *options)
    return code, {copy["sink"]: copy for copy in json.loads(output)["copies"]}


def test_a_dry_run_tells_what_is_past_and_changes_nothing(policy: Path, tmp_path: Path) -> None:
    before = len(entries(tmp_path))
    code, copies = ran(policy)
    assert code == 0
    assert copies["old"]["past"] == {"person": 2}
    assert copies["old"]["rules"] == {"test.ceiling": 2}
    assert copies["vn"]["past"] == {}
    assert copies["files"]["records"] == 2
    assert rows(tmp_path, "old", "person") == ["an", "binh"]
    assert len(entries(tmp_path)) == before
    _, text = run(retention_app, "run", str(policy))
    assert "Nothing was changed" in text


def test_a_clock_that_is_far_ahead_of_the_log_deletes_nothing_until_somebody_says_that_it_is_right(
    policy: Path, tmp_path: Path
) -> None:
    assert ran(policy, "--go", "--store", "uploads")[0] == 0
    checkpoint = tmp_path / "audit" / "log" / "checkpoint"
    before = len(entries(tmp_path))
    for days, code in ((29, 0), (31, 2), (7300, 2)):
        then = time.time() - days * 86_400 - 60
        os.utime(checkpoint, (then, then))
        assert run(retention_app, "run", str(policy))[0] == 0
        found, output = run(retention_app, "run", str(policy), "--go", "--store", "uploads")
        assert found == code
        assert ("--clock-is-right" in output) is (code == 2)
    assert rows(tmp_path, "old", "person") == ["an", "binh"]
    assert len(entries(tmp_path)) >= before
    assert ran(policy, "--go", "--clock-is-right")[0] == 0


def test_with_go_what_is_past_is_deleted_and_each_batch_is_an_act_under_its_rules(policy: Path, tmp_path: Path) -> None:
    change(tmp_path, "old", "UPDATE person SET created = ? WHERE id = 'binh'", days_ago(3))
    code, copies = ran(policy, "--go", "--rate", "100000")
    assert code == 0
    assert copies["old"]["deleted"] == 1
    assert rows(tmp_path, "old", "person") == ["binh"]
    assert rows(tmp_path, "old", "account", "owner") == ["an", "binh"]
    assert rows(tmp_path, "vn", "person") == ["an", "binh"]
    assert acts(tmp_path) == [("erase", "old", "committed")]
    (intent,) = [
        entry for entry in entries(tmp_path) if (entry.note or "").startswith("operator: retention, 1 records p")
    ]
    assert intent.rules == ("test.ceiling",)
    assert intent.subject is None
    assert ran(policy, "--go")[1]["old"]["past"] == {}


def test_a_request_for_erasure_in_the_register_begins_its_ceiling_and_floors_still_hold(
    policy: Path, tmp_path: Path
) -> None:
    received = RequestsSqlite(tmp_path / "audit" / "requests.db")
    asked = int(time.time() * 1e6) - 8 * DAY
    received.add(Request("subject.erase", "VN", asked, (Step("subject.erase", asked, ()),), alias=ALIAS))
    change(tmp_path, "vn", "UPDATE account SET closed = ? WHERE owner = 'an'", days_ago(2))
    code, copies = ran(policy, "--go", "--store", "people")
    assert code == 0
    assert copies["vn"]["past"] == {"person": 1}
    assert copies["vn"]["held"] == {"account": 1}
    assert rows(tmp_path, "vn", "person") == ["binh"]
    assert rows(tmp_path, "vn", "account", "owner") == ["an", "binh"]
    assert "files" not in copies


def test_before_anything_ran_presumption_alone_tells_whose_law_covers(policy: Path, tmp_path: Path) -> None:
    for name in ("keys", "audit"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "pins.db").unlink()
    _, copies = ran(policy)
    assert copies["old"]["subjects"] == 2
    assert copies["old"]["past"] == {}  # presume: {territory: not_covered}
    assert not (tmp_path / "keys").exists()
    assert not (tmp_path / "audit").exists()


def test_an_observing_deployment_deletes_nothing(tmp_path: Path) -> None:
    policy = world(tmp_path, replace=[("mode: enforce", "mode: observe")])
    code, output = run(retention_app, "run", str(policy), "--go")
    assert code == 2
    assert "observes" in output
    assert run(retention_app, "run", str(policy))[0] == 0


def test_a_store_that_is_not_there_or_a_file_that_does_not_hold_is_wrong_use(policy: Path, tmp_path: Path) -> None:
    code, output = run(retention_app, "run", str(policy), "--store", "nonsense")
    assert code == 2
    assert "nonsense" in output
    (tmp_path / "bad.yaml").write_text("residency: 1\n")
    assert run(retention_app, "run", str(tmp_path / "bad.yaml"))[0] == 2


def test_what_is_told_names_nobody(policy: Path) -> None:
    for options in ((), ("--json",), ("--go",)):
        _, output = run(retention_app, "run", str(policy), *options)
        assert "binh" not in output
        assert "canary" not in output
