"""Options in, the whole demo out: server, proxy, crowd, scenes, the independent check, and an exit code.

It leaves no process behind however it ends, and wipes only a folder that it made itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from residency.adapters.mmdb import EMBEDDED
from residency.bootstrap import build
from residency.demo.client import Crowd
from residency.demo.feed import Feed
from residency.demo.ledger import Ledger
from residency.demo.places import CHECKER, DATABASES, POLICY, SINKS, places
from residency.demo.proxy import Proxy
from residency.demo.scenes import Scenes
from residency.demo.screen import Screen
from residency.demo.server import Server, ServerFailed, free_port
from residency.demo.tables import Base
from residency.demo.traffic import Addresses
from residency.integrations.sqlalchemy import create_all

__all__ = ["FolderTaken", "Options", "run"]

MARKER = ".residency-demo"
_QUIET = 1.5  # seconds without growth after which a log counts as published
_PUBLISH_LIMIT = 20.0


class FolderTaken(Exception):
    """The folder is not a demo's, or another demo works in it. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """`once` = free ports and no waiting at the end, a minute at most; `port` is where the server listens."""

    folder: Path
    once: bool = False
    port: int = 8000
    seed: int = 20260819


def run(options: Options) -> int:
    """Run the demo; 0 if every claim held, 130 if a signal cut it short. Raises: FolderTaken, with nothing touched."""
    with _own_folder(options.folder) as folder:
        try:
            return asyncio.run(_main(options, folder))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return 130  # ended by a signal before its end; nothing was left running


async def _main(options: Options, folder: Path) -> int:
    screen = Screen()
    began = time.monotonic()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel if task is not None else sys.exit)
    screen.title(
        "residency demo", "a small social API whose database always was in Singapore, and people of six countries"
    )
    token_key = secrets.token_hex(32).encode()
    _write_secret(folder / "app-token.key", token_key)
    server = Server(folder, free_port(None if options.once else options.port))
    ledger = Ledger(folder)
    try:
        screen.say("tables in both regions' databases, and real addresses sampled from the shipped country table …")
        await _create_tables(folder)
        addresses = await asyncio.to_thread(Addresses, EMBEDDED, options.seed)
        screen.say(f"$ DEMO_DATA={folder} python {' '.join(server.command[1:])}")
        await server.start()
        log = folder / "audit" / "log"
        async with Proxy(server.port, free_port(None if options.once else 8080)) as proxy:
            screen.say(f"serving on 127.0.0.1:{server.port} behind a forwarding proxy on 127.0.0.1:{proxy.port}")
            crowd = Crowd(ledger, proxy.port, token_key)
            feed = Feed(log)
            try:
                scenes = Scenes(
                    screen=screen, ledger=ledger, crowd=crowd, feed=feed, addresses=addresses, server=server,
                    seed=options.seed, leisurely=screen.tty and not options.once,
                )  # fmt: skip
                promised = await scenes.all()
                await _published(feed)
            finally:
                await crowd.aclose()
                addresses.close()
            if options.once:
                await server.stop()
            ledger.write({sink: f"{sink}.sqlite" for sink in DATABASES}, SINKS, log)
            screen.title(
                "the independent check",
                "a separate process with the standard library alone: it reads the databases and the log's bytes itself",
            )
            holds = await _check(screen, folder)
            good = holds and promised
            _summary(screen, ledger, folder, server, proxy, time.monotonic() - began, good, options.once)
            if not options.once:
                screen.say("serving; Ctrl-C ends it")
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            return 0 if good else 1
    except ServerFailed as failure:
        screen.say(str(failure), good=False)
        return 1
    finally:
        await server.stop()


async def _create_tables(folder: Path) -> None:
    """The deployment step that is an app's own migrations: the same tables in every sink."""
    stores = build(POLICY, env={**os.environ, "DEMO_DATA": str(folder)}).stores
    try:
        await stores.start()
        for store in ("people", "mail"):
            await create_all(Base.metadata, stores, store)
    finally:
        await stores.aclose()


async def _published(feed: Feed) -> None:
    """Wait until the log has stopped growing: what is in a journal only does not count yet."""
    loop = asyncio.get_running_loop()
    deadline, last, quiet_since = loop.time() + _PUBLISH_LIMIT, -1, loop.time()
    while loop.time() < deadline:
        for _ in feed.poll():
            pass
        if feed.size != last:
            last, quiet_since = feed.size, loop.time()
        elif loop.time() - quiet_since > _QUIET:
            return
        await asyncio.sleep(0.1)


async def _check(screen: Screen, folder: Path) -> bool:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-IS",
        str(CHECKER),
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    for line in output.decode(errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        marks = {"holds": True, "FAILS": False, "VERDICT": process.returncode == 0}
        screen.say(rest.strip() if word in marks else line, good=marks.get(word))
    return process.returncode == 0


def _summary(
    screen: Screen, ledger: Ledger, folder: Path, server: Server, proxy: Proxy, seconds: float, good: bool, once: bool
) -> None:
    screen.title("summary")
    screen.say(
        f"{len(ledger.requests)} requests in {seconds:.0f} s: {ledger.count('acknowledged')} acknowledged, "
        f"{ledger.count('refused')} refused by law, {ledger.count('rejected')} turned away by the app, "
        f"{ledger.count('unknown')} cut off by the kill"
    )
    screen.say("every claim holds" if good else "NOT every claim holds: see above", good=good)
    screen.facts(places(folder, None if once else server.port, None if once else proxy.port))


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


@contextlib.contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """The demo's folder, empty but for its marker, locked against a second demo. Raises: FolderTaken."""
    folder = folder.resolve()
    marker = folder / MARKER
    try:
        if folder.exists() and not marker.is_file() and any(folder.iterdir()):
            raise FolderTaken(f"{folder} is not a demo's folder and not empty; name another with --folder")
        folder.mkdir(parents=True, exist_ok=True)
        with marker.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FolderTaken(f"another demo works in {folder}; name another folder with --folder") from None
            for path in folder.iterdir():
                if path.name != MARKER:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            yield folder
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise FolderTaken(f"{folder} cannot be used as a folder: {error.strerror}") from None
