"""Commands of an operator on sinks that are not where they must be: where drift is refused, nothing of anybody's is
read or written there, and nothing is sent to a server that is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.cli.app import app_for
from residency.enforcement.admission import MISPLACED
from residency.wiring import location
from tests.postgres import Pair
from tests.servers import Servers
from tests.upkeep_world import TEXT, acts, rows, world
from tests.upkeep_world import run as ran
from tests.world import write_deployment

TWICE = """  sg-files: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://linked"}
location: {drift: DRIFT}
stores: {others: [sg-files], """
"""One folder that is said to lie in two countries."""
SAID = f"sink 'files' {MISPLACED}"


def run(*args: str) -> tuple[int, str]:
    """(exit code, output on one line) of `residency` with these arguments."""
    code, said = ran(app_for(list(args)), *args)
    return code, " ".join(said.split())


def deployed(folder: Path, drift: str) -> str:
    (folder / "files").mkdir()
    (folder / "linked").symlink_to("files")
    return str(world(folder, text=TEXT, replace=[("stores: {", TWICE.replace("DRIFT", drift))]))


def test_nothing_of_anybodys_is_read_or_written_where_a_sink_is_not_where_it_must_be(tmp_path: Path) -> None:
    policy = deployed(tmp_path, "refuse")
    asked = (policy, "--subject", "an")
    for args in (
        ("retention", "run", policy),
        ("retention", "run", policy, "--go"),
        ("erase", *asked),
        ("erase", *asked, "--go"),
        ("export", *asked, "--out", str(tmp_path / "an.zip")),
        ("sinks", "locate", policy, "--store", "uploads"),
        ("move", policy, "--to-home", "--find"),
    ):
        code, said = run(*args)
        assert (code, SAID in said) == (2 if args[0] == "move" else 1, True), (args, said)
        assert str(tmp_path / "files") not in said
    assert acts(tmp_path) == []
    assert not (tmp_path / "an.zip").exists()
    assert (tmp_path / "files").exists()
    assert rows(tmp_path, "old", "person") == ["an", "binh"]
    code, _ = run("retention", "run", policy, "--go", "--store", "people")
    assert code == 0, "of other sinks all goes on"
    assert rows(tmp_path, "old", "person") == []


def test_where_drift_is_only_told_commands_go_on(tmp_path: Path) -> None:
    policy = deployed(tmp_path, "warn")
    assert run("retention", "run", policy)[0] == 0
    assert run("export", policy, "--subject", "an", "--out", str(tmp_path / "an"))[0] == 0


ROWS = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "URL"}
stores: {people: [vn]}
location: {drift: refuse}
activities:
  - {route: "POST /people", subject: user, data: [personal], store: people}
"""
ABROAD = "sink 'vn' has an address in another country than it says"


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_no_command_uses_a_database_elsewhere_and_no_migration_goes_there(
    mode: str, postgres: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        location, "elsewhere", lambda _, __, binds: lambda address: binds() and address == postgres.sg.address
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models_abroad.py").write_text("import sqlalchemy as sa\nm = sa.MetaData()\nsa.Table('t', m)\n")
    monkeypatch.syspath_prepend(tmp_path)
    url = postgres.sg.url("asyncpg", postgres.sg.emptied())
    file = str(write_deployment(tmp_path, ROWS, replace=[("URL", url), ("mode: enforce", f"mode: {mode}")]))
    refused = mode == "enforce"
    for args in (
        ("ping", file),
        ("mark", file),
        ("create-all", file, "--store", "people", "--metadata", "models_abroad:m"),
        ("migrate", file, "--store", "people", "--", "touch", "migrated"),
    ):
        code, said = run("sinks", *args)
        assert (code, ABROAD in said) == ((1, True) if refused else (0, False)), said
        assert url not in said
    assert (tmp_path / "migrated").exists() is not refused
    assert (f'{{"level": "bad", "what": "{ABROAD}"' in run("doctor", file, "--json")[1]) is refused


@pytest.mark.needs("postgres")
def test_a_migration_goes_the_way_of_the_url_so_a_member_at_home_does_not_answer_for_it(
    postgres: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "elsewhere", lambda *_: postgres.sg.address.__eq__)
    monkeypatch.chdir(tmp_path)
    name = postgres.sg.emptied()
    assert postgres.vn.emptied() == name
    home, abroad = postgres.vn.url("asyncpg", name), postgres.sg.url("asyncpg", name)
    url = f'{abroad}", members: [{{region: vn-han, url: "{home}"}}]'
    file = str(write_deployment(tmp_path, ROWS, replace=[('URL"', url)]))
    assert run("sinks", "ping", file)[0] == 0, "its member serves"
    code, said = run("sinks", "migrate", file, "--store", "people", "--", "touch", "migrated")
    assert (code, ABROAD in said) == (1, True)
    assert not (tmp_path / "migrated").exists()


@pytest.mark.needs("redis")
def test_the_doctor_sends_nothing_to_pins_elsewhere(
    redis_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "elsewhere", lambda *_: "127.0.0.1".__eq__)
    server = redis_servers.single()
    pins = f'pins: {{url: "{server.url}", region: vn-han}}\nsinks:'
    file = str(write_deployment(tmp_path, ROWS, replace=[("URL", "sqlite:///vn.db"), ("sinks:", pins)]))
    before = server.client.info("stats")["total_commands_processed"]
    _, said = run("doctor", file, "--json")
    assert "the pins' server has an address in another country than `pins.region` says" in said
    assert server.client.info("stats")["total_commands_processed"] == before + 1, "nobody but this test"
