"""What `Entropy` promises, over every adapter (the seeded one keeps all of it but the unpredictability)."""

from __future__ import annotations

import pytest

from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.entropy_system import SystemEntropy
from residency.enforcement.ports import Entropy


@pytest.fixture(params=[SystemEntropy, UnsafeSeededEntropy])
def entropy(request: pytest.FixtureRequest) -> Entropy:
    """One source of each kind."""
    made: Entropy = request.param()
    return made


@pytest.mark.parametrize("size", [1, 16, 32, 1000])
def test_a_token_has_the_size_asked_for(entropy: Entropy, size: int) -> None:
    assert len(entropy.token(size)) == size


def test_tokens_do_not_repeat(entropy: Entropy) -> None:
    assert len({entropy.token(16) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_token_is_a_mistake(entropy: Entropy, size: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        entropy.token(size)


def test_the_same_seed_gives_the_same_stream() -> None:
    one, other = UnsafeSeededEntropy(b"s"), UnsafeSeededEntropy(b"s")
    assert [one.token(8) for _ in range(5)] == [other.token(8) for _ in range(5)]
