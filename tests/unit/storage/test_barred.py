"""The set of barred sinks changes as a whole, tells its followers, and what stays barred is barred throughout."""

from __future__ import annotations

import threading

from residency.storage.barred import Barred


def test_it_holds_what_it_was_told_last_and_stays_the_same_object() -> None:
    barred = Barred()
    barred.bar(lambda: {"a", "b"})
    barred.bar(lambda: barred - {"a"})
    assert barred == {"b"}
    barred.bar(lambda: ())
    assert not barred


def test_who_follows_is_called_at_once_and_after_each_change() -> None:
    barred = Barred()
    seen: list[set[str]] = []
    barred.follow(lambda: seen.append(set(barred)))
    barred.bar(lambda: {"a"})
    barred.bar(lambda: ())
    assert seen == [set(), {"a"}, set()]


def test_of_two_who_bar_at_a_time_none_is_forgotten_and_what_stays_barred_is_never_out() -> None:
    barred = Barred()
    barred.bar(lambda: {"stays"})
    missed: list[int] = []

    def change(own: str) -> None:
        for turn in range(2_000):
            barred.bar(lambda: barred | {own})
            if own not in barred or "stays" not in barred:
                missed.append(turn)
            barred.bar(lambda: barred - {own})

    threads = [threading.Thread(target=change, args=(own,)) for own in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (missed, barred) == ([], {"stays"})
