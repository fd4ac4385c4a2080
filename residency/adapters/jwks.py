"""Where the keys of identity tokens come from: a JWKS file or an https URL in; the keys that hold now, out.

A thread reads the source anew; a request only looks at what is there, and never waits. What cannot be read or does not
parse leaves the old keys in force, for `stale_for` after the last good reading and no longer: a key that was withdrawn
while we could not hear of it must not verify for ever.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from residency.errors import KeysUnavailable

__all__ = ["MAX_BYTES", "Jwks", "check_url", "is_url", "jwks_file", "jwks_url"]

_log = logging.getLogger("residency")
MAX_BYTES: Final = 262_144
"""Bytes of the longest JWKS that is read."""
_FILE_EVERY: Final = 5_000_000  # microseconds; a few kilobytes of a local file are cheap to read
_AGAIN: Final = 30_000_000
_LEAST: Final = 10_000_000
_DEADLINE: Final = 5.0  # seconds for one fetch, from looking up the name to the last byte

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class _Got(Generic[K]):
    """One good reading: the keys, the bytes they came from, when it was last confirmed (monotonic, microseconds)."""

    keys: K
    data: bytes
    at: int


class Jwks(Generic[K]):
    """Keys that are read anew in the background; `adapters.jwt.KeySource` by shape. Made by `jwks_file`, `jwks_url`."""

    def __init__(
        self,
        read: Callable[[], bytes],
        what: str,
        parse: Callable[[bytes, str], K],
        *,
        monotonic: Callable[[], int],
        refresh: int,
        stale_for: int,
        again: int = _AGAIN,
        least: int = _LEAST,
    ) -> None:
        """`read` answers the bytes or raises KeysUnavailable; `what` names the source in messages; `parse` makes keys
        of bytes or raises KeysUnavailable. Microseconds: `refresh` between two readings, `again` after one that
        failed, `least` between two at all; `stale_for` is how long the last good one is believed."""
        self._read = read
        self._what = what
        self._parse = parse
        self._monotonic = monotonic
        self._refresh = refresh
        self._stale_for = stale_for
        self._again = min(again, refresh)
        self._least = least
        self._got: _Got[K] | None = None
        self._asked = False
        self._stop, self._bell = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.problem: str | None = None
        """Why the last reading failed; None while all is well."""

    # -- on the request path: nothing waits ----------------------------------------------------------------------

    def keys(self) -> K:
        """The keys that hold now: the same object until others are read. Raises: KeysUnavailable."""
        got = self._got
        if got is None:
            raise KeysUnavailable(f"{self._what} was not read yet")
        if self._monotonic() - got.at > self._stale_for:
            raise KeysUnavailable(f"{self._what} could not be read for longer than its keys are believed")
        return got.keys

    def wake(self) -> None:
        """Ask for a reading soon; asking again before it comes costs and changes nothing."""
        if not self._asked:
            self._asked = True
            self._bell.set()

    @property
    def age(self) -> float | None:
        """Seconds since the keys were last read or confirmed; None where they never were."""
        got = self._got
        return None if got is None else (self._monotonic() - got.at) / 1_000_000

    # -- in the background ---------------------------------------------------------------------------------------

    def reread(self) -> bool:
        """Read the source now, in this thread; whether other keys hold since. Raises: KeysUnavailable; then the old
        ones stay."""
        at = self._monotonic()  # before the reading: what it shows was so then
        old = self._got
        try:
            data = self._read()
            if len(data) > MAX_BYTES:
                raise KeysUnavailable(f"{self._what} is longer than {MAX_BYTES} bytes")
            # The same bytes are the same keys, and tokens that they verified need not be verified again.
            keys = old.keys if old is not None and old.data == data else self._parse(data, self._what)
        except KeysUnavailable as error:
            self.problem = str(error)
            raise
        self._got = _Got(keys, data, at)
        self.problem = None
        return old is None or keys is not old.keys

    def start(self) -> None:
        """Have keys, and go on reading in a thread until `stop`. Blocks for the first reading where there are no keys
        that could be believed. A thread does not survive a fork: in the worker, this starts it anew.

        Raises: KeysUnavailable where the first reading fails; then no thread runs.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        # All new: what a thread of the parent process held when it forked is held for ever here.
        self._stop, self._bell, self._asked = threading.Event(), threading.Event(), False
        first = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop, self._bell, first), name="residency-jwks", daemon=True
        )
        self._thread.start()
        if not self._holds():
            first.wait()
        if not self._holds():
            self.stop()
            raise KeysUnavailable(self.problem or f"{self._what} cannot be read")

    def stop(self) -> None:
        """End the thread; idempotent. One that waits for an answer is left to its deadline: it holds nothing."""
        thread, self._thread = self._thread, None
        self._stop.set()
        self._bell.set()
        if thread is not None:
            thread.join(0.5)

    def _holds(self) -> bool:
        try:
            self.keys()
        except KeysUnavailable:
            return False
        return True

    def _run(self, stop: threading.Event, bell: threading.Event, first: threading.Event) -> None:
        told = "well"
        while not stop.is_set():
            bell.clear()
            self._asked = False
            told = self._try(told)
            first.set()
            began = self._monotonic()
            if bell.wait((self._refresh if told == "well" else self._again) / 1_000_000):
                # Strangers can name keys that nobody has: all of them together get one reading, and not at once.
                stop.wait(max(0, self._least - (self._monotonic() - began)) / 1_000_000)

    def _try(self, told: str) -> str:
        """Read once, and log what changed since `told`: how things stand is said once, not at each reading."""
        try:
            self.reread()
            state = "well"
        except Exception as error:  # noqa: BLE001 - whatever it was, the thread must live to try again
            if not isinstance(error, KeysUnavailable):
                self.problem = f"{self._what} cannot be read ({type(error).__name__})"
            state = "failing" if self._holds() else "stale"
        if state != told:
            if state == "well":
                _log.warning("%s can be read again", self._what)  # as loud as what it ends
            elif state == "failing":
                _log.warning("%s; the keys read before stay in force for a while", self.problem)
            else:
                _log.error("%s; requests with a token are refused until it can be read", self.problem)
        return state


