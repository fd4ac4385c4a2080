"""A change is judged once it holds still, once per change, and never on what was touched while it was read."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Hashable

import pytest

from residency.adapters.policy_watch import PolicyWatch
from residency.errors import JournalFull, PolicyError, Problem, VerificationError


class Disk:
    """Files in memory: what they hold, and a stamp that a test moves with them."""

    def __init__(self) -> None:
        self.content: str | PolicyError = "one"
        self.touched = 0
        self.reads = 0
        self.while_reading: Callable[[], None] = lambda: None
        self._read: Hashable = 0

    def put(self, content: str | PolicyError) -> None:
        self.content = content
        self.touched += 1

    def read(self) -> str:
        self.reads += 1
        self._read = self.touched
        content = self.content
        self.while_reading()
        if isinstance(content, PolicyError):
            raise content
        return content

    def stamp(self) -> Hashable:
        return self.touched

    def stamp_read(self) -> Hashable:
        return self._read


def error(text: str, cause: Exception | None = None) -> PolicyError:
    found = PolicyError((Problem("app.yaml", 3, 7, text),))
    found.__cause__ = cause
    return found


class Watched:
    def __init__(self) -> None:
        self.disk = Disk()
        self.taken: list[str] = []
        self.fails: Exception | None = None
        self.was_taken = threading.Event()
        self.watch = PolicyWatch(self.disk, self.take, check_every=0.001)

    def take(self, found: str) -> tuple[str, str]:
        if self.fails is not None:
            raise self.fails
        if found in self.taken[-1:]:
            return "same", ""
        self.taken.append(found)
        self.was_taken.set()
        return "taken", found

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.watch.look()

    @property
    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.watch.outcomes.items() if count}


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_as_long_as_nothing_is_touched_nothing_is_read(watched: Watched) -> None:
    watched.look(5)
    assert (watched.disk.reads, watched.counted) == (0, {})


def test_a_change_is_taken_at_the_second_look_and_judged_once(watched: Watched) -> None:
    watched.disk.put("two")
    watched.look()
    assert watched.taken == []
    watched.look(5)
    assert (watched.taken, watched.disk.reads, watched.counted) == (["two"], 1, {"taken": 1})


def test_what_never_holds_still_is_never_read(watched: Watched) -> None:
    for n in range(20):
        watched.disk.put(f"torn {n}")
        watched.look()
    assert (watched.taken, watched.disk.reads) == ([], 0)


def test_what_is_touched_while_it_is_read_is_read_again(watched: Watched) -> None:
    watched.disk.put("half")
    watched.disk.while_reading = lambda: watched.disk.put("whole") if watched.disk.reads == 1 else None
    watched.look(2)
    assert (watched.taken, watched.disk.reads) == ([], 1)
    watched.look(2)
    assert (watched.taken, watched.counted) == (["whole"], {"taken": 1})


def test_a_bad_file_is_told_once_with_its_line_and_the_next_good_one_is_taken(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.disk.put(error("unknown key `regoins`"))
    watched.look(5)
    assert (watched.taken, watched.counted, watched.watch.is_behind) == ([], {"invalid": 1}, True)
    (told,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert "app.yaml:3:7: unknown key `regoins`" in told
    assert "what was in force stays" in told
    watched.disk.put(error("the signature does not hold", VerificationError("…")))
    watched.look(2)
    assert watched.counted == {"invalid": 1, "untrusted": 1}
    watched.disk.put("two")
    watched.look(2)
    assert (watched.taken, watched.watch.is_behind) == (["two"], False)


def test_the_same_content_touched_is_the_same_and_nothing_is_behind(watched: Watched) -> None:
    for _ in range(2):
        watched.disk.put("two")
        watched.look(2)
    assert watched.counted == {"taken": 1, "same": 1}
    assert not watched.watch.is_behind


def test_what_cannot_be_recorded_is_tried_at_each_look_and_told_once(watched: Watched) -> None:
    watched.fails = JournalFull("no room")
    watched.disk.put("two")
    watched.look(6)
    assert (watched.disk.reads, watched.counted, watched.watch.is_behind) == (5, {"not_recorded": 1}, True)
    watched.fails = None
    watched.look()
    assert (watched.taken, watched.watch.is_behind) == (["two"], False)


def test_a_change_before_the_watch_begins_is_seen_by_it() -> None:
    watched = Watched()
    watched.disk.put("two")
    watched.watch = PolicyWatch(watched.disk, watched.take)
    watched.look(2)
    assert watched.taken == ["two"]


def test_the_thread_looks_outlives_a_look_that_fails_and_ends_when_told(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    def break_once() -> None:
        if watched.disk.reads == 1:
            raise OSError("the disk is away")

    watched.disk.while_reading = break_once
    watched.watch.start()
    watched.watch.start()
    watched.disk.put("two")
    assert watched.was_taken.wait(20)
    watched.watch.stop()
    watched.watch.stop()
    assert not any(thread.name == "residency-policy" for thread in threading.enumerate())
    assert "a look at the policy files failed" in caplog.text


def test_a_forked_child_watches_with_a_thread_of_its_own(watched: Watched) -> None:
    watched.watch.start()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watched.watch.start()
            watched.disk.put("two")
            code = 0 if watched.was_taken.wait(20) else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    watched.watch.stop()
