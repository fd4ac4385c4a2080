"""What the metrics page shows of requests: those due soon and those overdue, and none that is answered."""

from __future__ import annotations

from pathlib import Path

from residency.adapters.prometheus import render
from residency.observe.cells import Metrics
from residency.storage.requests import Request, Step, answered
from residency.wiring.requests import meter_requests, requests_of
from tests.world import load_policy, write_deployment

HOUR = 3_600_000_000
TEXT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn]}
audit: {folder: ./audit}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""


def test_the_page_shows_what_is_due_as_time_goes(tmp_path: Path) -> None:
    deployment = load_policy(write_deployment(tmp_path, TEXT)).deployment
    register = requests_of(deployment, lambda written: tmp_path / written)
    metrics, clock = Metrics(), [0]
    meter_requests(metrics, register, lambda: clock[0])

    def shown() -> tuple[bytes, ...]:
        lines = render(metrics)[0].splitlines()
        return tuple(line.rpartition(b" ")[2] for line in lines if line.startswith(b"residency_requests_"))

    assert shown() == (b"0.0", b"0.0")
    assert not (tmp_path / "audit" / "requests.db").exists()
    for due in (24, 24, 400):
        register.add(Request("authority.deliver", "VN", 0, (Step("authority.deliver", due * HOUR, ("r",)),)))
    assert shown() == (b"0.0", b"0.0")
    clock[0] = 20 * HOUR
    assert shown() == (b"2.0", b"0.0")
    clock[0] = 24 * HOUR
    assert shown() == (b"0.0", b"2.0")
    register.change(1, lambda request: answered(request, None, clock[0], "given"))
    assert shown() == (b"0.0", b"1.0")
