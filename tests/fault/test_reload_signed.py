"""Versions that go backwards, over a restart too, and registers that are signed apart by keys of their own."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from residency.bootstrap import Residency, build
from residency.errors import PolicyError
from residency.policy.bundle import format_bundle, parse_bundle
from residency.policy.signatures import PolicySigner, ed25519_signer, format_policy_key
from residency.policy.trust import format_key_line, sign_register
from tests.fault.test_reload import DEPLOYMENT, OPS, REGISTER, STOPPED, Bundled, rename
from tests.world import write_deployment


@pytest.fixture
def bundled(tmp_path: Path) -> Iterator[Bundled]:
    made = Bundled(tmp_path)
    yield made
    asyncio.run(made.runtime.aclose())


# -- a version that went backwards while nobody ran --------------------------------------------------------------------


def restarted(bundled: Bundled) -> Residency:
    """The same files, read and opened by a process that begins anew."""
    asyncio.run(bundled.runtime.aclose())
    bundled.runtime = build(bundled.file, env={}, keys=bundled.folder / "keys.vkey")
    return bundled.runtime


def test_an_older_bundle_is_not_taken_by_a_restart_either(
    bundled: Bundled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rename(bundled.file, bundled.packed(7))
    bundled.look()
    rename(bundled.file, bundled.packed(6, mode="observe"))
    runtime = restarted(bundled)
    digest = runtime.policy.digest
    for wrong in (None, "yes", digest[:8], "0" * 64):
        if wrong is not None:
            monkeypatch.setenv("RESIDENCY_POLICY_ALLOW_OLDER", wrong)
        with pytest.raises(PolicyError, match="version 6 lies there and version 7 was in force") as caught:
            runtime.open()
        assert f"RESIDENCY_POLICY_ALLOW_OLDER={digest[:16]}" in str(caught.value)
        assert not runtime.is_open
    monkeypatch.setenv("RESIDENCY_POLICY_ALLOW_OLDER", digest[:16])
    bundled.open()
    assert bundled.request().decision.policy_version == 6
    assert "it is taken all the same, as RESIDENCY_POLICY_ALLOW_OLDER says" in caplog.text
    # Told once for this policy: another that is older than what was in force is not taken while it runs.
    rename(bundled.file, bundled.packed(6))
    bundled.look()
    assert bundled.outcomes == {"older": 1}
    assert "version 6 lies there and version 7 was in force: pack" in caplog.text
    rename(bundled.file, bundled.packed(8))
    bundled.look()
    assert bundled.outcomes == {"older": 1, "taken": 1}


def test_another_bundle_of_a_version_that_was_in_force_is_taken_by_no_look_and_no_restart(
    bundled: Bundled, caplog: pytest.LogCaptureFixture
) -> None:
    rename(bundled.file, bundled.packed(5, mode="observe"))
    bundled.look()
    assert bundled.outcomes == {"older": 1}
    assert "version 5 lies there and another version 5 was in force: pack" in caplog.text
    assert bundled.runtime.policy.deployment.mode == "enforce"
    with pytest.raises(PolicyError, match="version 5 lies there and another version 5 was in force"):
        restarted(bundled).open()
    rename(bundled.file, bundled.packed(6, mode="observe"))
    restarted(bundled)
    bundled.open()
    assert bundled.request().decision.policy_version == 6


def test_a_version_that_was_noted_without_what_it_held_is_completed_by_the_same_policy(bundled: Bundled) -> None:
    noted = bundled.folder / "audit" / "versions" / "bundle" / "5"
    whole = noted.read_text()
    noted.write_text(whole.splitlines(keepends=True)[0])  # as it was noted once
    restarted(bundled)
    bundled.open()
    assert noted.read_text() == whole
    asyncio.run(bundled.runtime.aclose())
    noted.write_text("0" * 64 + "\n")
    restarted(bundled)
    bundled.open()
    assert noted.read_text() == "0" * 64 + "\n", "what another policy noted is not replaced"


def test_loose_files_without_a_version_are_older_than_any(bundled: Bundled) -> None:
    asyncio.run(bundled.runtime.aclose())
    bundled.runtime = build(bundled.source, env={})
    with pytest.raises(PolicyError, match="a policy without a version lies there and version 5 was in force"):
        bundled.runtime.open()


def test_the_same_version_and_a_newer_one_are_taken_by_a_restart(bundled: Bundled) -> None:
    for version in (5, 5, 6):
        rename(bundled.file, bundled.packed(version))
        restarted(bundled)
        bundled.open()
        assert bundled.request().decision.policy_version == version


def test_a_version_that_cannot_be_noted_is_not_taken(bundled: Bundled) -> None:
    noted = bundled.folder / "audit" / "versions" / "bundle"
    assert [path.name for path in noted.iterdir()] == ["5"]
    shutil.rmtree(noted)
    noted.write_text("no folder")
    rename(bundled.file, bundled.packed(6))
    bundled.look()
    assert bundled.outcomes == {"not_recorded": 1}
    assert bundled.runtime.policy.version == 5
    noted.unlink()
    bundled.look()
    assert bundled.outcomes == {"not_recorded": 1, "taken": 1}


# -- registers with keys of their own ----------------------------------------------------------------------------------

LAWYER = ed25519_signer("compliance", b"\3" * 32)
FILED = REGISTER + 'filings: [{kind: dossier, number: "12/2026", date: 2026-02-01, result: filed}]\n'


class Apart(Bundled):
    """A bundle of version 5 without its register, which is signed apart as version 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = write_deployment(folder, DEPLOYMENT)
        self.file = folder / "test.bundle"
        self.register = folder / "register.yaml"
        self.sign(REGISTER, 1)
        rename(self.file, self.packed(5))
        lines = [format_key_line(OPS.key), format_key_line(LAWYER.key, "register")]
        (folder / "keys.vkey").write_text("\n".join(lines))
        self.runtime = build(self.file, env={}, keys=folder / "keys.vkey")
        self.open()

    def packed(self, version: int, signer: PolicySigner = OPS, mode: str = "enforce", apart: bool = True) -> bytes:
        whole = parse_bundle(super().packed(version, signer, mode))
        sources = [s for s in whole.sources if not (apart and s[0].startswith("register/"))]
        return format_bundle("test", sources, version=version, signers=[signer])

    def sign(self, text: str, version: int, signer: PolicySigner = LAWYER, name: str = "register.yaml") -> None:
        note = sign_register(name, text.encode(), version=version, signers=[signer])
        rename(self.register.with_name("register.yaml.sig"), note)
        rename(self.register, text.encode())


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    made = Apart(tmp_path)
    yield made
    asyncio.run(made.runtime.aclose())


