"""Where a deployment's details lie, and how long the laws in its packs ask for them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from residency.adapters.clock_manual import ManualClock
from residency.adapters.detail_filer import DetailFiler, moments
from residency.adapters.detail_store import DetailStore
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.journal_files import JournalFiles
from residency.adapters.keys_files import KeysFiles
from residency.adapters.keys_memory import KeysMemory
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head
from residency.enforcement.current import Current
from residency.errors import KeysUnavailable, SealError
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.compiler import Policy
from residency.wiring.details import detail_key, detail_rows, keeping, meter_details, open_details
from tests.detail_world import deploy, live
from tests.world import load_policy

_PACKS = """
residency: 1
kind: deployment
name: packs
mode: enforce
operator: {established_in: [VN], service_lines: [online_applications]}
laws: [vn/*]
presume: {territory: not_covered}
signals: {identity: {user: verified}}
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn]}
audit: {folder: ./audit, detail: {VN: ./detail-vn}}
activities:
  - {route: "GET /plain", subject: user, data: [account], operation: read}
"""


def policy_of(folder: Path, text: str = _PACKS) -> Policy:
    file = folder / "packs.yaml"
    file.write_text(text)
    return load_policy(file)


def test_under_the_vietnamese_packs_a_request_is_kept_for_twelve_months_on_vietnams_clocks(tmp_path: Path) -> None:
    policy_of(tmp_path)
    live(tmp_path / "packs.yaml", "an", path="/plain")
    ((head, _),) = detail_rows(tmp_path / "detail-vn")
    assert (head.keeping, head.erase_by) == ("log>=12m", None)
    assert head.keep_until is not None
    assert (head.keep_until + 7 * 3_600_000_000) % 86_400_000_000 == 0
    assert 365 <= (head.keep_until - head.at) / 86_400_000_000 <= 367


@pytest.mark.parametrize(
    ("region", "seal_to", "place"),
    [("", "", "VN"), ("region: vn-han, ", "", "VN"), ("region: sg, ", "A" * 43 + "=", "SG"), ("", "A" * 43 + "=", "")],
)
def test_details_lie_in_their_country_or_where_the_instance_that_spools_them_does(
    tmp_path: Path, region: str, seal_to: str, place: str
) -> None:
    sealed = f", seal_to: {seal_to!r}" if seal_to else ""
    text = _PACKS.replace(
        "folder: ./audit, detail: {VN: ./detail-vn}", f"{region}detail: {{VN: {{folder: d{sealed}}}}}"
    )
    policy = policy_of(tmp_path, text)
    assert keeping(policy, policy.deployment).places == {"VN": place}


def test_a_deployment_without_details_has_nobody_to_file_them(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, _PACKS.replace(", detail: {VN: ./detail-vn}", ""))
    with ExitStack() as stack:
        opened = open_details(
            stack, policy.deployment, tmp_path.joinpath, KeysMemory(), ManualClock(), UnsafeSeededEntropy()
        )
    assert opened == (None, ())
    assert keeping(policy, policy.deployment).places == {}


def test_what_a_power_cut_may_take_of_details_is_what_the_deployment_says(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, _PACKS.replace("audit: {", "audit: {max_loss: 250 ms, "))
    with ExitStack() as stack:
        files, _ = open_details(
            stack, policy.deployment, tmp_path.joinpath, KeysMemory(), ManualClock(), UnsafeSeededEntropy()
        )
        assert files is not None
        journal = files._journals["VN"]
        assert isinstance(journal, JournalFiles)
        assert journal._max_loss == 0.25


def test_a_key_that_was_lost_or_exchanged_is_told_at_the_start_and_requests_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = deploy(tmp_path)
    live(file, "an")
    live(file, "an")
    assert "do not open" not in caplog.text
    (tmp_path / "keys" / "detail-vn.secret").unlink()
    assert [type(each) for each in live(file, "binh")] == [Current]
    assert "details of VN that were kept before do not open under detail-vn.secret" in caplog.text


def test_a_public_key_that_seals_nothing_is_found_by_the_first_detail(tmp_path: Path) -> None:
    text = _PACKS.replace("detail: {VN: ./detail-vn}", f"detail: {{VN: {{folder: d, seal_to: {'A' * 43 + '='!r}}}}}")
    policy = policy_of(tmp_path, text)
    detail = format_detail({}, bytes(16))
    head = Head("log", "0.1", commit(detail), None, 1, "none", None, 2)
    with ExitStack() as stack:
        files, _ = open_details(
            stack, policy.deployment, tmp_path.joinpath, KeysMemory(), ManualClock(), UnsafeSeededEntropy()
        )
        assert files is not None
        with pytest.raises(SealError):
            files.append("VN", head, detail)


def test_the_rows_of_a_place_are_those_filed_and_those_not_yet(tmp_path: Path) -> None:
    file = deploy(tmp_path)
    live(file, "an")
    place = tmp_path / "detail-vn"
    entries = {head.entry for head, _ in detail_rows(place)}
    copy = tmp_path / "unfiled"
    place.rename(copy)
    (copy / "details.db").unlink()
    assert {head.entry for head, _ in detail_rows(copy)} == entries
    assert list(detail_rows(tmp_path / "nowhere")) == []
    assert DetailStore(copy / "details.db").cursors() == {}


def test_a_reader_of_pins_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(KeysUnavailable):
        detail_key(KeysFiles(tmp_path), "VN")
    assert list(tmp_path.iterdir()) == []


def test_the_clock_that_is_furthest_from_its_count_is_shown(tmp_path: Path) -> None:
    filers = []
    for country, apart in (("VN", 3_000_000), ("EU", -9_000_000), ("SG", 0)):
        place = tmp_path / country
        filers.append(DetailFiler(place, DetailStore(place / "details.db"), moments(ManualClock())))
        filers[-1].apart = apart
    metrics = Metrics()
    meter_details(metrics, filers)
    shown = {family.spec.name: family.series for family in metrics.families() if "_detail_" in family.spec.name}
    assert shown[names.DETAIL_CLOCK_APART] == (((), -9.0),)
    assert shown[names.DETAIL_FILING_FAILING] == (((), 0.0),)
