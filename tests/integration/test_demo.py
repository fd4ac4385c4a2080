"""The demo as a stranger runs it: played once for all tests here, then checked, tampered with, and cut short."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

import residency.demo
from residency.cli.audit import audit_app

ROOT = Path(__file__).resolve().parents[2]
CHECKER = Path(residency.demo.__file__).parent / "check_claims"
RUN = [sys.executable, "-c", "from residency.cli import main; main()"]


def residency_(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*RUN, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", str(CHECKER), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo") / "with a space, ü"
    return folder, residency_("demo", "--once", "--folder", folder)


@pytest.fixture
def folder(played: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> Path:
    """A copy of the played demo's folder, to be tampered with."""
    return Path(shutil.copytree(played[0], tmp_path / "copy"))


def test_played_once_it_exits_0_with_every_claim_held(
    played: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    done = played[1]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "every claim holds" in done.stdout
    assert done.stderr == ""


def test_off_a_terminal_there_are_no_control_codes(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", played[1].stdout) is None


def test_every_scene_is_on_screen_with_article_and_sink(
    played: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out = played[1].stdout
    for text in (
        "python -m uvicorn residency.demo.app:app",
        "VN: territory",
        "Decree 333/2026/ND-CP art. 19(1), 19(2)",
        "Law 91/2025/QH15 art. 20(2)",
        "X-Forwarded-For",
        "451 application/problem+json",
        "403 application/problem+json",
        "killed after",
        "VN: presumption",
        "residency audit verify",
    ):
        assert text in out, text


def test_claims_cover_every_country_and_both_ways_of_talking(played: tuple[Path, object]) -> None:
    claims = json.loads((played[0] / "claims.json").read_text())
    countries = {person["country"] for person in claims["people"].values()}
    assert countries == {"VN", "SG", "DE", "US", "LA", "CN", None}
    kinds = {claim["kind"] for claim in claims["requests"] if claim["outcome"] == "acknowledged"}
    assert {"sign_up", "post", "chat", "read", "export", "unverified_post"} <= kinds
    assert "newsletter" in kinds
    assert claims["kill"] is not None
    assert all(scene["kept"] for scene in claims["scenes"])


def test_the_transfer_register_shows_what_went_abroad_on_a_dossier(played: tuple[Path, object]) -> None:
    result = CliRunner().invoke(audit_app, ["register", str(played[0] / "audit" / "log"), "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["problems"]) == (0, [])
    (flow,) = [flow for flow in told["flows"] if flow["how"] != ["reader"]]  # the rest was read from abroad
    assert (flow["activity"], flow["sink"], flow["place"], flow["subjects"]) == (
        "POST /v1/newsletter",
        "mail-sg",
        "SG",
        1,
    )
    assert "filing:vn.transfer_dossier" in flow["grounds"][0]["met"]
    assert [dossier["state"] for dossier in told["dossiers"]] == ["passed"]


def _spelled(value: str) -> set[bytes]:
    """A value as it might hide in a file: text of two widths, hex, base64 at each offset, a URL, packed, hashed."""
    plain = value.encode()
    found = {plain, value.lower().encode(), value.encode("utf-16-le"), plain.hex().encode(), quote(value).encode()}
    found |= {
        json.dumps(value)[1:-1].encode(),
        hashlib.sha256(plain).digest(),
        hashlib.sha256(plain).hexdigest().encode(),
    }
    found |= {base64.b64encode(b"x" * lead + plain)[skip:-4] for lead, skip in ((0, 0), (1, 2), (2, 3))}
    with contextlib.suppress(ValueError):
        found |= {uuid.UUID(value).bytes, uuid.UUID(value).hex.encode()}
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(value)
        found |= {address.exploded.encode()} | ({address.packed} if address.version == 6 else set())
    return {each for each in found if len(each) > 6}


def test_no_person_is_in_journals_pins_keys_or_sealed_detail_and_no_such_file_is_open_to_others(
    played: tuple[Path, object],
) -> None:
    folder = played[0]
    of_the_demo = {"claims.json", "server.log"}  # the demo's own notes, and what uvicorn itself logs
    people = json.loads((folder / "claims.json").read_text())["people"].values()
    hunted = {
        each
        for person in people
        for what in ("id", "name", "email", "source")
        if person[what] is not None
        for each in _spelled(person[what])
    }
    published = folder / "audit" / "log"
    own_state = {"sequencer.json", "open-intents.json"}  # numbers and times alone
    for path in (path for path in folder.rglob("*") if path.is_file()):
        if published not in path.parents and path.stat().st_size and path.name not in own_state:
            assert path.stat().st_mode & 0o077 == 0, path
        if path.name not in of_the_demo and not path.name.startswith(("people-", "mail-")):
            data = path.read_bytes().rstrip(b"\0")
            assert not [each for each in hunted if each in data], path


def test_the_audit_command_agrees_with_the_checker(played: tuple[Path, object]) -> None:
    done = residency_("audit", "verify", played[0] / "audit" / "log")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_copy_of_an_honest_run_holds(folder: Path) -> None:
    done = check(folder)
    assert done.returncode == 0, done.stdout


def test_a_byte_flipped_in_the_log_fails_the_check(folder: Path) -> None:
    bundle = sorted(path for path in (folder / "audit" / "log" / "tile" / "entries").rglob("*") if path.is_file())[0]
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    assert check(folder).returncode == 1


def test_a_row_moved_abroad_fails_the_check(folder: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(folder / "people-vn.sqlite")) as home,
        contextlib.closing(sqlite3.connect(folder / "people-sg.sqlite")) as abroad,
    ):
        row = home.execute("SELECT id, author, body FROM posts").fetchone()
        with abroad:
            abroad.execute("INSERT INTO posts (id, author, body) VALUES (?, ?, ?)", row)
        with home:
            home.execute("DELETE FROM posts WHERE id = ?", row[:1])
    done = check(folder)
    assert done.returncode == 1
    assert "FAILS  homes" in done.stdout


def test_a_row_lost_after_its_acknowledgement_fails_the_check(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "people-sg.sqlite")) as connection, connection:
        connection.execute("DELETE FROM messages WHERE id = (SELECT min(id) FROM messages)")
    done = check(folder)
    assert done.returncode == 1
    assert "FAILS  homes" in done.stdout


def test_nothing_is_left_running(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    (port,) = re.findall(r"uvicorn residency\.demo\.app:app --port (\d+)", played[1].stdout)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0


# -- what it will not do ---------------------------------------------------------------------------------------


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    done = residency_("demo", "--once", "--folder", tmp_path)
    assert done.returncode == 2
    assert "not a demo's folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A demo under way: its process, and the port of its server."""
    process = subprocess.Popen(
        [*RUN, "demo", "--once", "--folder", str(tmp_path / "demo")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = None
        for line in process.stdout:
            if found := re.search(r"serving on 127\.0\.0\.1:(\d+)", line):
                port = int(found[1])
                break
        assert port is not None
        yield process, port
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def cut_short(process: subprocess.Popen[str], port: int, number: signal.Signals) -> None:
    """Ended by a signal it says so, and leaves no server behind."""
    process.send_signal(number)
    assert process.stdout is not None
    assert "Traceback" not in process.stdout.read()
    assert process.wait() == 130
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_second_demo_in_the_same_folder_is_refused_and_the_first_can_be_interrupted_after_it(
    running: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    done = residency_("demo", "--once", "--folder", tmp_path / "demo")
    assert done.returncode == 2
    assert "another demo works in" in done.stderr
    cut_short(*running, signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_cut_short_by_a_signal_it_leaves_no_server_behind(
    running: tuple[subprocess.Popen[str], int], number: signal.Signals
) -> None:
    cut_short(*running, number)


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer

    from residency.cli import demo

    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "fastapi" else object())
    with pytest.raises(typer.Exit) as ended:
        demo.demo()
    assert ended.value.exit_code == 2
    assert "pip install 'residency[demo]'" in capsys.readouterr().err
