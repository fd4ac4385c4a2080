"""What meets a sink that is away is tried again a few times, and no longer."""

from __future__ import annotations

import anyio
import pytest

from residency.cli import patience
from residency.cli.patience import patient
from residency.errors import PinsUnavailable, ResidencyError, SinkUnavailable
from residency.storage.lasting import lasting


class Away:
    """Work that fails so often."""

    def __init__(self, times: int, error: ResidencyError) -> None:
        self.left = times
        self.error = error
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self.left:
            raise self.error
        return "done"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits here."""
    monkeypatch.setattr(patience, "_PAUSES", (0.0,) * len(patience._PAUSES))


def test_a_sink_that_is_away_twice_is_asked_a_third_time_and_stderr_tells(capsys: pytest.CaptureFixture[str]) -> None:
    work = Away(2, SinkUnavailable("sink 'rows-vn' is away"))
    assert anyio.run(patient, work) == "done"
    assert work.tries == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "sink 'rows-vn' is away; tried again in 0 s\n" * 2


def test_a_sink_that_stays_away_is_given_up() -> None:
    work = Away(99, SinkUnavailable("sink 'rows-vn' is away"))
    with pytest.raises(SinkUnavailable, match="rows-vn"):
        anyio.run(patient, work)
    assert work.tries == 5


def test_what_is_no_sink_that_is_away_is_not_tried_again() -> None:
    work = Away(1, PinsUnavailable("the pins are away"))
    with pytest.raises(PinsUnavailable):
        anyio.run(patient, work)
    assert work.tries == 1


def test_what_no_wait_mends_is_not_tried_again() -> None:
    work = Away(1, lasting(SinkUnavailable("sink 'rows-vn' does not accept the credentials in its URL")))
    with pytest.raises(SinkUnavailable, match="credentials"):
        anyio.run(patient, work)
    assert work.tries == 1


def test_what_was_waited_for_within_is_not_waited_for_once_more_around_it() -> None:
    work = Away(99, SinkUnavailable("sink 'rows-vn' is away"))
    with pytest.raises(SinkUnavailable, match="rows-vn"):
        anyio.run(patient, lambda: patient(work))
    assert work.tries == 5
