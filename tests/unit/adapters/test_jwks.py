"""What was read last stays in force until something better is read or it is too old, and nothing on the way waits."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from residency.adapters.clock_manual import ManualClock
from residency.adapters.jwks import MAX_BYTES, Jwks, is_url, jwks_file, jwks_url
from residency.errors import KeysUnavailable

SECOND = 1_000_000
HOUR = 3_600 * SECOND


def parse(data: bytes, what: str) -> tuple[str, ...]:
    """Keys are words here; `!`, and nothing at all, is what does not parse."""
    if not data or b"!" in data:
        raise KeysUnavailable(f"{what} cannot be read as a set of keys")
    return tuple(data.decode().split())


class Source:
    """Bytes that the test changes; None = cannot be had. Counts its readings."""

    def __init__(self, data: bytes | None = b"k1") -> None:
        self.data = data
        self.readings = 0

    def __call__(self) -> bytes:
        self.readings += 1
        if self.data is None:
            raise KeysUnavailable("the source is away")
        return self.data


def keys_of(
    read: Callable[[], bytes], clock: ManualClock, *, refresh: int = HOUR, again: int = HOUR, least: int = 0
) -> Jwks[tuple[str, ...]]:
    """Keys that are believed for an hour."""
    return Jwks(
        read, "the set", parse, monotonic=clock.monotonic, refresh=refresh, stale_for=HOUR, again=again, least=least
    )


def until(holds: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.002)


def test_before_the_first_reading_there_are_no_keys() -> None:
    keys = keys_of(Source(), ManualClock())
    assert keys.age is None
    with pytest.raises(KeysUnavailable, match="was not read yet"):
        keys.keys()


def test_the_same_bytes_are_the_same_keys_and_are_young_again() -> None:
    clock, source = ManualClock(), Source()
    keys = keys_of(source, clock)
    assert keys.reread() is True
    first = keys.keys()
    clock.advance(60 * SECOND)
    assert keys.age == 60
    assert keys.reread() is False
    assert keys.keys() is first
    assert keys.age == 0


@pytest.mark.parametrize("bad", [None, b"!", b"x" * (MAX_BYTES + 1)])
def test_what_cannot_be_read_leaves_the_old_keys_in_force_and_says_so(bad: bytes | None) -> None:
    clock, source = ManualClock(), Source()
    keys = keys_of(source, clock)
    keys.reread()
    source.data = bad
    with pytest.raises(KeysUnavailable):
        keys.reread()
    assert keys.keys() == ("k1",)
    assert keys.problem is not None
    source.data = b"k2"
    assert keys.reread() is True
    assert keys.keys() == ("k2",)
    assert keys.problem is None


def test_keys_are_believed_up_to_the_limit_and_no_longer_and_again_once_read() -> None:
    clock, source = ManualClock(), Source()
    keys = keys_of(source, clock)
    keys.reread()
    clock.advance(HOUR)
    assert keys.keys() == ("k1",)
    clock.advance(1)
    with pytest.raises(KeysUnavailable, match="longer than its keys are believed"):
        keys.keys()
    keys.reread()
    assert keys.keys() == ("k1",)


def test_a_step_of_the_wall_clock_neither_ages_nor_rejuvenates_keys() -> None:
    clock = ManualClock()
    keys = keys_of(Source(), clock)
    keys.reread()
    clock.set_wall(0)
    clock.advance(HOUR + 1)
    with pytest.raises(KeysUnavailable):
        keys.keys()


def test_keys_are_as_old_as_the_beginning_of_their_reading() -> None:
    clock = ManualClock()

    def slow() -> bytes:
        clock.advance(10 * SECOND)
        return b"k1"

    keys = keys_of(slow, clock)
    keys.reread()
    assert keys.age == 10


def test_start_refuses_where_nothing_can_be_read_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())  # of which some may end meanwhile
    with pytest.raises(KeysUnavailable, match="the source is away"):
        keys_of(Source(None), ManualClock()).start()
    until(lambda: set(threading.enumerate()) <= before)


def test_an_error_that_is_not_ours_is_told_by_its_kind() -> None:
    def broken() -> bytes:
        raise LookupError("https://user:secret@id.example")

    with pytest.raises(KeysUnavailable, match=r"the set cannot be read \(LookupError\)") as caught:
        keys_of(broken, ManualClock()).start()
    assert "secret" not in str(caught.value)


def test_the_thread_reads_again_on_its_own_until_it_is_stopped() -> None:
    source = Source()
    keys = keys_of(source, ManualClock(), refresh=2_000)
    keys.start()
    try:
        until(lambda: source.readings > 3)
        source.data = b"k1 k2"
        until(lambda: keys.keys() == ("k1", "k2"))
    finally:
        keys.stop()
    done = source.readings
    time.sleep(0.02)
    assert source.readings == done
    keys.stop()


def test_started_twice_is_one_thread_and_stopped_it_can_be_started_again() -> None:
    source = Source()
    keys = keys_of(source, ManualClock())
    keys.start()
    thread = keys._thread
    keys.start()
    assert keys._thread is thread
    keys.stop()
    source.data = b"k2"
    keys.start()
    until(lambda: keys.keys() == ("k2",))
    keys.stop()


def test_one_that_was_stopped_for_longer_than_its_keys_are_believed_reads_before_it_is_started() -> None:
    clock, source = ManualClock(), Source()
    keys = keys_of(source, clock)
    keys.start()
    keys.stop()
    clock.advance(2 * HOUR)
    source.data = b"k2"
    keys.start()
    assert keys.keys() == ("k2",)
    keys.stop()
    clock.advance(2 * HOUR)
    source.data = None
    with pytest.raises(KeysUnavailable, match="the source is away"):
        keys.start()


def test_a_token_of_an_unknown_key_has_the_source_read_soon() -> None:
    source = Source()
    keys = keys_of(source, ManualClock())
    keys.start()
    try:
        until(lambda: source.readings == 1)
        source.data = b"k1 k2"
        keys.wake()
        until(lambda: keys.keys() == ("k1", "k2"))
    finally:
        keys.stop()


def test_any_number_of_unknown_keys_has_it_read_once_per_interval() -> None:
    source = Source()
    keys = keys_of(source, ManualClock(), least=HOUR)
    keys.start()
    try:
        until(lambda: source.readings == 1)
        for _ in range(1_000):
            keys.wake()
        time.sleep(0.05)
        assert source.readings == 1
    finally:
        keys.stop()


def test_a_source_that_hangs_neither_holds_up_a_request_nor_the_end() -> None:
    hanging, let_go = threading.Event(), threading.Event()
    source = Source()

    def read() -> bytes:
        data = source()
        if source.readings > 1:
            hanging.set()
            let_go.wait(30)
        return data

    keys = keys_of(read, ManualClock())
    keys.start()
    until(lambda: source.readings == 1)
    keys.wake()
    until(hanging.is_set)
    assert keys.keys() == ("k1",)
    keys.wake()
    thread = keys._thread
    assert thread is not None
    keys.stop()
    let_go.set()
    thread.join(30)
    assert not thread.is_alive()


def test_how_things_stand_is_logged_once_per_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="residency")
    clock, source = ManualClock(), Source()
    keys = keys_of(source, clock)
    told = keys._try("well")
    for data, ahead in ((None, 0), (None, 0), (b"!", 0), (None, HOUR + 1), (None, 0), (b"k2", 0), (b"k2", 0)):
        source.data = data
        clock.advance(ahead)
        told = keys._try(told)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the source is away; the keys read before stay in force for a while"),
        ("ERROR", "the source is away; requests with a token are refused until it can be read"),
        ("WARNING", "the set can be read again"),
    ]


# -- files -----------------------------------------------------------------------------------------------------------


def of_file(path: Path) -> Jwks[tuple[str, ...]]:
    """The keys of a file, looked at every two milliseconds once started."""
    return jwks_file(path, parse, monotonic=ManualClock().monotonic, stale_for=HOUR, every=2_000)


def test_a_file_is_read_at_once_and_anew_when_it_is_replaced_or_rewritten_or_torn(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text("k1")
    keys = of_file(path)
    assert keys.keys() == ("k1",)
    keys.start()
    try:
        (tmp_path / "new").write_text("k2")
        (tmp_path / "new").rename(path)
        until(lambda: keys.keys() == ("k2",))
        path.write_text("k3")  # of the same length, perhaps within one tick of the file system's clock
        until(lambda: keys.keys() == ("k3",))
        path.write_text("!")
        until(lambda: keys.problem is not None)
        assert keys.keys() == ("k3",)
        path.unlink()
        until(lambda: keys.problem == "JWKS file `jwks.json` cannot be read")
        assert keys.keys() == ("k3",)
        path.write_text("k4")
        until(lambda: keys.keys() == ("k4",))
    finally:
        keys.stop()


def test_a_file_that_is_missing_or_does_not_parse_is_refused_at_once_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("!")
    for name in ("absent.json", "bad.json"):
        with pytest.raises(KeysUnavailable, match=f"JWKS file `{name}` cannot be read") as caught:
            of_file(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


# -- URLs ------------------------------------------------------------------------------------------------------------


def of_url(url: str) -> Jwks[tuple[str, ...]]:
    """The keys of a URL, of which nothing is fetched."""
    return jwks_url(url, parse, monotonic=ManualClock().monotonic, refresh=HOUR, stale_for=HOUR)


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example/.well-known/jwks.json",
        "https://id.example:8443/keys?p=policy",
        "http://127.0.0.1:8000/jwks",
        "http://localhost/jwks",
        "http://[::1]:8000/jwks",
    ],
)
def test_https_is_taken_and_http_on_this_machine(url: str) -> None:
    assert is_url(url)
    assert of_url(url).age is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://id.example/jwks", "must be https"),
        ("http://10.0.0.1/jwks", "must be https"),
        ("http://localhost.example/jwks", "must be https"),
        ("http://127.0.0.1.nip.example/jwks", "must be https"),
        ("http://127.0.0.1@id.example/jwks", "must be https"),
        ("https://user:pw-7@id.example/jwks", "no user and no password"),
        ("https://user@id.example/jwks", "no user and no password"),
        ("ftp://id.example/jwks", "no https address"),
        ("file:///etc/jwks.json", "no https address"),
        ("https:///jwks", "no https address"),
        ("https://id.example/a b", "no https address"),
        ("https://id.example/\n", "no https address"),
        ("https://[::1/jwks", "cannot be read as one"),
        ("https://id.example:99999/jwks", "cannot be read as one"),
    ],
)
def test_any_other_address_is_refused_at_once_and_not_shown(url: str, why: str) -> None:
    with pytest.raises(KeysUnavailable, match=why) as caught:
        of_url(url)
    assert "example" not in str(caught.value)
    assert "pw-7" not in str(caught.value)


def test_without_httpx_a_url_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(KeysUnavailable, match=r"pip install 'residency\[http\]'"):
        of_url("https://id.example/jwks")


def test_a_path_is_no_url() -> None:
    assert not is_url("keys/jwks.json")
    assert not is_url("/etc/keys/jwks.json")
