"""A unit of work's connection leads home, and an app is shown of the driver's own what it tells of itself."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from residency.errors import UsageError
from residency.integrations.django_driver import Shown
from tests.postgres import Pair

PROJECT = Path(__file__).resolve().parents[2] / "integration" / "django_connected.py"


@pytest.mark.needs("postgres")
def test_each_new_connection_of_djangos_is_judged_by_where_it_leads_and_takes_the_member_that_writes(
    postgres: Pair, tmp_path: Path
) -> None:
    databases = [server.url("psycopg", server.database()) for server in (postgres.vn, postgres.sg)]
    command = [sys.executable, str(PROJECT), str(tmp_path), *databases]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    away = "SinkUnavailable: sink 'people-vn' has an address in another country than it says"
    assert told["before"] == away, "it was opened before anything served, and closed"
    assert told["home"][0] == postgres.vn.address
    assert told["home"][2] == "shop", "as its URL says"
    assert told["again"] == told["kept"] == told["home"], "one that is there leads where it led"
    assert told["moved"] == told["moved still"] == told["no unit"] == away
    assert (told["open"], told["left"]) == (False, 0)
    assert told["back"][0] == postgres.vn.address
    assert told["member"] == told["member again"]
    assert told["member"][0] == postgres.vn.address


def test_what_is_shown_of_a_drivers_connection_tells_of_itself_and_does_nothing() -> None:
    connection = sqlite3.connect(":memory:")
    for shown in (Shown(connection), Shown(connection.cursor()).connection):
        assert shown.in_transaction is False
        assert not hasattr(shown, "info")
        for name in ("execute", "commit", "cursor"):
            with pytest.raises(UsageError, match="within a request it tells of itself, and does nothing"):
                getattr(shown, name)
        with pytest.raises(UsageError, match="Use the cursor that Django's connection gives"):
            shown.isolation_level = None
    connection.close()
