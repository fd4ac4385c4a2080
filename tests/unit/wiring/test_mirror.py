"""What a deployment says of its mirror: refused at its line, opened as told, doubted where the lock is too short."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.keys_memory import KeysMemory
from residency.adapters.mirror import Mirror
from residency.adapters.mount import FolderPlace
from residency.bootstrap import build
from residency.errors import PolicyError, UsageError
from residency.model.calendar import Term, deadline
from residency.observe import names
from residency.observe.cells import Metrics
from residency.wiring.mirror import meter_mirror, mirror_doubts, open_mirror, place_at, required_lock
from tests.audit_log import VERIFIER
from tests.log_mirror import GrowingLog
from tests.world import load_policy, write_deployment

KEEP = """
  - id: test.logs
    article: art. 9
    text: Logs are kept for two years.
    applies: {anchor: territory, data: [personal]}
    duty: {retain: [{at_least: 24 months, data: log, from: creation}]}
"""
SHORT = KEEP.replace("test.logs", "test.short").replace("24 months", "90 days")
OTHER = KEEP.replace("test.logs", "test.other").replace("data: log", "data: content").replace("24", "99")


WORLD = """
sinks: {people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite+aiosqlite:///people.db"}}
stores: {people: [people-vn]}
signals: {client_address: {strategy: peer}}
pins: {url: "memory:"}
activities:
  - {route: "GET /", subject: none, data: [content]}
"""


def deployment(folder: Path, mirror: str, rules: tuple[str, ...] = (KEEP, SHORT, OTHER)) -> Path:
    """A deployment with a mirror, and laws."""
    return write_deployment(folder, WORLD + (f"audit: {{mirror: {mirror}}}\n" if mirror else ""), rules)


@pytest.mark.parametrize(
    ("mirror", "says"),
    [
        ('{url: "s3://KEY:TOP@bucket/log"}', "credentials belong into the environment"),
        ('{url: "s3://bucket/log?TOP"}', "nothing after the prefix"),
        ('{url: "s3://"}', "expected s3://BUCKET/PREFIX"),
        ('{url: "file://relative/TOP"}', "expected file:///PATH, from the root on"),
        ('{url: "file:///mnt/log", locked: 24 months}', "a folder cannot lock what lies in it"),
    ],
)
def test_what_cannot_be_a_mirror_is_refused_at_its_line_before_anything_is_made(
    tmp_path: Path, mirror: str, says: str
) -> None:
    file = deployment(tmp_path / "policy", mirror)
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "mirror" in text)
    with pytest.raises(PolicyError, match=says) as refused:
        build(file, env={})
    assert refused.value.problems[0].line == line
    assert "TOP" not in str(refused.value)


def test_without_a_mirror_none_is_opened(tmp_path: Path) -> None:
    policy = load_policy(deployment(tmp_path / "policy", ""))
    assert open_mirror(policy.deployment, tmp_path / "audit", KeysMemory().signing_key) is None
    assert list(mirror_doubts(policy)) == []


def test_a_mirror_is_opened_as_the_deployment_says(tmp_path: Path) -> None:
    policy = load_policy(deployment(tmp_path / "policy", f'{{url: "file://{tmp_path}/mount", every: 5 min}}'))
    mirror = open_mirror(policy.deployment, tmp_path / "audit", KeysMemory().signing_key)
    assert mirror is not None
    assert (mirror.every, mirror.lag(), mirror.problem) == (300.0, None, None)
    assert not (tmp_path / "audit").exists()


@pytest.mark.anyio
async def test_the_end_ships_what_it_published_last(tmp_path: Path) -> None:
    away = tmp_path / "mount"
    away.mkdir()
    audit = tmp_path / "policy" / "residency-data" / "audit"
    runtime = build(deployment(tmp_path / "policy", f'{{url: "file://{away}", every: 24 h}}'), env={}, reload=False)
    runtime.open()
    runtime.point.recorder.system("the last word")
    await runtime.aclose()
    assert (away / "checkpoint").read_bytes() == (audit / "log" / "checkpoint").read_bytes()
    assert any(b"the last word" in path.read_bytes() for path in away.glob("tile/entries/**/*") if path.is_file())


@pytest.mark.parametrize(
    ("mirror", "doubts"),
    [
        ('{url: "s3://bucket/log", locked: 24 months}', []),
        ('{url: "s3://bucket/log", locked: 2 years}', []),
        (
            '{url: "s3://bucket/log", locked: 23 months}',
            ["audit.mirror.locked is shorter than a law asks logs to be kept; test.logs has logs kept for 24 months"],
        ),
        ('{url: "s3://bucket/log"}', ["nothing is locked there", "test.logs"]),
        ('{url: "file:///mnt/log"}', []),
    ],
)
def test_a_lock_that_is_shorter_than_a_law_asks_for_logs_is_doubted(
    tmp_path: Path, mirror: str, doubts: list[str]
) -> None:
    found = list(mirror_doubts(load_policy(deployment(tmp_path / "policy", mirror))))
    assert len(found) == bool(doubts)
    for words in doubts:
        assert words in found[0]


def test_a_policy_that_asks_nothing_of_logs_doubts_no_lock(tmp_path: Path) -> None:
    policy = load_policy(deployment(tmp_path / "policy", '{url: "s3://bucket/log", locked: 1 day}', (OTHER,)))
    assert list(mirror_doubts(policy)) == []


@pytest.mark.parametrize("term", [Term(months=1), Term(months=12), Term(months=24), Term(days=90), Term(hours=36)])
def test_the_days_that_are_told_are_enough_on_every_day(term: Term) -> None:
    required = required_lock(term)
    for day in range(0, 3000, 7):
        put = (20_000 + day) * 86_400_000_000 + 86_399_999_999
        assert deadline(put, term) <= put + required.days * 86_400_000_000
        assert required.until(put) == deadline(put, term)


def test_places_are_what_their_urls_say() -> None:
    assert isinstance(place_at("file:///mnt/log"), FolderPlace)
    for url in ("file://mnt/log", "https://host/log", "s3://"):
        with pytest.raises(UsageError):
            place_at(url)


def test_what_a_scrape_shows(tmp_path: Path) -> None:
    log = GrowingLog(tmp_path / "log")
    log.grow(3)
    metrics = Metrics()
    mirror = Mirror(log.files, place_at(f"file://{tmp_path}/away"), key=VERIFIER, lock=tmp_path / "lock", every=7.0)
    meter_mirror(metrics, mirror)

    def shown() -> dict[str, list[float]]:
        ours = (names.MIRROR_LAG, names.MIRROR_EVERY, names.MIRROR_FAILING)
        return {f.spec.name: [value for _, value in f.series] for f in metrics.families() if f.spec.name in ours}

    assert shown() == {names.MIRROR_LAG: [], names.MIRROR_EVERY: [7.0], names.MIRROR_FAILING: [0.0]}
    mirror.start()
    mirror.stop()
    assert shown()[names.MIRROR_FAILING] == [1.0]
