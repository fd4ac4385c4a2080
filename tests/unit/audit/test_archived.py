"""An archived file is what its digest names, or it is named."""

from __future__ import annotations

import hashlib

import pytest

from residency.audit.archived import check_archived, is_archived
from residency.errors import VerificationError
from residency.policy.archive import digest_of, format_archive

SOURCES = [("deployment/a", b"name: a\n"), ("law/b", b"rules: []\n")]
POLICY = f"policies/{digest_of(SOURCES)}.json"
FACTS = f"facts/{hashlib.sha256(b'facts').hexdigest()}.json"


def test_what_was_archived_is_what_its_digest_names() -> None:
    check_archived(POLICY, format_archive(SOURCES))
    check_archived(FACTS, b"facts")


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (POLICY, format_archive(SOURCES[:1])),
        (POLICY, format_archive(SOURCES).replace(b",", b", ", 1)),
        (POLICY, b"["),
        (POLICY, b"[" * 100_000),
        (FACTS, b"fact"),
        (POLICY.replace("policies", "facts"), format_archive(SOURCES)),
    ],
)
def test_what_was_changed_is_named(path: str, data: bytes) -> None:
    with pytest.raises(VerificationError, match=f"{path} is not what its digest names"):
        check_archived(path, data)


@pytest.mark.parametrize("path", ["policies/x.json", f"else/{'a' * 64}.json", f"facts/{'a' * 64}.json.tmp", "facts/"])
def test_a_name_without_a_digest_is_no_archived_files(path: str) -> None:
    assert not is_archived(path)
    with pytest.raises(VerificationError, match="not named after a digest"):
        check_archived(path, b"")


def test_names_of_archived_files_are_known() -> None:
    assert is_archived(POLICY)
    assert is_archived(FACTS)
