"""UUIDv7 keys and object keys."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.clock_manual import ManualClock
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.errors import UsageError
from residency.storage import KeyMaker, check_key, uuid7


def test_the_example_of_rfc_9562_appendix_a_6_comes_out() -> None:
    # A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F at 2022-02-22 14:22:22.000 -05:00 (1645557742000 ms).
    entropy = bytes.fromhex("0cc318c4dc0c0c07398f")
    assert uuid7(1_645_557_742_000_000, entropy) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(st.integers(0, ((1 << 48) - 1) * 1000), st.binary(min_size=10, max_size=10))
def test_every_key_is_a_version_7_uuid_of_its_millisecond(now: int, entropy: bytes) -> None:
    key = uuid.UUID(uuid7(now, entropy))
    assert key.version == 7
    assert key.variant == uuid.RFC_4122
    assert key.int >> 80 == now // 1000


@pytest.mark.parametrize(("now", "entropy"), [(-1, bytes(10)), ((1 << 48) * 1000, bytes(10)), (0, bytes(9)), (0, b"")])
def test_a_time_or_entropy_that_does_not_fit_is_refused(now: int, entropy: bytes) -> None:
    with pytest.raises(ValueError, match=r"UUIDv7"):
        uuid7(now, entropy)


@given(st.lists(st.integers(-5_000, 5_000), min_size=1, max_size=50))
def test_keys_of_one_process_grow_even_where_the_wall_clock_steps_back(steps: list[int]) -> None:
    clock = ManualClock(1_800_000_000_000_000)
    maker = KeyMaker(clock, UnsafeSeededEntropy(b"keys"))
    keys = []
    for step in steps:
        clock.set_wall(clock.now() + step)
        keys += [maker.new_key(), maker.new_key()]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_two_makers_in_the_same_millisecond_share_no_key() -> None:
    clock = ManualClock()
    one, other = (KeyMaker(clock, UnsafeSeededEntropy(seed)) for seed in (b"one", b"other"))
    assert not {one.new_key() for _ in range(500)} & {other.new_key() for _ in range(500)}


@pytest.mark.parametrize("key", ["a", "photos/2026/ảnh.jpg", "x" * 512, "A b", "0", ".hidden", "-a_b/c.d/e-"])
def test_an_object_key_of_the_contract_passes(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize(
    "key",
    ["", "x" * 513, "/a", "a/", "a//b", "..", "a..b", "a/../b", "a/..", "./a", "a/./b", "a/.", "a\n", "a\nb", "a\0b",
     "a\\b", "\ud800", "a\u200eb"],
)  # fmt: skip
def test_an_object_key_outside_the_contract_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_key(key)
    assert len(key) < 4 or key not in str(caught.value)


@given(st.text("a-_./\\ \nê", max_size=8))
def test_a_key_is_taken_where_no_segment_is_empty_or_dots(key: str) -> None:
    fits = key.isprintable() and "\\" not in key and ".." not in key and not {"", "."} & set(key.split("/"))
    if fits:
        check_key(key)
    else:
        with pytest.raises(UsageError):
            check_key(key)
