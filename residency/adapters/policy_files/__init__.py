"""Policy files on disk: a deployment's path, or a bundle's, in; a compiled Policy out (`load`, `PolicyFiles`).

disk       what lies there: bytes, laws, keys, and what was touched since
policies   which of it makes one policy, and who must have signed it
"""

from __future__ import annotations

from residency.adapters.policy_files.disk import (
    NOT_ENFORCEABLE,
    TESTS,
    available_laws,
    law_folder,
    read_bundle,
    read_file,
    read_keys,
)
from residency.adapters.policy_files.policies import KEYS_VARIABLE, Loaded, PolicyFiles, load

__all__ = [
    "KEYS_VARIABLE",
    "NOT_ENFORCEABLE",
    "TESTS",
    "Loaded",
    "PolicyFiles",
    "available_laws",
    "law_folder",
    "load",
    "read_bundle",
    "read_file",
    "read_keys",
]
