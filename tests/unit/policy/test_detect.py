"""Detectors: names alone, values that pass a validator, neighbours, nested records; and no value in what is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from residency.cli.laws import read_packs
from residency.policy.detect import MAX_DEPTH, MAX_FIELDS, Finder, detected, read_record
from residency.policy.parsed import Detector

YEAR = 2026
CARD = "4111111111111111"  # Visa's test number
ID = "001099000001"  # made up: Ha Noi, a man of 1999
PHONE = "0912345678"  # made up
DETECTORS = next(pack.law.detectors for pack in read_packs() if pack.name == "vn/personal-data-91-2025")


def found(record: Mapping[str, object], *detectors: Detector) -> dict[str, tuple[int, tuple[str, ...]]]:
    """By category how surely it is in the record, and the paths of the fields that carry it."""
    said: dict[str, tuple[int, tuple[str, ...]]] = {}
    for hit in Finder(detectors or DETECTORS, year=YEAR).hits(read_record(record).fields):
        score, paths = said.get(hit.detector.data, (0, ()))
        said[hit.detector.data] = (max(score, hit.score), tuple(dict.fromkeys((*paths, hit.path))))
    return said


def test_names_alone_bring_a_category_to_an_activity() -> None:
    assert detected(["*cccd*"], (), ["So_CCCD"], ())
    assert detected((), ["id_image"], (), ["id_image"])
    assert not detected(["*cccd*"], ["id_image"], ["name"], ["video"])


def test_a_name_and_a_value_that_passes_are_found() -> None:
    assert found({"phone": PHONE, "note": "call me"}) == {"personal": (80, ("phone",))}
    assert found({"so_dinh_danh": ID})["personal"] == (85, ("so_dinh_danh",))


def test_a_value_that_does_not_pass_is_not_found_whatever_its_name() -> None:
    assert found({"phone": "call me", "cccd": 12, "card_number": None}) == {}


def test_one_bare_value_is_not_found_and_a_neighbour_that_is_adds_a_little() -> None:
    assert found({"x": ID}) == {}
    assert found({"x": ID, "phone": PHONE}) == {"personal": (80, ("x", "phone"))}
    assert found({"x": ID, "note": PHONE}) == {}


def test_at_most_two_neighbours_count() -> None:
    one = Detector("personal", ("name",), score=60)
    many: dict[str, object] = {f"name{'_' * i}": "" for i in range(9)}
    assert found({"name": ""}, one)["personal"][0] == 60
    assert found(many, replace(one, fields=("name*",)))["personal"][0] == 70


def test_a_detector_without_a_validator_speaks_by_name_alone() -> None:
    assert found({"latitude": None}) == {"location": (70, ("latitude",))}
    assert found({"latitude": 1}, Detector("location", ("lat*",), score=95)) == {"location": (95, ("latitude",))}


def test_below_its_score_a_detector_says_nothing() -> None:
    phone = Detector("personal", ("phone",), validator="vn.mobile", score=80)
    assert found({"phone": PHONE}, phone)
    assert not found({"phone": PHONE}, replace(phone, score=81))
    assert found({"phone": PHONE}, replace(phone, score=None))
    assert not found({"phone": PHONE}, replace(phone, score=None, fields=("mobile",), validator="vn.mst"))


def test_media_alone_find_nothing_in_a_record() -> None:
    assert found({"id_image": "x"}, Detector("identity_document", media=frozenset({"id_image"}))) == {}


@pytest.mark.parametrize("name", ["so_dien_thoai", "soDienThoai", "Số điện thoại", "SO-DIEN-THOAI"])
def test_a_name_is_matched_however_it_is_spelled(name: str) -> None:
    assert found({name: PHONE})["personal"][0] == 80


def test_nested_records_are_looked_into() -> None:
    record: dict[str, object] = {"people": [{"contact": {"phone": PHONE}}, {"phones": [{"number": PHONE}]}]}
    assert found(record)["personal"][1] == ("people[].contact.phone", "people[].phones[].number")


def test_a_key_that_may_be_a_value_is_looked_at_as_one_and_never_shown() -> None:
    assert found({"phone": {PHONE: "home"}}) == {"personal": (80, ("phone.*",))}
    record: dict[str, object] = {"Nguyen Van A": {"phone": PHONE}, "a@example.org": {"phone": PHONE}}
    assert found(record) == {"personal": (80, ("*.phone",))}


def test_what_lies_too_deep_or_is_too_many_is_not_looked_at_and_said() -> None:
    deep: object = {"phone": PHONE}
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    assert read_record(deep).whole
    assert not read_record({"a": deep, "b": 1}).whole
    assert found({"a": deep, "phone": PHONE}) == {"personal": (80, ("phone",))}
    wide = read_record([0] * (MAX_FIELDS + 1))
    assert (len(wide.fields), wide.whole) == (MAX_FIELDS, False)
    assert read_record([0] * MAX_FIELDS).whole


def test_a_record_that_holds_itself_ends() -> None:
    record: dict[str, object] = {"phone": PHONE}
    record["self"] = record
    assert "personal" in found(record)


def test_the_same_detector_twice_counts_once() -> None:
    finder = Finder((*DETECTORS, *DETECTORS), year=YEAR)
    assert len(finder.hits(read_record({"phone": PHONE}).fields)) == 1


KEYS = st.sampled_from(["phone", "cccd", "mst", "card_number", "latitude", "x", "value", "a b", "bhxh", "so_the"])
VALUES = st.sampled_from([PHONE, ID, CARD, "0100000003", "x", 1, None, "B1234567", "29A-123.45", ""])
RECORDS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
MAPPINGS = st.dictionaries(KEYS, RECORDS, max_size=5)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), ANYTHING, max_size=5))
def test_any_record_is_read_without_an_error(record: dict[str, object]) -> None:
    assert all(0 < score <= 100 for score, _ in found(record).values())


@given(st.dictionaries(st.sampled_from(["phone", "cccd"]) | st.from_regex(r"[0-9]{5,12}", fullmatch=True), MAPPINGS))
def test_no_value_is_in_what_is_found(record: dict[str, object]) -> None:
    said = repr(found(record))
    for value in (PHONE, ID, CARD, "0100000003", "B1234567", "29A-123.45", *(k for k in record if k.isdigit())):
        assert value not in said


@given(MAPPINGS, KEYS, RECORDS)
def test_a_field_more_never_makes_anything_less_sure(record: dict[str, object], key: str, value: object) -> None:
    assume(key not in record)
    before, after = found(record), found({**record, key: value})
    for category, (score, paths) in before.items():
        assert after[category][0] >= score
        assert set(paths) <= set(after[category][1])


@given(VALUES, st.integers(1, 100), st.integers(1, 100))
def test_a_detector_that_asks_more_finds_no_more(value: object, one: int, other: int) -> None:
    low, high = sorted((one, other))
    for detector in DETECTORS:
        record = {"phone": value, "cccd": value, "x": value}
        strict = found(record, replace(detector, score=high))
        loose = found(record, replace(detector, score=low))
        assert set(strict) <= set(loose)


def test_what_is_found_is_plain() -> None:
    assert found(json.loads(f'{{"card_number": "{CARD}"}}')) == {"financial": (100, ("card_number",))}