def is_url(jwks: str) -> bool:
    """Whether a deployment's `jwks` is a URL and not a path."""
    return "://" in jwks


def jwks_file(
    path: Path,
    parse: Callable[[bytes, str], K],
    *,
    monotonic: Callable[[], int],
    stale_for: int,
    every: int = _FILE_EVERY,
) -> Jwks[K]:
    """The keys of a file, read at once and then `every` so many microseconds, so that a file replaced or rewritten in
    place needs no restart. A file that is being written does not parse; it is read again.

    Raises: KeysUnavailable for a file that is missing or does not parse.
    """
    what = f"JWKS file `{path.name}`"

    def read() -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError:
            raise KeysUnavailable(f"{what} cannot be read") from None

    source = Jwks(read, what, parse, monotonic=monotonic, refresh=every, stale_for=stale_for)
    source.reread()
    return source


def jwks_url(
    url: str,
    parse: Callable[[bytes, str], K],
    *,
    monotonic: Callable[[], int],
    refresh: int,
    stale_for: int,
    deadline: float = _DEADLINE,
    again: int = _AGAIN,
    least: int = _LEAST,
) -> Jwks[K]:
    """The keys that `url` answers, fetched by `start` and then every `refresh` microseconds; `deadline` in seconds for
    one fetch as a whole. Nothing is fetched here.

    Raises: KeysUnavailable for a URL that is not https (http on this machine), and where httpx is not installed.
    """
    what = "JWKS URL"
    here = check_url(url)
    try:
        import httpx
    except ImportError:
        raise KeysUnavailable("a JWKS URL needs the extra `http`: pip install 'residency[http]'") from None
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        raise KeysUnavailable("JWKS URL cannot be read as one") from None

    async def fetch() -> bytes:
        # Redirects are not followed: whoever can send us elsewhere could choose our keys. Compression is not asked
        # for: a small answer could unpack to a huge one. A proxy of the environment is not for this machine.
        headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
        async with (
            asyncio.timeout(deadline),
            httpx.AsyncClient(follow_redirects=False, timeout=deadline, trust_env=not here) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                where = " (a redirect: name the address it leads to)" if answer.is_redirect else ""
                raise KeysUnavailable(f"{what} answered {answer.status_code}{where}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise KeysUnavailable(f"{what} answered in an encoding that was not asked for")
            data = bytearray()
            async for chunk in answer.aiter_raw():
                data += chunk
                if len(data) > MAX_BYTES:
                    break
            return bytes(data)

    def read() -> bytes:
        try:
            return asyncio.run(fetch())
        except (TimeoutError, httpx.TimeoutException):
            raise KeysUnavailable(f"{what} did not answer within {deadline:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            # Only its kind: the library's message may show the URL.
            raise KeysUnavailable(f"{what} cannot be reached ({type(error).__name__})") from None

    return Jwks(read, what, parse, monotonic=monotonic, refresh=refresh, stale_for=stale_for, again=again, least=least)


def check_url(url: str) -> bool:
    """Whether `url` leads to this machine. Nothing is fetched.

    Raises: KeysUnavailable for one that may not be: not https (http on this machine), or with a user or a password.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        secret = parts.username is not None or parts.password is not None or parts.port == 0
    except ValueError:
        raise KeysUnavailable("JWKS URL cannot be read as one") from None
    here = _loopback(host)
    if not host or parts.scheme not in ("https", "http") or not url.isprintable() or " " in url:
        raise KeysUnavailable("JWKS URL is no https address")
    if parts.scheme == "http" and not here:
        raise KeysUnavailable("JWKS URL must be https: whoever is on the way could choose the keys")
    if secret:
        raise KeysUnavailable("JWKS URL may carry no user and no password")
    return here


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
