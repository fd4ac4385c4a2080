"""Who began before a subject's data was moved may end in time; where it lay, and nowhere else."""

from __future__ import annotations

import pytest

from residency.enforcement.moving import GRACE, OPEN_BY, may_end, may_read
from residency.model import Pin

AT = 1_000_000_000
BEFORE = Pin("d" * 64, "SG", (), "a" * 32, "first_write", "p", 1, 1)
MOVING = Pin("d" * 64, "VN", (), "a" * 32, "move", "p", AT, 2, "SG")
HOME = Pin("d" * 64, "VN", (), "a" * 32, "move", "p", AT, 3)


@pytest.mark.parametrize(
    ("before", "pin", "place", "opened", "now", "may"),
    [
        (BEFORE, MOVING, "SG", AT - 5, AT, True),
        (None, MOVING, "SG", AT - 5, AT, True),
        (BEFORE, MOVING, "SG", AT + OPEN_BY, AT + GRACE - 1, True),
        (BEFORE, MOVING, "SG", AT + OPEN_BY + 1, AT + OPEN_BY + 1, False),
        (BEFORE, MOVING, "SG", AT, AT + GRACE, False),
        (BEFORE, MOVING, "SG", None, AT, False),
        (BEFORE, MOVING, "VN", AT - 5, AT, False),
        (MOVING, MOVING, "SG", AT - 5, AT, False),
        (BEFORE, HOME, "SG", AT - 5, AT, False),
    ],
)
def test_a_change_may_be_made_where_its_transaction_was_open_in_time(
    before: Pin | None, pin: Pin, place: str, opened: int | None, now: int, may: bool
) -> None:
    assert may_end(before, pin, place, opened, now) is may


@pytest.mark.parametrize(
    ("before", "pin", "place", "now", "may"),
    [
        (BEFORE, HOME, "SG", AT, True),
        (MOVING, HOME, "SG", AT + GRACE - 1, True),
        (None, HOME, "SG", AT, True),
        (BEFORE, HOME, "SG", AT + GRACE, False),
        (HOME, HOME, "SG", AT, False),
        (BEFORE, HOME, "US", AT, False),
        (BEFORE, MOVING, "SG", AT, False),
    ],
)
def test_data_may_be_read_where_it_lay_for_a_moment_after_it_is_home(
    before: Pin | None, pin: Pin, place: str, now: int, may: bool
) -> None:
    assert may_read(before, pin, place, now) is may
