"""`residency init`: the file it writes holds, binds nothing yet, and never replaces one that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters.policy_files import load
from residency.cli.init import init

app = typer.Typer()
app.command()(init)


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


@pytest.mark.parametrize("country", ["VN", "SG", "NO", "DE"])
def test_the_file_holds_and_observes(tmp_path: Path, country: str) -> None:
    file = tmp_path / "new" / "residency.yaml"
    code, output = run(str(file), "--country", country, "--name", "my-api")
    assert (code, str(file) in output) == (0, True)
    deployment = load(file, {}).deployment
    assert (deployment.mode, deployment.name) == ("observe", "my-api")
    assert deployment.sinks["people-today"].sink.place == country
    # Elsewhere than at home it would lie readable abroad: that takes a key, which nobody can guess.
    assert list(deployment.audit.detail) == (["VN"] if country == "VN" else [])


def test_who_is_established_at_home_and_has_their_data_abroad_says_both(tmp_path: Path) -> None:
    file = tmp_path / "residency.yaml"
    url = "postgresql+asyncpg://me:secret@db-vn/app"
    assert run(str(file), "--country", "VN", "--data-in", "SG", "--home-url", url)[0] == 0
    deployment = load(file, {}).deployment
    assert deployment.operator.established_in == {"VN"}
    assert [deployment.sinks[name].sink.place for name in deployment.stores["people"]] == ["SG", "VN"]
    assert deployment.sinks["people-vn"].url.reveal() == url
    assert not deployment.audit.detail, "a detail that lies readable abroad"
    assert run(str(tmp_path / "other.yaml"), "--data-in", "Singapore")[0] == 2


def test_a_url_is_written_as_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "residency.yaml"
    url = 'postgresql+asyncpg://me:p"w\\d@db/app'
    assert run(str(file), "--url", url)[0] == 0
    assert load(file, {}).deployment.sinks["people-today"].url.reveal() == url


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "residency.yaml"
    file.write_text("mine")
    assert run(str(file))[0] == 1
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    "option", [("--country", "Vietnam"), ("--country", "vn"), ("--name", "a: b\nc"), ("--url", "${NONE}")]
)
def test_an_answer_that_makes_no_policy_writes_nothing(tmp_path: Path, option: tuple[str, str]) -> None:
    file = tmp_path / "residency.yaml"
    assert run(str(file), *option)[0] == 2
    assert not file.exists()


def test_a_place_that_cannot_be_written_exits_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(str(tmp_path / "file" / "residency.yaml"))[0] == 1


def test_a_database_named_from_here_is_found_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run("policies/deep/residency.yaml", "--url", "sqlite+aiosqlite:///./data/app.db")
    assert code == 0
    assert "out of version control" in output
    url = load(tmp_path / "policies/deep/residency.yaml", {}).deployment.sinks["people-today"].url.reveal()
    assert url == "sqlite+aiosqlite:///../../data/app.db"