def test_a_register_that_is_signed_apart_is_taken_and_its_changes_are_entries(apart: Apart) -> None:
    apart.sign(STOPPED, 2)
    apart.look()
    assert apart.runtime.facts.current().stop_orders
    apart.sign(FILED, 3)
    apart.look()
    assert apart.outcomes == {"taken": 2}
    notes = [entry.note for entry in apart.entries if entry.kind == "system"]
    assert notes == [
        "start: version 5, register register.yaml version 1",
        "reload: version 5, register register.yaml version 2",
        "register: came stop_orders 7",
        "reload: version 5, register register.yaml version 3",
        "register: came filings dossier 12/2026; went stop_orders 7",
    ]


@pytest.mark.parametrize(
    "how", ["no signature", "a policy key", "another file's", "other bytes", "cut", "in the bundle", "an older one"]
)
def test_a_register_that_is_not_signed_by_a_register_key_is_not_taken(apart: Apart, how: str) -> None:
    apart.sign(STOPPED, 2)
    apart.look()
    assert apart.outcomes == {"taken": 1}
    signature = apart.register.with_name("register.yaml.sig")
    match how:
        case "no signature":
            signature.unlink()
        case "a policy key":
            apart.sign(REGISTER, 3, OPS)
        case "another file's":
            apart.sign(REGISTER, 3, name="other.yaml")
        case "other bytes":
            rename(apart.register, REGISTER.encode())
        case "cut":
            rename(signature, signature.read_bytes()[:-20])
        case "in the bundle":
            apart.register.write_text(REGISTER)
            rename(apart.file, apart.packed(6, apart=False))
        case _:
            apart.sign(REGISTER, 1)
    apart.look()
    assert apart.outcomes == {"taken": 1, "older" if how == "an older one" else "untrusted": 1}
    assert apart.runtime.facts.current().stop_orders, "the order stands"


def test_an_older_register_is_not_taken_by_a_restart(apart: Apart) -> None:
    apart.sign(STOPPED, 2)
    apart.look()
    apart.sign(REGISTER, 1)
    with pytest.raises(PolicyError, match=r"register register.yaml: version 1 lies there and version 2 was in force"):
        restarted(apart).open()


def test_another_register_of_the_same_version_is_not_taken_and_another_bundle_beside_it_is(apart: Apart) -> None:
    apart.sign(STOPPED, 2)
    apart.look()
    apart.sign(REGISTER, 2)
    apart.look()
    assert apart.outcomes == {"taken": 1, "older": 1}
    assert apart.runtime.facts.current().stop_orders, "the order stands"
    apart.sign(STOPPED, 2)
    rename(apart.file, apart.packed(6))
    apart.look()
    assert apart.outcomes == {"taken": 2, "older": 1}
    assert apart.runtime.policy.version == 6


def test_without_a_key_for_registers_none_may_lie_outside_the_bundle(apart: Apart) -> None:
    (apart.folder / "keys.vkey").write_text(format_policy_key(OPS.key))
    with pytest.raises(PolicyError, match="no key that is trusted here may sign one"):
        build(apart.file, env={}, keys=apart.folder / "keys.vkey")


def test_a_bundle_that_a_register_key_signed_too_may_hold_the_registers(apart: Apart) -> None:
    both = parse_bundle(apart.packed(6, apart=False))
    rename(apart.file, format_bundle("test", both.sources, version=6, signers=[OPS, LAWYER]))
    apart.look()
    assert apart.outcomes == {"taken": 1}
    assert "compliance (Ed25519)" in str(apart.runtime.loaded)
