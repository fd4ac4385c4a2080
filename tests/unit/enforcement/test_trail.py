"""What a request leaves: which reason each error of what is away has, and what is noted of it for the edge."""

from __future__ import annotations

import pytest

from residency.enforcement.trail import Trail, unavailable
from residency.errors import (
    IntegrityError,
    JournalFull,
    JournalLate,
    Refused,
    ResidencyError,
    SinkUnavailable,
    SubjectMoving,
    Unavailable,
)
from residency.model import STATUS, Reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (JournalFull("full"), Reason.JOURNAL_FULL),
        (JournalLate("late"), Reason.JOURNAL_FAILED),
        (SinkUnavailable("away"), Reason.SINK_UNAVAILABLE),
        (SubjectMoving("moving"), Reason.SUBJECT_MOVING),
        (Unavailable("?"), Reason.INTERNAL),
        (IntegrityError("?"), Reason.INTERNAL),
    ],
)
def test_what_is_unavailable_has_its_own_reason(error: ResidencyError, reason: Reason) -> None:
    refusal = unavailable(error)
    assert (refusal.reason, refusal.message, refusal.seq) == (reason, str(error), None)
    assert STATUS[reason] in (500, 503)


def test_what_is_raised_to_the_app_is_noted_where_it_is_of_something_that_is_away() -> None:
    trail = Trail()
    for error in (Refused("not_home", "no"), LookupError("a bug")):
        with pytest.raises(type(error)), trail:
            raise error
        assert trail.refusal is None
    with trail:
        pass
    assert trail.refusal is None
    with pytest.raises(SinkUnavailable), trail:
        raise SinkUnavailable("sink 'vn' cannot be reached")
    assert trail.refusal == unavailable(SinkUnavailable("sink 'vn' cannot be reached"))
    assert trail.records == 0  # no entry tells it
