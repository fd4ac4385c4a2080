"""Loading a deployment from disk: paths, digests, operator's laws, and problems of every file at once."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from residency.adapters.policy_files import KEYS_VARIABLE, PolicyFiles, available_laws, load, read_keys
from residency.errors import PolicyError
from residency.policy.bundle import format_bundle
from residency.policy.compiler import Policy
from residency.policy.signatures import PolicySigner, ed25519_signer, format_policy_key

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
    assert {law.name for law in policy.laws} == {name for name in available_laws(()) if name.startswith("vn/")}
    assert policy.base == str(deployment.parent)


def test_a_missing_file_a_folder_and_an_empty_file_are_policy_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    for name, message in (
        ("none.yaml", "cannot be read: .*; `residency init .*none.yaml` writes"),
        (".", "cannot be read"),
        ("empty.yaml", "is empty"),
    ):
        with pytest.raises(PolicyError, match=message):
            load(tmp_path / name, {})


def test_an_operators_folder_adds_laws_and_may_replace_shipped_ones(deployment: Path) -> None:
    folder = deployment.parent / "laws" / "xx"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(LAW, encoding="utf-8")
    edit(deployment, "laws: [vn/*]", "laws: [xx/own]\nlaws_from: [./laws]")
    assert [law.name for law in load(deployment, {}).laws] == ["xx/own"]


def test_the_digest_names_the_bytes_of_all_files_which_the_policy_keeps(deployment: Path) -> None:
    register = deployment.parent / "register.yaml"
    shutil.copy(VECTORS / "good_register.yaml", register)
    edit(register, "sink: people-sg", "sink: people-vn")
    edit(deployment, "laws: [vn/*]", "laws: [vn/*]\nregisters: [register.yaml]")
    first = load(deployment, {})
    assert load(deployment, {}).digest == first.digest
    assert dict(first.sources)["register/app"] == register.read_bytes()
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


# -- bundles ---------------------------------------------------------------------------------------------------------

OPS, NEXT = ed25519_signer("ops", b"\1" * 32), ed25519_signer("next", b"\2" * 32)


@pytest.fixture
def registered(deployment: Path) -> Path:
    """The deployment with a register."""
    register = deployment.parent / "register.yaml"
    shutil.copy(VECTORS / "good_register.yaml", register)
    edit(register, "sink: people-sg", "sink: people-vn")
    edit(deployment, "laws: [vn/*]", "laws: [vn/*]\nregisters: [register.yaml]")
    return deployment


def bundled(policy: Policy, *signers: PolicySigner, version: int = 0, leave: str = "") -> bytes:
    files = [(name, data) for name, data in policy.sources if name != leave]
    return format_bundle(policy.deployment.name, files, version=version, signers=signers)


def keys_file(folder: Path, *signers: PolicySigner) -> Path:
    path = folder / "keys.vkey"
    path.write_text("# who may sign\n" + "".join(f"{format_policy_key(s.key)}  # {s.key.name}\n" for s in signers))
    return path


def test_a_bundle_is_the_policy_of_its_files_wherever_it_lies(registered: Path, tmp_path: Path) -> None:
    loose = load(registered, {})
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "app.bundle"
    file.write_bytes(bundled(loose, version=3))
    loaded = PolicyFiles(file, {}).read()
    policy = loaded.policy
    assert (loaded.version, loaded.signed_by) == (3, ())
    assert (policy.digest, policy.sources, policy.facts) == (loose.digest, loose.sources, loose.facts)
    assert policy.deployment == loose.deployment
    assert policy.base == str(tmp_path / "elsewhere")


def test_with_keys_only_what_is_signed_by_one_of_them_is_taken(registered: Path) -> None:
    policy, file = load(registered, {}), registered.with_name("app.bundle")
    keys = keys_file(registered.parent, OPS, NEXT)
    file.write_bytes(bundled(policy, NEXT, version=2))
    loaded = PolicyFiles(file, {}, keys=keys).read()
    assert loaded.signed_by == (NEXT.key,)
    assert str(loaded) == f"digest {policy.digest[:16]}, version 2, signed by next (Ed25519)"
    file.write_bytes(bundled(policy))
    with pytest.raises(PolicyError, match=r"app\.bundle:1:1: no Ed25519 signature by any key .* \(next, ops\)"):
        load(file, {}, keys=keys)
    with pytest.raises(PolicyError, match=r"app\.yaml:1:1: only a signed bundle is taken here, and this is none"):
        load(registered, {}, keys=keys)


def test_the_process_says_which_keys_count_and_the_deployments_variables_do_not(
    registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, file = load(registered, {}), registered.with_name("app.bundle")
    file.write_bytes(bundled(policy, NEXT))
    monkeypatch.setenv(KEYS_VARIABLE, str(keys_file(registered.parent, OPS)))
    for env in ({}, {KEYS_VARIABLE: ""}, None):
        with pytest.raises(PolicyError, match="no Ed25519 signature"):
            load(file, env)
    assert PolicyFiles(file, {}, unsigned=True).read().signed_by == ()
    monkeypatch.setenv(KEYS_VARIABLE, "")
    with pytest.raises(PolicyError, match="cannot be read"):  # set, and naming nothing, is a mistake and not "no keys"
        load(file, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no key"), ("# none\n\n", "holds no key"), ("ops+00+\n", "keys.vkey:1:1: a policy key")],
)
def test_a_key_file_without_a_key_or_with_what_is_none_is_a_policy_error(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "keys.vkey"
    file.write_text(text)
    with pytest.raises(PolicyError, match=message):
        read_keys(file)
    with pytest.raises(PolicyError, match="cannot be read"):
        read_keys(tmp_path / "none")


def test_what_does_not_hold_in_a_bundle_is_told_by_file_and_line(registered: Path) -> None:
    policy, file = load(registered, {}), registered.with_name("app.bundle")
    (name, law), *_ = [(n, d) for n, d in policy.sources if n.startswith("law/")]
    bad = [(n, d) for n, d in policy.sources if n != name] + [(name, law.replace(b"kind: law", b"kind: lwa"))]
    file.write_bytes(format_bundle(policy.deployment.name, bad))
    with pytest.raises(PolicyError, match=rf"app\.bundle/{name}:\d+:\d+: kind: expected law"):
        load(file, {})


def test_a_bundle_that_lacks_a_register_or_holds_what_nobody_asked_for_is_refused(registered: Path) -> None:
    policy, file = load(registered, {}), registered.with_name("app.bundle")
    name = policy.deployment.name
    file.write_bytes(bundled(policy, leave="register/app"))
    with pytest.raises(PolicyError, match="does not hold the registers"):
        load(file, {})
    file.write_bytes(format_bundle(name, [*policy.sources, ("law/xx/own", LAW.encode())]))
    with pytest.raises(PolicyError, match="a law that its deployment does not choose: xx/own"):
        load(file, {})
    file.write_bytes(format_bundle("other", [("deployment/other", dict(policy.sources)[f"deployment/{name}"])]))
    with pytest.raises(PolicyError, match="the bundle is called `other`"):
        load(file, {})
    file.write_bytes(bundled(policy)[:-1])
    with pytest.raises(PolicyError, match="torn or was changed"):
        load(file, {})


def test_two_registers_of_one_name_are_refused_for_one_would_be_lost(registered: Path) -> None:
    shutil.copy(registered.with_name("register.yaml"), registered.with_name("second.yaml"))
    edit(registered, "[register.yaml]", "[register.yaml, second.yaml]")
    with pytest.raises(PolicyError, match=r"second\.yaml:\d+:\d+: register `app` is also .*register\.yaml"):
        load(registered, {})


# -- what a policy depends on ----------------------------------------------------------------------------------------


def test_the_stamp_moves_with_all_that_was_read_and_with_nothing_else(registered: Path) -> None:
    own = registered.parent / "laws" / "xx"
    own.mkdir(parents=True)
    (own / "own.yaml").write_text(LAW, encoding="utf-8")
    edit(registered, "laws: [vn/*]", "laws: [vn/*, xx/*]\nlaws_from: [./laws]")
    keys = keys_file(registered.parent, OPS)
    files = PolicyFiles(registered, {}, unsigned=True)
    files.read()
    before = files.stamp()
    assert files.stamp_read() == before
    (registered.parent / "other.yaml").write_text("x")
    keys.touch()
    assert files.stamp() == before
    for path in (registered, registered.with_name("register.yaml"), own / "own.yaml"):
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").rename(path)  # the same bytes, and another file
        assert files.stamp() != before
        before = files.stamp()
    (own / "more.yaml").write_text(LAW, encoding="utf-8")  # a glob may choose it
    assert files.stamp() != before


def test_after_a_failed_reading_the_stamp_moves_with_what_was_missing(registered: Path) -> None:
    register = registered.with_name("register.yaml")
    register.rename(registered.with_name("away"))
    files = PolicyFiles(registered, {})
    with pytest.raises(PolicyError, match="no such file"):
        files.read()
    before = files.stamp()
    registered.with_name("away").rename(register)
    assert files.stamp() != before
    assert files.stamp_read() == before
    files.read()


def test_the_stamp_of_a_bundle_moves_with_the_bundle_and_with_the_keys(registered: Path) -> None:
    file = registered.with_name("app.bundle")
    file.write_bytes(bundled(load(registered, {}), OPS))
    keys = keys_file(registered.parent, OPS)
    files = PolicyFiles(file, {}, keys=keys)
    files.read()
    before = files.stamp()
    registered.unlink()
    assert files.stamp() == before
    keys_file(registered.parent, OPS, NEXT)
    assert files.stamp() != before


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("laws", '["${S}"]'),
        ("laws", '"${S}"'),
        ("laws_from", '["${S}"]'),
        ("laws_from", '"${S}"'),
        ("registers", '["${S}"]'),
    ],
)
def test_what_a_variable_expands_to_stands_in_no_message_about_files(tmp_path: Path, key: str, form: str) -> None:
    lines = {"laws": "laws: [vn/*]", key: f"{key}: {form}"}
    file = tmp_path / "app.yaml"
    file.write_text(
        "residency: 1\nkind: deployment\nname: app\nmode: enforce\noperator: {established_in: VN}\n"
        + "\n".join(lines.values())
    )
    with pytest.raises(PolicyError) as caught:
        load(file, {"S": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "${S}" in str(caught.value)
