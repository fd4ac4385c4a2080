"""In: nothing, or a file of ours that Prometheus reads. Out: every metric with all its labels, counters that grow each
time the page is asked for, and a real Prometheus that scrapes it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

from residency.adapters.prometheus import render
from residency.model import Reason
from residency.observe import names
from residency.observe.cells import Metrics
from residency.observe.names import Kind
from tests.ports import free_port

__all__ = ["Prometheus", "count_once", "full_metrics", "prometheus"]

COUNTED: Final = {
    names.LOCATION_EVENTS: ("looked", "lost"),
    names.FACT_EVENTS: ("begun",),
    names.ADDRESS_DATA_EVENTS: ("taken", "torn"),
    names.TOKENS_REJECTED: ("the token has expired",),
    names.POLICY_EVENTS: ("taken", "invalid"),
    names.PIN_EVENTS: ("misses",),
}


def full_metrics() -> Metrics:
    """Every metric that there is, with a series at least, each counted once."""
    metrics = Metrics()
    for spec in names.METRICS:
        if spec.kind is Kind.GAUGE and not spec.labels:
            metrics.gauge(spec.name, lambda: 1)
    for name in (names.TERM_DEADLINE, names.SUBJECTS_COUNTED, names.SUBJECTS_THRESHOLD, names.ESCALATED):
        metrics.gauge(name, lambda: 1, "vn.one")
    for age in ("0s", "5m", "7d"):
        metrics.gauge(names.LOG_OPEN_INTENTS, lambda: 1, age)
    metrics.gauge(names.SINK_DRIFT, lambda: 1, "people-vn")
    metrics.gauge(names.SINK_MARK, lambda: 1, "people-vn", "lost")
    metrics.gauge(names.SINK_LOCATION, lambda: 1, "people-vn", "contradicted")
    for name in (names.COPY_LAG, names.COPY_PENDING):
        metrics.gauge(name, lambda: 1, "people", "people-vn")
    metrics.gauge(names.COPY_HALTED, lambda: 1, "people", "people-vn", "filing_missing")
    counts = {name: dict.fromkeys(events, 0) for name, events in COUNTED.items()}

    def grown(name: str) -> dict[str, int]:
        for event in counts[name]:
            counts[name][event] += 1
        return counts[name]

    for name in counts:
        metrics.counts(name, lambda name=name: grown(name))  # type: ignore[misc]
    metrics.info(names.ADDRESS_DATA_INFO, lambda: ("own.mmdb", "cd" * 32))
    metrics.info(names.INFO, lambda: ("ab" * 32, "chat-api", "7"))
    count_once(metrics)
    return metrics


def count_once(metrics: Metrics) -> None:
    """Count something under each counter that a request counts."""
    for effect in ("permit", "deny"):
        metrics.add(names.DECISIONS, "VN", effect, "people")
    metrics.add(names.DECIDED, "presumption")
    metrics.add(names.PRESUMED, "VN", "territory")
    metrics.add(names.SCRAPE_ERRORS, names.LOG_SIZE)
    metrics.refusal(Reason.NOT_HOME, observed=True)
    metrics.refusal(Reason.NOT_HOME, observed=False)
    metrics.overhead(12)
    metrics.add(names.EXEMPTIONS, "7/2026")
    metrics.add(names.OVERRIDES, "vn.one")
    metrics.add(names.JOURNAL_LATE)
    metrics.add(names.COPY_LOST, "people", "vn")


class Prometheus:
    """A server that is asked over its HTTP interface."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """What it answers at `/api/v1/<path>`, which must be a success without a warning. Raises: OSError."""
        with urlopen(f"{self._base}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as answer:  # noqa: S310
            told = json.load(answer)
        assert (told["status"], told.get("warnings")) == ("success", None), told
        return told["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        data = self.ask("query", query=expression)
        return data["result"] if data["resultType"] == "vector" else [data]


@contextmanager
def prometheus(program: Path, folder: Path, deploy: Path) -> Iterator[Prometheus]:
    """A Prometheus with the configuration and the rules that we ship, but every second, that scrapes a full page."""
    metrics = full_metrics()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count_once(metrics)
            body, kind = render(metrics)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    page = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    port = free_port()
    shipped = (deploy / "prometheus.yml").read_text()
    assert "127.0.0.1:8000" in shipped
    own = shipped.replace("127.0.0.1:8000", f"127.0.0.1:{page.server_address[1]}").replace("15s", "1s")
    (folder / "prometheus.yml").write_text(own)
    (folder / "rules.yml").write_bytes((deploy / "rules.yml").read_bytes())
    log = (folder / "prometheus.log").open("wb")
    process = subprocess.Popen(
        [
            str(program), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()
        log.close()
        page.shutdown()
        page.server_close()
