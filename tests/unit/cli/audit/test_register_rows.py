"""What the register cannot tell, since no store saw it."""

from __future__ import annotations

from pathlib import Path

from residency.cli.audit.register_rows import unobserved
from tests.world import load_policy, write_deployment

DEPLOYMENT = """
sinks:
  llm-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "https://llm.example/"}
stores: {llm: [llm-sg]}
activities:
  - {route: "POST /ask", subject: app, data: [personal], http: llm}
  - {route: "POST /old", subject: app, data: [personal], http: model}
"""


def test_an_activity_whose_service_is_a_store_is_observed(tmp_path: Path) -> None:
    assert unobserved(load_policy(write_deployment(tmp_path, DEPLOYMENT))) == ("POST /old",)
    assert unobserved(None) == ()
