"""Address data as files in, one compiled table that all workers of an instance share by mmap out.

A source is read whole into memory and never mapped, so that a rewrite in place can tear nothing that is in force.
What is mapped is our own. In the tables' folder lie

    <digest>.table           a compiled table, named by its format and its sources' checksums; written once, by rename
    <configuration>.current  the name of the table that is in force for these source paths
    lock                     held by flock while a table is compiled and while `.current` moves: of many workers that
                             start at once one compiles, the others wait and map what it wrote

A crash leaves a `.tmp` at most, which the next writer removes. A folder that cannot be written costs one compilation
per process and a warning, nothing else; so does one that others may write to than who could rewrite the sources.

To compile takes seconds of pure Python. At a start nothing else waits; while a server serves it is done `apart`, in a
process of its own that gets the sources on its stdin and answers with the table, so that no request waits for it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib
import json
import logging
import mmap
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final, cast

from residency.errors import AddressDataUnavailable
from residency.signals.table import AddressTable
from residency.signals.table_sources import Mmdb, SourceFile, compiled, digest_of

__all__ = ["AddressTables", "Allow", "Content", "PackagedTable", "Sources", "open_table"]

_log = logging.getLogger("residency")
_KEPT: Final = 2  # compiled tables that are kept beside those in force
_APART: Final = 300.0  # seconds that a process may take to compile
_REFUSED: Final = 3  # its exit code where the sources cannot be used
_LARGEST: Final = 1 << 32  # bytes; an mmdb cannot point further

Allow = Callable[[Mapping[str, object], Mapping[str, object] | None], bool]
"""Asked, before a table comes into force, with its `meta` and the `meta` of the one that is, None where none is."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the address data lies. `database` is an mmdb of countries, `second` another that must agree; what tells a
    network's class: `lists`, an `anonymous_ip` mmdb, and an `asn` mmdb for the lists' AS lines."""

    database: Path
    second: Path | None = None
    lists: tuple[Path, ...] = ()
    anonymous_ip: Path | None = None
    asn: Path | None = None

    def files(self) -> tuple[tuple[str, Path], ...]:
        """(role, path) of each, in a fixed order."""
        found = [("database", self.database), ("second", self.second)]
        found += [("list", path) for path in self.lists]
        found += [("anonymous_ip", self.anonymous_ip), ("asn", self.asn)]
        return tuple((role, path) for role, path in found if path is not None)


@dataclass(frozen=True, slots=True)
class Content:
    """All sources as they were at one moment, whole in memory; `digest` names the table that they make."""

    files: tuple[SourceFile, ...]
    digest: str


class AddressTables:
    """The tables of one configuration of sources, in one folder, which several processes may share."""

    def __init__(self, sources: Sources, folder: Path, mmdb: Mmdb) -> None:
        self.sources = sources
        self._folder = folder
        self._mmdb = mmdb
        paths = "\0".join(f"{role}:{path.absolute()}" for role, path in sources.files())
        self._current = folder / f"{hashlib.sha256(paths.encode()).hexdigest()[:16]}.current"
        self._warned = False

    def stamp(self) -> Hashable:
        """What the file system says of every source: equal as long as none was touched. Never raises."""
        return tuple(_stamp(path) for _, path in self.sources.files())

    def read(self) -> Content:
        """Every source, whole. Raises AddressDataUnavailable for a file that cannot be read."""
        files = tuple(SourceFile(role, path.name, _whole(path, role)) for role, path in self.sources.files())
        return Content(files, digest_of(files))

    def in_force(self) -> AddressTable | None:
        """The table that was last in force for these sources on this machine; None where none was, or it is damaged."""
        name = self._named()
        return None if name is None else _prepared(self._folder / name)

    def prepare(self, content: Content, allow: Allow, *, apart: bool = False) -> AddressTable | None:
        """The table of `content`, compiled (`apart` or here) where it is not prepared, and from now on in force; None
        where it is not yet and `allow` says no: then nothing changes.

        Raises: AddressDataUnavailable for a source that does not parse whole.
        """
        path = self._folder / f"{content.digest}.table"
        # 1. Prepared and in force: nothing to judge and nothing to write, so a folder that is read-only will do.
        table = _prepared(path) if self._is_ours() else None
        if table is not None and self._named() == path.name:
            return table
        data = old = None
        try:
            with self._locked():
                # 2. Another process may have done it all while this one waited.
                table = table or _prepared(path)
                if table is not None and self._named() == path.name:
                    return table
                # 3. Compiled in memory, and judged before anybody sees it.
                if table is None:
                    data = self._compiled(content, apart)
                    table = AddressTable(data)
                old = self.in_force()
                if not allow(table.meta, old.meta if old is not None else None):
                    return None
                # 4. On disk, whole or not at all; then mapped, so that the bytes in memory can go.
                if data is not None:
                    _write(path, data)
                    table = _prepared(path) or table
                # 5. In force. A crash before this leaves the old one in force and the new one prepared.
                _write(self._current, path.name.encode())
                self._prune(path.name)
                return table
        except OSError as error:
            self._warn(error)
        if table is None:
            table = AddressTable(self._compiled(content, apart))
        old = old or self.in_force()
        return table if allow(table.meta, old.meta if old is not None else None) else None

    def _compiled(self, content: Content, apart: bool) -> bytes:
        if apart and isinstance(self._mmdb, ModuleType) and sys.executable:
            try:
                return _compiled_apart(content.files, self._mmdb.__name__)
            except OSError as error:  # no process to be had: better a slow moment than old data
                _log.warning("address data is compiled in this process, which may delay requests: %s", error)
        return compiled(content.files, self._mmdb)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not self._is_ours():
            raise PermissionError(errno.EPERM, "others may write to it")
        fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            # Said aloud: a child forked meanwhile holds the same open file, and closing ours alone leaves it locked.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _is_ours(self) -> bool:
        """Whether nobody may write to the folder but this user, root, and who owns a source and so decides anyway."""
        owners = {0, os.geteuid()}
        for _, path in self.sources.files():
            with suppress(OSError):
                owners.add(path.stat().st_uid)
        try:
            told = self._folder.stat()
        except OSError:
            return False
        return told.st_uid in owners and not told.st_mode & stat.S_IWOTH

    def _named(self) -> str | None:
        if not self._is_ours():
            return None
        try:
            name = self._current.read_text("ascii")
        except (OSError, ValueError):
            return None
        return name if name.endswith(".table") and "/" not in name else None

    def _prune(self, fresh: str) -> None:
        """Remove compiled tables beyond the newest few, but none that is in force, and what a crash left half written.

        A removed table stays mapped where it is mapped. The caller holds the lock, so nobody is writing.
        """
        for path in self._folder.glob("*.tmp"):
            path.unlink()
        held = {fresh, *(path.read_text("ascii", "replace") for path in self._folder.glob("*.current"))}
        aged = sorted(self._folder.glob("*.table"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in aged[_KEPT:]:
            if path.name not in held:
                path.unlink()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "the folder of compiled address tables cannot be used (%s): every process compiles its own",
                error.strerror or type(error).__name__,
            )


class PackagedTable:
    """The table that ships compiled, as it is: for a configuration that names no file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def stamp(self) -> Hashable:
        """Always the same: a release is not replaced while it runs."""
        return None

    def read(self) -> Content:
        """Nothing: the table is mapped, not read."""
        return Content((), self._path.name)

    def in_force(self) -> AddressTable | None:
        """None: a release is taken as it comes."""
        return None

    def prepare(self, content: Content, allow: Allow, *, apart: bool = False) -> AddressTable | None:
        """The table. Raises AddressDataUnavailable where the installation is damaged."""
        try:
            table = _map(self._path)
        except (OSError, ValueError) as error:
            raise AddressDataUnavailable("the embedded address table cannot be read") from error
        return table


