"""Loading a deployment from disk: paths, digests, operator's laws, and problems of every file at once."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from residency.adapters.policy_files import archive, available_laws, load
from residency.errors import PolicyError

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors" / "policy_errors"
LAW = (VECTORS / "good_law.yaml").read_text(encoding="utf-8")


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    file = tmp_path / "app.yaml"
    shutil.copy(VECTORS / "good_deployment.yaml", file)
    return file


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_shipped_laws_are_found(deployment: Path) -> None:
    policy = load(deployment, {})
    assert {law.name for law in policy.laws} == set(available_laws(()))
    assert policy.base == str(deployment.parent)


def test_a_missing_file_a_folder_and_an_empty_file_are_policy_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    for name, message in (("none.yaml", "cannot be read"), (".", "cannot be read"), ("empty.yaml", "is empty")):
        with pytest.raises(PolicyError, match=message):
            load(tmp_path / name, {})


def test_an_operators_folder_adds_laws_and_may_replace_shipped_ones(deployment: Path) -> None:
    folder = deployment.parent / "laws" / "xx"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(LAW, encoding="utf-8")
    edit(deployment, "laws: [vn/*]", "laws: [xx/own]\nlaws_from: [./laws]")
    assert [law.name for law in load(deployment, {}).laws] == ["xx/own"]


def test_the_digest_names_the_bytes_of_all_files_and_the_archive_keeps_them(deployment: Path) -> None:
    register = deployment.parent / "register.yaml"
    shutil.copy(VECTORS / "good_register.yaml", register)
    edit(register, "sink: people-sg", "sink: people-vn")
    edit(deployment, "laws: [vn/*]", "laws: [vn/*]\nregisters: [register.yaml]")
    first = load(deployment, {})
    assert load(deployment, {}).digest == first.digest
    assert dict(first.sources)["register/app"] == register.read_bytes()
    assert archive(first) == {first.digest: dict(first.sources)}
    edit(register, "2026-09-01", "2026-09-02")
    assert load(deployment, {}).digest != first.digest
    assert len(first.digest) == hashlib.sha256().digest_size * 2


def test_problems_of_all_files_come_at_once(deployment: Path) -> None:
    folder = deployment.parent / "laws"
    folder.mkdir()
    (folder / "bad.yaml").write_text(LAW.replace("art. 1", "''"), encoding="utf-8")
    (deployment.parent / "register.yaml").write_text("kind: register\n", encoding="utf-8")
    edit(deployment, "laws: [vn/*]", "laws: [bad]\nlaws_from: [laws, none]\nregisters: [register.yaml, gone.yaml]")
    with pytest.raises(PolicyError) as caught:
        load(deployment, {})
    told = [f"{Path(p.file).name}: {p.message}" for p in caught.value.problems]
    assert "app.yaml: no such folder: none" in told
    assert "app.yaml: no such file: gone.yaml" in told
    assert "bad.yaml: rules[0].article: may not be empty" in told
    assert "register.yaml: missing key `residency`: a policy file starts with `residency: 1`" in told


def test_an_unknown_law_is_named_with_its_line(deployment: Path) -> None:
    edit(deployment, "[vn/*]", "[vn/cybersecurity-116-2024]")
    with pytest.raises(PolicyError, match=r"app\.yaml:6:8: unknown law .* did you mean `vn/cybersecurity-116-2025`"):
        load(deployment, {})


def test_variables_come_from_the_given_environment_only(deployment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(deployment, "sqlite:///people.db", "${PEOPLE_URL}")
    monkeypatch.setenv("PEOPLE_URL", "sqlite:///x.db")
    assert load(deployment).deployment.sinks["people-vn"].url.reveal() == "sqlite:///x.db"
    with pytest.raises(PolicyError, match="PEOPLE_URL is not set"):
        load(deployment, {})
