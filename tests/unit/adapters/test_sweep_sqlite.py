"""Runs that are broken off go on; those that ended, are old, or were of another policy begin anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.sweep_sqlite import SweepSqlite
from residency.errors import FactsUnavailable

A, B, C = ("aa" * 32, "bb" * 32, "cc" * 32)


@pytest.fixture
def runs(tmp_path: Path) -> SweepSqlite:
    return SweepSqlite(tmp_path / "runs.db")


def test_a_run_that_was_broken_off_goes_on_as_of_when_it_began(runs: SweepSqlite, tmp_path: Path) -> None:
    assert runs.begin("people", 100, "p", 50) is None
    runs.add("people/vn", [A, B])
    runs.add("people/vn", [B])
    again = SweepSqlite(tmp_path / "runs.db")
    assert again.begin("people", 120, "p", 50) == 100
    assert again.left("people/vn", [A, B, C]) == {C}
    assert again.left("people/sg", [A]) == {A}


@pytest.mark.parametrize(("now", "policy"), [(151, "p"), (120, "q"), (99, "p")])
def test_a_run_that_is_old_or_of_another_policy_or_of_later_begins_anew(
    runs: SweepSqlite, now: int, policy: str
) -> None:
    runs.begin("people", 100, "p", 50)
    runs.add("people/vn", [A])
    assert runs.begin("people", now, policy, 50) is None
    assert runs.left("people/vn", [A]) == {A}


def test_an_end_forgets_this_store_and_no_other(runs: SweepSqlite) -> None:
    for store in ("people", "people-old"):
        runs.begin(store, 100, "p", 50)
        runs.add(f"{store}/vn", [A])
    runs.end("people")
    assert runs.left("people/vn", [A]) == {A}
    assert runs.left("people-old/vn", [A]) == frozenset()
    assert runs.begin("people", 110, "p", 50) is None
    assert runs.begin("people-old", 110, "p", 50) == 100


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.mkdir()
    with pytest.raises(FactsUnavailable, match="SQLITE_CANTOPEN"):
        SweepSqlite(path).end("people")
