"""What was in force is kept where the environment says, and a start on files that do not hold begins with it."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest

from residency.adapters.policy_files import PolicyFiles
from residency.bootstrap import build
from residency.errors import PolicyError
from residency.policy.bundle import format_bundle
from residency.policy.signatures import ed25519_signer, format_policy_key
from residency.policy.trust import REGISTER, format_key_line, sign_register
from residency.wiring.last_good import LAST_GOOD, LastGood
from tests.world import write_deployment

OPS, OTHERS = ed25519_signer("ops", b"\1" * 32), ed25519_signer("others", b"\2" * 32)
DEPLOYMENT = """
sinks: {vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://${FOLDER}"}}
stores: {people: [vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "PUT /people", subject: none, data: [personal], store: people}
"""
ENV = {"FOLDER": "people"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    return write_deployment(tmp_path / "policy", DEPLOYMENT)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "state").mkdir()
    monkeypatch.setenv(LAST_GOOD, str(tmp_path / "state" / "last"))
    return tmp_path / "state" / "last"


def spoil(file: Path) -> None:
    file.write_text(file.read_text().replace("mode: enforce", "mode: enfroce"))


def served(file: Path) -> None:
    """A process that starts, and ends."""
    runtime = build(file, env=ENV)
    runtime.open()
    anyio.run(runtime.aclose)


def test_a_start_on_a_bad_file_is_on_what_was_in_force_and_says_so(
    file: Path, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served(file)
    before = build(file, env=ENV)
    good = file.read_text()
    spoil(file)
    with caplog.at_level(logging.ERROR, "residency"):
        runtime = build(file, env=ENV)
    assert "did you mean `enforce`" in caplog.text
    assert runtime.policy.digest == before.policy.digest
    assert runtime.path("x") == before.path("x"), "relative paths start where they did"
    assert runtime.watch is not None
    runtime.open()
    try:
        assert b"residency_policy_behind 1" in runtime.render_metrics()[0]
        file.write_text(good.replace("mode: enforce", "mode: observe"))
        for _ in range(3):  # its own thread may look between
            runtime.watch.look()
        assert runtime.watch.outcomes["taken"] == 1, caplog.text
        assert runtime.deployment.mode == "observe", "what is mended comes into force"
        assert b"residency_policy_behind 0" in runtime.render_metrics()[0]
    finally:
        anyio.run(runtime.aclose)
    spoil(file)
    file.write_text(file.read_text().replace("mode: observe", "mode: obsreve"))
    assert build(file, env=ENV).deployment.mode == "observe", "and is what is kept from then on"
    with pytest.raises(PolicyError, match="observe"):
        build(file, env=ENV, reload=False)  # a command, whose operator can mend the file first


def test_where_nothing_is_kept_or_nobody_said_where_it_is_refused_as_ever(
    file: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(file)
    with pytest.raises(PolicyError, match="enforce"):
        build(file, env=ENV)
    file.write_text(file.read_text().replace("enfroce", "enforce"))
    served(file)
    assert place.is_file()
    spoil(file)
    monkeypatch.delenv(LAST_GOOD)
    with pytest.raises(PolicyError, match="enforce"):
        build(file, env=ENV)


def test_what_was_kept_and_does_not_hold_either_changes_nothing(
    file: Path, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served(file)
    place.write_bytes(place.read_bytes()[:-10])
    spoil(file)
    with pytest.raises(PolicyError, match="enforce"):
        build(file, env=ENV)
    assert "does not hold either" in caplog.text


def test_no_value_of_a_variable_is_kept_and_none_is_taken_for_granted(file: Path, place: Path) -> None:
    last = LastGood()
    last.keep(PolicyFiles(file, {"FOLDER": "a-secret-place"}).read())
    assert b"a-secret-place" not in place.read_bytes()
    assert place.stat().st_mode & 0o077 == 0
    spoil(file)
    with pytest.raises(PolicyError, match="enforce"):
        last.read(PolicyFiles(file, {}))
    assert last.read(PolicyFiles(file, ENV)).policy.deployment.name == "test"


def test_where_bundles_must_be_signed_what_was_kept_must_be_too(file: Path, place: Path, tmp_path: Path) -> None:
    policy = PolicyFiles(file, ENV).read().policy
    bundle, keys = file.with_name("b.bundle"), tmp_path / "keys.vkey"
    keys.write_text(format_policy_key(OPS.key))
    files, last = PolicyFiles(bundle, ENV, keys=keys), LastGood()
    bundle.write_bytes(format_bundle("test", policy.sources, version=3, signers=[OPS]))
    last.keep(files.read())
    bundle.write_bytes(b"residency bundle 1\n")
    assert last.read(files).version == 3
    for signers in ([], [OTHERS]):
        place.write_bytes(format_bundle("test", policy.sources, version=3, signers=signers))
        with pytest.raises(PolicyError, match="torn"):
            last.read(files)


def test_what_cannot_be_kept_leaves_nothing_older_in_its_place(
    file: Path, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = LastGood()
    last.keep(PolicyFiles(file, ENV).read())
    assert place.is_file()
    # A register that is signed apart.
    text = "residency: 1\nkind: register\nname: own\n"
    file.with_name("own.yaml").write_text(text)
    file.write_text(file.read_text() + "registers: [own.yaml]\n")
    signer = ed25519_signer("compliance", b"\3" * 32)
    policy = PolicyFiles(file, ENV).read().policy
    keys, bundle = tmp_path / "keys.vkey", file.with_name("b.bundle")
    keys.write_text(f"{format_policy_key(OPS.key)}\n{format_key_line(signer.key, REGISTER)}\n")
    file.with_name("own.yaml.sig").write_bytes(sign_register("own.yaml", text.encode(), version=1, signers=[signer]))
    sources = [each for each in policy.sources if not each[0].startswith("register/")]
    bundle.write_bytes(format_bundle("test", sources, version=1, signers=[OPS]))
    last.keep(PolicyFiles(bundle, ENV, keys=keys).read())
    assert not place.exists()
    assert "signed apart" in caplog.text
