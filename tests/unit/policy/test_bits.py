"""Numbers as bits and back."""

from __future__ import annotations

import random

import pytest

from residency.policy.bits import all_bits, bits_of, bits_where, chosen


@pytest.mark.parametrize("amount", [0, 1, 7, 24, 25, 64, 900])
def test_what_is_put_in_comes_out_in_order_however_many(amount: int) -> None:
    numbers = random.Random(amount).sample(range(1_000), amount)
    bits = bits_of(numbers)
    assert list(chosen(range(1_000), bits)) == sorted(numbers)
    assert bits == sum(1 << number for number in numbers) == bits_where(n in numbers for n in range(1_000))


def test_all_bits_of_nothing_are_none() -> None:
    assert all_bits(()) == bits_of(()) == 0
    assert all_bits((1, 4, 5)) == 5
