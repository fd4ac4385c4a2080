"""A beat: work again and again, whatever it raises, until it is stopped."""

from __future__ import annotations

import logging
import threading

import pytest

from residency.adapters.beat import Beat


def test_work_is_done_again_after_it_failed_and_no_more_once_stopped(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Semaphore(0)
    times: list[int] = []

    def work() -> None:
        times.append(1)
        done.release()
        if len(times) == 1:
            raise RuntimeError("once")

    beat = Beat(work, every=0.001, name="residency-test")
    with caplog.at_level(logging.ERROR, "residency"):
        beat.start()
        for _ in range(3):
            assert done.acquire(timeout=30)
        beat.stop()
    count = len(times)
    assert not any(thread.name == "residency-test" for thread in threading.enumerate())
    assert len(times) == count
    assert [record.getMessage() for record in caplog.records] == ["residency-test: a beat failed"]


def test_a_beat_that_never_began_can_be_stopped() -> None:
    Beat(lambda: None, every=1.0, name="residency-test").stop()