def open_table(sources: Sources, folder: Path, mmdb: Mmdb) -> AddressTable:
    """The table of `sources` as they are now, prepared in `folder` or compiled there; nothing is judged or watched.

    Raises: AddressDataUnavailable.
    """
    tables = AddressTables(sources, folder, mmdb)
    table = tables.prepare(tables.read(), lambda new, old: True)
    if table is None:
        raise AddressDataUnavailable("the address data was not taken")
    return table


def _compiled_apart(files: Sequence[SourceFile], mmdb: str) -> bytes:
    """As `compiled`, in a process of its own; `mmdb` is the adapter module's name.

    Raises: AddressDataUnavailable as `compiled`; OSError where no process can be had, or it ends without an answer.
    """
    command = [sys.executable, "-m", __name__, mmdb]
    head = json.dumps([(file.role, file.name, len(file.data)) for file in files]).encode()
    told = b"\n".join((head, b"".join(file.data for file in files)))
    try:
        # A session of its own: a Ctrl-C at the terminal is the server's to answer, which may still want the table.
        # Not a shell, and our own interpreter.
        done = subprocess.run(command, input=told, capture_output=True, timeout=_APART, start_new_session=True)  # noqa: S603
    except subprocess.SubprocessError as error:
        raise OSError("the compiling process did not end in time") from error
    if done.returncode == _REFUSED:
        raise AddressDataUnavailable(done.stdout.decode())
    if done.returncode != 0:
        raise OSError(f"the compiling process ended with {done.returncode}")
    return done.stdout


def _main() -> int:
    """What the process of `_compiled_apart` does: sources on stdin, the table or the reason why not on stdout."""
    read = sys.stdin.buffer
    files = [SourceFile(role, name, read.read(size)) for role, name, size in json.loads(read.readline())]
    try:
        sys.stdout.buffer.write(compiled(files, cast("Mmdb", importlib.import_module(sys.argv[1]))))
    except AddressDataUnavailable as error:
        sys.stdout.buffer.write(str(error).encode())
        return _REFUSED
    return 0


def _stamp(path: Path) -> Hashable:
    try:
        told = path.stat()
    except OSError as error:
        return error.errno
    # ctime too: a copy may set the time of its source, but nothing that writes leaves ctime alone.
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _whole(path: Path, role: str) -> bytes:
    """The bytes of one file that nobody wrote to while they were read. Raises AddressDataUnavailable."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # asked first: to open a pipe would wait for its writer
            raise AddressDataUnavailable(f"`{path.name}` is no file", role)
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size > _LARGEST:
                raise AddressDataUnavailable(f"`{path.name}` is larger than an mmdb can be", role)
            data = file.read()
            after = os.fstat(file.fileno())
    except OSError as error:
        raise AddressDataUnavailable(f"`{path.name}` cannot be read: {error.strerror}", role) from error
    if before.st_mtime_ns != after.st_mtime_ns or len(data) != after.st_size:
        raise AddressDataUnavailable(f"`{path.name}` was written to while it was read", role)
    return data


def _map(path: Path) -> AddressTable:
    """A compiled table over a shared, read-only map. Raises OSError, ValueError (empty), AddressDataUnavailable."""
    with path.open("rb") as file:
        return AddressTable(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def _prepared(path: Path) -> AddressTable | None:
    """The table at `path`; None where there is none to read, and where it is damaged and wants compiling anew."""
    try:
        return _map(path)
    except (OSError, ValueError, AddressDataUnavailable):
        return None


def _write(path: Path, data: bytes) -> None:
    """Replace `path` whole and durably. The caller holds the folder's lock. Raises OSError."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


if __name__ == "__main__":
    sys.exit(_main())
