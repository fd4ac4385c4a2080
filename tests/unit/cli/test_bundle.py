"""`residency bundle`: keys are made once, bundles packed as they were, and verified as a server would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.adapters.policy_files import KEYS_VARIABLE, load, read_bundle
from residency.cli.bundle import bundle_app
from tests.world import write_deployment

DEPLOYMENT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "${PEOPLE_URL}"}
stores: {people: [vn]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""


def run(*arguments: object) -> tuple[int, str]:
    """(exit code, all that was said)."""
    done = CliRunner().invoke(bundle_app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    monkeypatch.delenv("PEOPLE_URL", raising=False)


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    return write_deployment(tmp_path / "src", DEPLOYMENT)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the keys `ops` (both kinds) and `next` (Ed25519)."""
    folder = tmp_path / "keys"
    assert run("keygen", folder, "--name", "ops", "--ml-dsa")[0] == 0
    assert run("keygen", folder, "--name", "next")[0] == 0
    return folder


def test_a_key_is_made_once_and_only_its_owner_can_read_it(keys: Path) -> None:
    made = {path.name: path.stat().st_mode & 0o077 for path in keys.iterdir()}
    assert {name for name, others in made.items() if not others} >= {
        "ops.ed25519", "ops-mldsa65.secret", "next.ed25519",
    }  # fmt: skip
    assert [line.split("+")[0] for line in (keys / "ops.vkey").read_text().splitlines()] == ["ops", "ops"]
    before = (keys / "ops.ed25519").read_bytes()
    code, said = run("keygen", keys, "--name", "ops")
    assert (code, "it is kept" in said) == (1, True)
    assert (keys / "ops.ed25519").read_bytes() == before
    assert run("keygen", keys, "--name", "No Name")[0] == 1


def test_what_is_packed_without_a_secret_at_hand_is_verified_and_loads_where_there_is_one(
    deployment: Path, keys: Path, tmp_path: Path
) -> None:
    out = tmp_path / "app.bundle"
    code, said = run("pack", deployment, "--out", out, "--version", 7, "--key", keys / "ops")
    assert code == 0, said
    assert "test, version 7, digest " in said
    assert "law/vn/test" in said
    assert "signed by ops (Ed25519), ops (ML-DSA-65)" in said
    code, said = run("verify", out, "--keys", keys / "ops.vkey", "--json")
    told = json.loads(said)
    assert (code, told["holds"], told["version"]) == (0, True, 7)
    assert told["signed_by"] == ["ops (Ed25519)", "ops (ML-DSA-65)"]
    policy = load(out, {"PEOPLE_URL": "memory:"}, keys=keys / "ops.vkey")
    assert policy.digest == told["digest"] == load(deployment, {"PEOPLE_URL": "memory:"}).digest
    assert b"${PEOPLE_URL}" in dict(policy.sources)["deployment/test"]


def test_packing_is_deterministic_and_replaces_the_file_whole(deployment: Path, keys: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.bundle", tmp_path / "second.bundle"
    second.write_text("something older")
    for out in (first, second):
        assert run("pack", deployment, "-o", out, "--key", keys / "next")[0] == 0
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.bundle", "keys", "second.bundle", "src"]


def test_what_does_not_hold_is_not_packed_and_leaves_what_was_there(deployment: Path, tmp_path: Path) -> None:
    out = tmp_path / "app.bundle"
    out.write_text("older")
    deployment.write_text(deployment.read_text().replace("mode: enforce", "mode: enfroce"))
    code, said = run("pack", deployment, "-o", out)
    assert code == 1
    assert f"{deployment}:5:7: mode:" in said
    assert out.read_text() == "older"


def test_a_key_that_cannot_be_had_is_told_and_nothing_is_written(deployment: Path, tmp_path: Path) -> None:
    code, said = run("pack", deployment, "-o", tmp_path / "app.bundle", "--key", tmp_path / "none" / "ops")
    assert (code, "ops.ed25519 is missing" in said) == (1, True)
    assert not (tmp_path / "app.bundle").exists()


def test_a_bundle_is_refused_by_keys_that_did_not_sign_it(
    deployment: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "app.bundle"
    run("pack", deployment, "-o", out, "--key", keys / "next")
    monkeypatch.setenv(KEYS_VARIABLE, str(keys / "ops.vkey"))
    code, said = run("verify", out)
    assert (code, "no Ed25519 signature by any key that is trusted here (ops)" in said) == (1, True)
    assert run("verify", out, "--json")[0] == 1
    assert run("verify", out, "--keys", keys / "next.vkey")[0] == 0
    assert run("verify", out, "--unsigned")[0] == 0
    both = tmp_path / "both.vkey"
    both.write_text((keys / "next.vkey").read_text() + (keys / "ops.vkey").read_text())
    code, said = run("verify", out, "--keys", both)
    assert (code, "no ML-DSA-65 signature" in said) == (1, True)


def test_two_may_sign_one_bundle(deployment: Path, keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "app.bundle"
    assert run("pack", deployment, "-o", out, "--key", keys / "next", "--key", keys / "ops")[0] == 0
    assert len(read_bundle(out).signatures) == 3
    for name in ("next", "ops"):
        assert run("verify", out, "--keys", keys / f"{name}.vkey")[0] == 0


def test_wrong_use_is_told_as_such(deployment: Path, keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "app.bundle"
    run("pack", deployment, "-o", out)
    assert run("verify", out)[0] == 2  # no key, and nobody said that none is wanted
    assert run("verify", out, "--unsigned", "--keys", keys / "ops.vkey")[0] == 2
    assert run("verify", out, "--keys", tmp_path / "none")[0] == 2
    code, said = run("verify", deployment, "--unsigned")
    assert (code, "does not begin so" in said) == (1, True)
    damaged = tmp_path / "damaged.bundle"
    damaged.write_bytes(out.read_bytes()[:-9])
    code, said = run("verify", damaged, "--unsigned")
    assert (code, "damaged.bundle:1:1: the bundle is torn or was changed" in said) == (1, True)


def test_registers_are_left_out_signed_apart_and_verified_beside_the_bundle(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "apart").mkdir()
    source = write_deployment(tmp_path / "apart", "registers: [register.yaml]" + DEPLOYMENT)
    register = source.with_name("register.yaml")
    register.write_text("residency: 1\nkind: register\nname: test\n")
    bundle = source.with_name("test.bundle")
    assert run("pack", source, "-o", bundle, "--key", keys / "ops", "--without-registers", "--version", 3)[0] == 0
    assert [name for name, _ in read_bundle(bundle).sources] == ["deployment/test", "law/vn/test"]
    assert run("keygen", keys, "--name", "compliance", "--register")[0] == 0
    assert (keys / "compliance.vkey").read_text().endswith(" register\n")
    trusted = tmp_path / "trusted.vkey"
    trusted.write_text((keys / "ops.vkey").read_text() + (keys / "compliance.vkey").read_text())

    code, said = run("verify", bundle, "--keys", trusted)
    assert (code, "register.yaml.sig is missing" in said) == (1, True)
    code, said = run("sign-register", register, "--version", 9, "--key", keys / "compliance")
    assert (code, "version 9, signed by compliance (Ed25519)" in said) == (0, True)
    assert run("verify", bundle, "--keys", trusted)[0] == 0
    assert run("sign-register", register, "--key", keys / "next")[0] == 0
    assert run("verify", bundle, "--keys", trusted)[0] == 1

    register.write_text("residency: 1\nkind: registre\nname: test\n")
    code, said = run("sign-register", register, "--key", keys / "compliance")
    assert (code, "register.yaml:2" in said) == (1, True)
