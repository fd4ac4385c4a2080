"""What kind of store a sink is for, by its URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.wiring.kinds import kind_of
from tests.world import load_policy, write_deployment

DEPLOYMENT = """
sinks:
  one: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "URL"}
stores: {one: [one]}
"""


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///./a.db", "rows"), ("postgresql+asyncpg://u:p@h/d", "rows"), ("file://x", "objects"),
        ("s3://bucket", "objects"), ("memory:", "objects"), ("memory:cache", "cache"), ("rediss+cluster://h", "cache"),
        ("valkey://h", "cache"), ("https://llm.example/v1/", "service"),
    ],
)  # fmt: skip
def test_a_url_says_what_kind_of_store_it_is_for(tmp_path: Path, url: str, kind: str) -> None:
    policy = load_policy(write_deployment(tmp_path, DEPLOYMENT, replace=[("URL", url)]))
    assert kind_of(policy.deployment.sinks["one"]) == kind
