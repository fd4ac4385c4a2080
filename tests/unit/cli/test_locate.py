"""`residency locate` prints one line an address, and its exit code says whether all were addresses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters import mmdb
from residency.adapters.mmdb import EMBEDDED_TABLE
from residency.cli.locate import locate
from residency.signals.table_sources import SourceFile, compiled
from tests.mmdb_files import countries

APP = typer.Typer()
APP.command("locate")(locate)


def run(*arguments: str, stdin: str | None = None) -> tuple[int, list[str]]:
    result = CliRunner().invoke(APP, list(arguments), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout.splitlines()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.mmdb"
    path.write_bytes(countries({"14.160.0.0/11": "LA", "2001:ee0::/32": "LA", "8.0.0.0/8": "US"}))
    return path


def test_each_address_is_one_json_object_with_its_country_or_null() -> None:
    code, lines = run("--json", "14.160.0.1", "::ffff:8.8.8.8", "2001:EE0::1", "10.0.0.1")
    assert code == 0
    assert [json.loads(line) for line in lines] == [
        {"address": "14.160.0.1", "country": "VN"},
        {"address": "8.8.8.8", "country": "US"},
        {"address": "2001:ee0::1", "country": "VN"},
        {"address": "10.0.0.1", "country": None, "network": "special"},
    ]


def test_text_is_one_line_an_address() -> None:
    assert run("14.160.0.1", "127.0.0.1") == (0, ["14.160.0.1\tVN", "127.0.0.1\t-"])


def test_stdin_is_read_line_by_line_among_the_others() -> None:
    code, lines = run("8.8.8.8", "-", stdin="14.160.0.1\n\n 2001:ee0::1 \r\n")
    assert (code, lines) == (0, ["8.8.8.8\tUS", "14.160.0.1\tVN", "2001:ee0::1\tVN"])


def test_what_is_no_address_is_told_in_its_line_and_in_the_exit_code() -> None:
    code, lines = run("--json", "999.1.1.1", "14.160.0.1")
    assert code == 1
    assert json.loads(lines[0]) == {"address": "999.1.1.1", "error": "not an IP address"}
    assert json.loads(lines[1])["country"] == "VN"
    assert run("example.com") == (1, ["example.com\tnot an IP address"])


def test_no_address_is_wrong_use() -> None:
    assert run()[0] == 2
    assert run("--json")[0] == 2


def test_info_shows_date_source_licence_and_caution() -> None:
    code, lines = run("--info")
    text = "\n".join(lines)
    assert code == 0
    for expected in ("2026-06-17", "iptoasn", "PDDL-1.0", "bugs", "bundled:    True"):
        assert expected in text
    code, lines = run("--info", "--json")
    assert code == 0
    assert json.loads(lines[0])["licence"] == "PDDL-1.0"


def test_info_counts_what_is_vietnamese_and_tells_the_age() -> None:
    told = json.loads(run("--info", "--json")[1][0])
    assert told["vietnam"]["ipv4_addresses"] > 10_000_000
    assert told["vietnam"]["ipv6_64s"] > 10_000_000_000
    assert told["age_days"] > 0
    text = "\n".join(run("--info")[1])
    assert f"{told['vietnam']['ipv4_addresses']:,} IPv4 addresses" in text
    assert f"age_days:   {told['age_days']}" in text


@pytest.mark.parametrize("option", ["--db", "--compare"])
@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100, b"residency table\x01 cut"])
def test_a_database_that_cannot_be_read_is_said_and_does_not_hold(
    tmp_path: Path, small: Path, content: bytes | None, option: str
) -> None:
    path = tmp_path / "own.mmdb"
    if content is not None:
        path.write_bytes(content)
    for wanted in (["14.160.0.1"], ["--info"]) if option == "--db" else (["--db", str(small)],):
        result = CliRunner().invoke(APP, [option, str(path), *wanted])
        assert result.exit_code == 2
        assert "own.mmdb" in result.stderr
        assert "give a country database in mmdb form" in result.stderr
        assert tmp_path.name not in result.stderr
        assert result.stdout == ""


def test_progress_stays_out_of_what_a_program_reads() -> None:
    result = CliRunner().invoke(APP, ["-"], input="14.160.0.1\n" * 5_000)
    assert result.exit_code == 0
    assert result.stdout == "14.160.0.1\tVN\n" * 5_000
    assert result.stderr == ""


def test_a_database_of_ones_own_answers(small: Path) -> None:
    assert run("--db", str(small), "14.160.0.1", "2001:ee0::1", "9.9.9.9", "10.0.0.1") == (
        0,
        ["14.160.0.1\tLA", "2001:ee0::1\tLA", "9.9.9.9\t-", "10.0.0.1\t-"],
    )


def test_a_compiled_table_answers_and_tells_what_it_was_made_of(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "any-name"
    path.write_bytes(compiled([SourceFile("database", "small.mmdb", small.read_bytes())], mmdb))
    assert run("--db", str(path), "14.160.0.1", "nowhere") == (1, ["14.160.0.1\tLA", "nowhere\tnot an IP address"])
    told = json.loads(run("--db", str(path), "--info", "--json")[1][0])
    assert [source["file"] for source in told["sources"]] == ["small.mmdb"]
    assert told["networks"] == 3
    assert told["date"] == "2026-09-21"


def test_info_of_ones_own_database_counts_its_networks(small: Path) -> None:
    told = json.loads(run("--db", str(small), "--info", "--json")[1][0])
    assert (told["file"], told["bundled"], told["networks"], told["licence"]) == ("small.mmdb", False, 3, None)
    assert told["vietnam"] == {"ipv4_addresses": 0, "ipv6_64s": 0}
    assert told["sha256"] == hashlib.sha256(small.read_bytes()).hexdigest()


def test_a_build_date_that_is_none_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "odd.mmdb"
    path.write_bytes(countries({"8.0.0.0/8": "US"}, built=2**62))
    told = json.loads(run("--db", str(path), "--info", "--json")[1][0])
    assert (told["date"], told["age_days"]) == (None, None)


def test_files_are_read_line_by_line_after_the_addresses(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_bytes(b"8.8.8.8\r\n\n2001:ee0::1")
    two.write_bytes(b"127.0.0.1\n")
    assert run("14.160.0.1", "--file", str(one), "--file", str(two)) == (
        0,
        ["14.160.0.1\tVN", "8.8.8.8\tUS", "2001:ee0::1\tVN", "127.0.0.1\t-"],
    )


def test_bad_lines_of_a_file_are_told_counted_and_in_the_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("8.8.8.8\nnowhere\n14.160.0.1\n1.2.3\n")
    result = CliRunner().invoke(APP, ["--file", str(path)])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1] == "nowhere\tnot an IP address"
    assert "2 of 4 lines are no IP addresses" in result.stderr


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "absent.txt", "there is no file `absent.txt`"), (tmp_path, "cannot be read")):
        result = CliRunner().invoke(APP, ["--file", str(path)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert why in result.stderr


def test_a_file_given_as_an_address_is_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("8.8.8.8\n")
    result = CliRunner().invoke(APP, [str(path)])
    assert result.exit_code == 1
    assert "--file reads addresses" in result.stderr


def test_a_pipe_can_be_a_file() -> None:
    with subprocess.Popen(["printf", "14.160.0.1\n"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert run("--file", f"/dev/fd/{process.stdout.fileno()}") == (0, ["14.160.0.1\tVN"])


def test_comparing_counts_in_general_and_on_one_country(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mmdb"
    other.write_bytes(countries({"14.160.0.0/12": "VN", "14.176.0.0/12": "LA", "9.0.0.0/8": "US"}))
    code, lines = run("--db", str(small), "--compare", str(other), "--json")
    told = json.loads(lines[0])
    assert code == 0
    assert told["here"] == {"file": "small.mmdb", "date": "2026-09-21", "networks": 3}
    assert (told["ipv4"]["same"], told["ipv4"]["other"]) == (2**20, 2**20)
    assert (told["ipv4"]["only_here"], told["ipv4"]["only_there"]) == (2**24, 2**24)
    code, lines = run("--db", str(small), "--compare", str(other), "--country", "VN", "--json")
    told = json.loads(lines[0])
    assert told["country"] == "VN"
    assert told["ipv4"]["pairs"] == [{"here": "LA", "there": "VN", "count": 2**20, "networks": ["14.160.0.0/12"]}]


def test_comparing_is_shown_in_tables(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mmdb"
    other.write_bytes(countries({"14.160.0.0/12": "VN", "14.176.0.0/12": "LA"}))
    code, lines = run("--db", str(small), "--compare", str(other))
    text = "\n".join(lines)
    assert code == 0
    for expected in ("here:   small.mmdb", "there:  other.mmdb", "1,048,576", "50.00%", "IPv6 /48s"):
        assert expected in text
    code, lines = run("--db", str(small), "--compare", str(other), "--country", "LA")
    text = "\n".join(lines)
    assert code == 0
    for expected in ("In LA", "14.160.0.0/12", "only there"):
        assert expected in text


def test_a_country_needs_a_comparison_and_a_code(small: Path) -> None:
    assert run("--country", "VN", "8.8.8.8")[0] == 2
    assert run("--compare", str(small), "--country", "vietnam")[0] == 2


def test_a_compiled_table_cannot_be_compared() -> None:
    result = CliRunner().invoke(APP, ["--compare", str(EMBEDDED_TABLE)])
    assert result.exit_code == 2
    assert "its mmdb is wanted" in result.stderr


COMMAND = (sys.executable, "-c", "import typer; from residency.cli.locate import locate; typer.run(locate)")


def test_interrupted_it_ends_without_a_word() -> None:
    with subprocess.Popen(
        [*COMMAND, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"14.160.0.1\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"14.160.0.1\tVN\n"  # answered as soon as asked
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert (process.returncode, told) == (130, b"")


def test_when_nobody_reads_any_more_it_ends_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("14.160.0.1\n" * 200_000)
    with subprocess.Popen([*COMMAND, "--file", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (141, b"")


def test_a_terminal_sees_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("14.160.0.1\n" * 200_000)
    reader, writer = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--file", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=writer,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(writer)
        shown = b""
        # On Linux a terminal that nobody holds any more ends with an error.
        with contextlib.suppress(OSError):
            while piece := os.read(reader, 65_536):
                shown += piece
    os.close(reader)
    assert process.returncode == 0
    assert b"200,000 lines, 2.2 MB of 2.2 MB" in shown


def test_nothing_is_drawn_into_the_answers_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("14.160.0.1\n" * 3)
    reader, writer = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--file", str(path)], stdout=writer, stderr=writer, env={**os.environ, "TERM": "xterm"}
    ):
        os.close(writer)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(reader, 65_536):
                shown += piece
    os.close(reader)
    assert shown == b"14.160.0.1\tVN\r\n" * 3
