"""What every `Keys` promises, held to each adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from residency.adapters.keys_files import KeysFiles
from residency.adapters.keys_memory import KeysMemory
from residency.enforcement.ports import Keys
from residency.errors import KeysUnavailable

Make = Callable[[bool], Keys]


@pytest.fixture(params=["memory", "files"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def build(create: bool) -> Keys:
        return KeysMemory(create=create) if request.param == "memory" else KeysFiles(tmp_path / "keys", create=create)

    return build


def test_the_same_name_answers_the_same_key(make: Make) -> None:
    keys = make(True)
    assert keys.secret("pins") == keys.secret("pins")
    assert keys.signing_key("log").private_bytes_raw() == keys.signing_key("log").private_bytes_raw()
    assert keys.ml_dsa_44_key("log").private_bytes_raw() == keys.ml_dsa_44_key("log").private_bytes_raw()


def test_another_name_answers_another_key_and_a_secret_is_no_signing_key(make: Make) -> None:
    keys = make(True)
    assert len(keys.secret("a")) == 32
    post_quantum = keys.ml_dsa_44_key("a").private_bytes_raw()
    assert len({keys.secret("a"), keys.secret("b"), keys.signing_key("a").private_bytes_raw(), post_quantum}) == 4


def test_what_a_key_signs_holds_under_its_public_half(make: Make) -> None:
    keys = make(True)
    for key in (keys.signing_key("log"), keys.ml_dsa_44_key("log")):
        key.public_key().verify(key.sign(b"text"), b"text")


def test_a_key_that_is_missing_is_unavailable_and_not_made_up(make: Make) -> None:
    keys = make(False)
    with pytest.raises(KeysUnavailable):
        keys.secret("pins")
    with pytest.raises(KeysUnavailable):
        keys.signing_key("log")
    with pytest.raises(KeysUnavailable):
        keys.ml_dsa_44_key("log")


def test_where_the_algorithm_cannot_be_had_the_key_is_unavailable(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        @staticmethod
        def from_seed_bytes(seed: bytes) -> None:
            raise UnsupportedAlgorithm("not in this build")

    keys = make(True)
    monkeypatch.setattr("residency.vault.key_ring.MLDSA44PrivateKey", Without)
    with pytest.raises(KeysUnavailable, match="ML-DSA-44 needs"):
        keys.ml_dsa_44_key("log")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "A", "x" * 65, "a\0b", ".hidden"])
def test_a_name_that_is_no_plain_word_is_refused(make: Make, name: str) -> None:
    with pytest.raises(KeysUnavailable):
        make(True).secret(name)
