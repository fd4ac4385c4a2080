"""Which key a server sees, and whom a value is for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.authentication import SimpleUser

from residency.enforcement.current import Current
from residency.enforcement.point import Request
from residency.errors import UsageError
from residency.model import Decision, Effect, SinkVerdict
from residency.model.duty import Bound, Protection, Retention
from residency.storage.namespace import ANYBODY, MARK, Namespace, decision_of, facet_of, namespace
from tests.cache_world import CacheWorld
from tests.world import HANOI


def decided(world: CacheWorld) -> tuple[Decision, SinkVerdict]:
    """A decision, and its verdict on cache-vn."""
    here = world.point.admit(Request("GET", "/me", b"/me", (), (HANOI, 50_000), SimpleUser("an")))
    assert isinstance(here, Current)
    verdict = here.decision.sink("cache-vn")
    assert verdict is not None
    return here.decision, verdict


@given(key=st.text(min_size=1, max_size=200), value=st.binary(max_size=50), facet=st.integers(1, 2**128 - 1))
def test_a_value_opens_under_its_own_key_and_facet_alone(key: str, value: bytes, facet: int) -> None:
    space = Namespace(b"p:", facet)
    at, number = space.key(key)
    stored = space.seal(number, value)
    assert space.open(number, stored) == value
    assert Namespace(b"p:", facet ^ 1).open(number, stored) is None
    other, another = space.key(key + "x")
    assert other != at
    assert space.open(another, stored) is None
    anybodys = space.seal(number, value, ANYBODY)
    assert Namespace(b"p:", facet ^ 1).open(number, anybodys) == value
    assert space.open(another, anybodys) is None


@pytest.mark.parametrize("stored", [None, b"", b"x" * (MARK - 1)])
def test_what_is_no_value_is_none(stored: bytes | None) -> None:
    assert Namespace(b"p:", 1).open(7, stored) is None


def test_each_part_of_a_prefix_keeps_apart() -> None:
    parts = ("cache", "app", "store", "VN", "ab" * 32)
    prefixes = {namespace(*parts, 1).prefix}
    for number in range(5):
        other = [*parts]
        other[number] = other[number][::-1] + "x" * (number < 4)
        prefixes.add(namespace(other[0], other[1], other[2], other[3], other[4], 1).prefix)
    prefixes.add(namespace("cache", "app", "store", "VN", None, 1).prefix)
    assert len(prefixes) == 7


@pytest.mark.parametrize("key", ["", "x" * 4097, None, b"bytes"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        Namespace(b"p:", 1).key(key)


def test_half_a_surrogate_is_a_key_like_another() -> None:
    assert Namespace(b"p:", 1).key("\ud800") != Namespace(b"p:", 1).key("\ud801")


def test_whatever_a_value_may_depend_on_changes_the_facet(tmp_path: Path) -> None:
    decision, verdict = decided(CacheWorld(tmp_path))
    mask = Protection("phone", "out", "mask", "de-identified")
    keep = Retention("account", Bound.AT_MOST, 1, 0, "created")
    changed = [
        replace(decision, policy="f" * 64),
        replace(decision, mode="observe"),
        replace(decision, effect=Effect.HOLD),
        replace(decision, jurisdictions=("SG",)),
        replace(decision, unmet=(frozenset({"identity:phone"}),)),
        replace(decision, duty=replace(decision.duty, protect=frozenset({mask}))),
        replace(decision, duty=replace(decision.duty, retain=frozenset({keep}))),
    ]
    facets = {facet_of(each, verdict, 0) for each in (decision, *changed)}
    facets.add(facet_of(decision, verdict, 1))
    facets.add(facet_of(decision, replace(verdict, sink=replace(verdict.sink, name="other")), 0))
    assert len(facets) == len(changed) + 3
    assert len({decision_of(each) for each in (decision, *changed)}) == len(changed) + 1
    assert facet_of(replace(decision), verdict, 0) == facet_of(decision, verdict, 0)
    assert facet_of(replace(decision, epoch=decision.epoch + 1), verdict, 0) == facet_of(decision, verdict, 0)


def test_each_process_makes_the_same_facet_whatever_order_its_sets_have() -> None:
    program = (
        "from residency.storage.namespace import _canonical\n"
        "from residency.model.duty import Duty, Protection\n"
        "fields = [Protection(f, 'out', 'mask', 'x') for f in 'abcdefgh']\n"
        "print(_canonical((Duty(protect=frozenset(fields), copies=frozenset({'VN', 'SG', 'DE', 'LA'})), 'x', None)))\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
