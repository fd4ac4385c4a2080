"""In: nothing but PostgreSQL's programs. Out: real servers, one per region, each on a loopback address of its own.

    with postgres_pair() as pair:
        url = pair.vn.url("asyncpg", pair.vn.database())

A server is killed, paused, resumed and started anew on the same address; a standby or one on a small disk is made of
the same parts. All of them end with the block they were made in.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.ports import free_port

__all__ = ["PASSWORD", "USER", "Pair", "Postgres", "find_postgres", "own", "postgres_pair"]

USER, PASSWORD = "app", "Sesam-oeffne-dich-4711"  # nowhere else: what tells of it has leaked it
VN_ADDRESS, SG_ADDRESS = "127.0.0.2", "127.0.0.3"
_SETTINGS = {
    "unix_socket_directories": "",
    "fsync": "off",  # no test of ours cuts this server's power
    "max_connections": "60",
    "max_prepared_transactions": "5",
    "wal_level": "replica",
    "max_wal_senders": "3",
    "log_min_messages": "warning",
}


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's programs: the newest of Debian's, else the one on PATH, else None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def _run(*argv: str | Path, **options: Any) -> None:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False, user=_user(), **options)
    if done.returncode != 0:
        raise AssertionError(f"{argv[0]} failed: {done.stderr[-2000:]}")


def _user() -> str | None:
    """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
    return "postgres" if os.geteuid() == 0 else None


def own(path: Path) -> None:
    """Give `path` to the user that runs the servers."""
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


class Postgres:
    """One server process on one address."""

    def __init__(self, programs: Path, folder: Path, address: str) -> None:
        self.programs, self.folder, self.address = programs, folder, address
        self.data = folder / "data"
        self.port = free_port(address)
        self._process: subprocess.Popen[bytes] | None = None
        self._count = itertools.count()
        own(folder)

    def make(self) -> Postgres:
        """An empty cluster whose only user has a password."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        _run(
            self.programs / "initdb", "--no-sync", "-D", self.data, "-U", USER, "-A", "md5",
            f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        return self

    def standby_of(self, primary: Postgres) -> Postgres:
        """A copy of `primary` that follows it."""
        _run(
            primary.programs / "pg_basebackup", "-D", self.data, "-R", "-c", "fast", "--no-sync",
            "-h", primary.address, "-p", str(primary.port), "-U", USER,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )  # fmt: skip
        return self

    def start(self, **settings: str) -> Postgres:
        """Start, and wait until it takes connections."""
        said = {**_SETTINGS, "listen_addresses": self.address, "port": str(self.port), **settings}
        options = [word for name, value in said.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.data), *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=_user(), cwd="/", start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 30
        while True:
            try:
                self.query("SELECT 1")
                return self
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT is a crash to PostgreSQL, and leaves no process behind."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
                self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def query(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as an administrator, outside any transaction; its rows."""
        with psycopg.connect(self.dsn(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []

    def database(self) -> str:
        """A new, empty database's name."""
        name = f"people_{next(self._count)}"
        self.query(f"CREATE DATABASE {name} STRATEGY = wal_log")
        return name

    def emptied(self) -> str:
        """The name of one database that is the same each time, with nothing in it and nobody connected."""
        if not self.query("SELECT 1 FROM pg_database WHERE datname = 'emptied'"):
            self.query("CREATE DATABASE emptied STRATEGY = wal_log")
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'emptied' AND pid <> pg_backend_pid(); "
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; "
            "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
            "emptied",
        )
        return "emptied"

    def dsn(self, database: str) -> str:
        """How libpq reaches it."""
        return f"host={self.address} port={self.port} user={USER} password={PASSWORD} dbname={database}"

    def url(self, driver: str, database: str, *, port: int | None = None, password: str = PASSWORD) -> str:
        """SQLAlchemy's URL of a database, through `port` of this machine where a proxy stands before it."""
        where = f"{self.address}:{self.port}" if port is None else f"127.0.0.1:{port}"
        return f"postgresql+{driver}://{USER}:{password}@{where}/{database}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers, one per region."""

    vn: Postgres
    sg: Postgres


@contextmanager
def new_server(address: str = VN_ADDRESS, folder: Path | None = None) -> Iterator[Postgres]:
    """A server that is not made yet, with its data in `folder` (None = a new one, taken away afterwards)."""
    programs = find_postgres()
    if programs is None:
        raise AssertionError("mark this test with needs('postgres')")
    made = Path(tempfile.mkdtemp(prefix="residency-postgres-")) if folder is None else folder
    made.chmod(0o755)
    server = Postgres(programs, made, address)
    try:
        yield server
    finally:
        server.stop()
        if folder is None:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def postgres_pair() -> Iterator[Pair]:
    """Two running servers. Mark the test `needs("postgres")`."""
    with new_server(VN_ADDRESS) as vn, new_server(SG_ADDRESS) as sg:
        yield Pair(vn.make().start(), sg.make().start())
