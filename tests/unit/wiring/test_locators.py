"""A deployment's locators: one for each place of stores whose records are told, where such a thing may lie."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pytest

from residency.adapters.locator_redis import LocatorRedis
from residency.adapters.locator_sqlite import LocatorSqlite
from residency.adapters.policy_files import load
from residency.errors import PolicyError, SinkUnavailable, UsageError
from residency.policy.parsed import DeploymentDoc
from residency.storage.locator import Located, LocatorMemory
from residency.wiring.locators import located_places, locator_doubts, open_locator, open_locators
from tests.world import load_policy, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [vn, sg], home: [vn], others: [sg]}
records: {people: {person: {subject: id, data: [personal]}}}
activities:
  - {route: "GET /people", subject: user, data: [personal], operation: read, store: people}
"""
PINS = ("mode: enforce\n", 'mode: enforce\npins: {url: "sqlite:///data/pins.db"}\n')


def digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=32).hexdigest()


def deployment(folder: Path, *replace: tuple[str, str]) -> DeploymentDoc:
    return load_policy(write_deployment(folder, DEPLOYMENT, replace=replace)).deployment


async def test_each_place_has_a_file_beside_the_pins(tmp_path: Path) -> None:
    doc = deployment(tmp_path, PINS)
    assert located_places(doc) == ("VN", "SG")
    locators = open_locators(doc, tmp_path.joinpath, digest)
    assert locators is not None
    assert await locators.note("people", "VN", [("person", '["k"]', "1" * 64)]) == 1
    assert sorted(path.name for path in (tmp_path / "data" / "located").glob("*.db")) == ["SG.db", "VN.db"]
    await locators.aclose()


async def test_a_file_of_another_key_is_refused_for_nothing_would_be_found_in_it(tmp_path: Path) -> None:
    doc = deployment(tmp_path, PINS)
    locators = open_locators(doc, tmp_path.joinpath, digest)
    assert locators is not None
    await locators.aclose()
    with pytest.raises(SinkUnavailable, match="another `subjects` key"):
        open_locators(doc, tmp_path.joinpath, lambda text: digest(f"other {text}"))


async def test_an_instance_abroad_opens_no_file_for_home_and_says_so_when_asked(tmp_path: Path) -> None:
    doc = deployment(tmp_path, (PINS[0], PINS[1] + "audit: {region: sg}\n"))
    locators = open_locators(doc, tmp_path.joinpath, digest)
    assert locators is not None
    assert list(locators.by_place) == ["SG"]
    with pytest.raises(SinkUnavailable, match="VN"):
        await locators.owners("people", [("person", '["k"]')], ("VN", "SG"))
    await locators.aclose()


def test_a_place_of_rows_without_one_is_told_at_its_line_with_what_to_write(tmp_path: Path) -> None:
    def told(url: str, audit: str) -> list[tuple[str, str]]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        there = (DEPLOYMENT.splitlines()[2], DEPLOYMENT.splitlines()[2].replace("memory:", url))
        doc = deployment(folder, (PINS[0], PINS[1] + audit), there)
        lines = Path(doc.source.file).read_text().splitlines()
        return [(lines[each.line - 1].partition(":")[0], each.message) for each in locator_doubts(doc)]

    rows = "sqlite:///rows.db"
    ((where, message),) = told(rows, "audit: {region: sg}\n")
    assert where == "records"
    assert "an instance in `sg` refuses (503) to add rows there" in message
    assert '`locators: {VN: "rediss://…"}`' in message
    ((where, _),) = told(rows, 'audit: {region: sg}\nlocators: {SG: "redis://sg.example"}\n')
    assert where == "locators"
    assert not told(rows, 'audit: {region: sg}\nlocators: {VN: "redis://vn.example"}\n')
    assert not told(rows, "")  # it does not say where it is, and may be there
    assert not told("memory:", "audit: {region: sg}\n")  # no rows


async def test_one_lies_where_the_deployment_says(tmp_path: Path) -> None:
    told = 'locators: {VN: "redis://vn.example", SG: "sqlite:///elsewhere/sg.db"}\n'
    doc = deployment(tmp_path, (PINS[0], PINS[1] + "audit: {region: sg}\n" + told))
    locators = open_locators(doc, tmp_path.joinpath, digest)
    assert locators is not None
    assert isinstance(locators.by_place["VN"], LocatorRedis)
    assert await locators.note("people", "SG", [("person", '["k"]', "1" * 64)]) == 1
    assert (tmp_path / "elsewhere" / "sg.db").is_file()
    await locators.aclose()


def test_a_url_that_a_variable_brings_and_that_no_locator_has_is_told_at_its_line_without_it(tmp_path: Path) -> None:
    told = "mode: enforce\nlocators: {VN: '${WHERE}'}\n"
    file = write_deployment(tmp_path, DEPLOYMENT, replace=[("mode: enforce\n", told)])
    doc = load(file, {"WHERE": "mysql://secret@h"}).deployment
    with pytest.raises(PolicyError, match="the locator of VN: expected sqlite:///PATH") as caught:
        open_locators(doc, tmp_path.joinpath, digest)
    assert "secret" not in str(caught.value)


def test_without_records_there_is_none(tmp_path: Path) -> None:
    doc = deployment(tmp_path, ("records: {people: {person: {subject: id, data: [personal]}}}\n", ""))
    assert open_locators(doc, tmp_path.joinpath, digest) is None


def test_a_url_says_what_kind_it_is(tmp_path: Path) -> None:
    def opened(url: str) -> object:
        return open_locator(url, "VN", tmp_path.joinpath, "test")

    assert isinstance(opened("memory:"), LocatorMemory)
    assert isinstance(opened("sqlite:///a.db"), LocatorSqlite)
    for url in ("redis://h", "rediss://h", "valkey://h", "valkeys://h", "redis+cluster://h", "valkey+cluster://h"):
        assert isinstance(opened(url), LocatorRedis)
    for url in ("postgresql://secret@h", "nonsense", "redis+nonsense://h"):
        with pytest.raises(UsageError) as caught:
            opened(url)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["redis", "redis+cluster"])
async def test_one_that_is_away_is_named_by_its_place_and_by_nothing_else(kind: str, tmp_path: Path) -> None:
    locator = open_locator(f"{kind}://:secret@127.0.0.1:1", "VN", tmp_path.joinpath, "test")
    for call in (locator.owners(["0" * 64]), locator.note([Located("0" * 64, "1" * 64)]), locator.forget(["0" * 64])):
        with pytest.raises(SinkUnavailable, match="the locator of VN cannot be reached") as caught:
            await call
        assert "secret" not in str(caught.value)
        assert "127" not in str(caught.value)
