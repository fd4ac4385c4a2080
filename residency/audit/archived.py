"""A file of the archive beside a log in; whether it is what it was archived as, out.

Policies and facts that decided lie under their digests (`policy.archive`), below the audit folder and in a mirror, so
that whoever reads one can tell by itself that nobody changed it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

from residency.errors import VerificationError

__all__ = ["ARCHIVE_FOLDERS", "check_archived", "is_archived"]

ARCHIVE_FOLDERS: Final = ("policies", "facts")
_PATH: Final = re.compile(r"(policies|facts)/([0-9a-f]{64})\.json")


def is_archived(path: str) -> bool:
    """Whether `path` is the name of an archived file: a folder's and a digest's."""
    return _PATH.fullmatch(path) is not None


def check_archived(path: str, data: bytes) -> None:
    """Raises: VerificationError where the file at `path` is not named after a digest, or is not what its digest
    names."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise VerificationError(f"{path} is not named after a digest")
    if not (_is_policy if match[1] == "policies" else _is_facts)(data, match[2]):
        raise VerificationError(f"{path} is not what its digest names")


def _is_policy(data: bytes, digest: str) -> bool:
    # The language of policies takes longer to load than many a log to verify, and not every log has an archive.
    from residency.policy.archive import digest_of, format_archive

    try:
        sources = [(name, text.encode()) for name, text in json.loads(data)["sources"]]
        return digest_of(sources) == digest and format_archive(sources) == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _is_facts(data: bytes, digest: str) -> bool:
    return hashlib.sha256(data).hexdigest() == digest
