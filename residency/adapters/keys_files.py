"""The `Keys` port on local disk: one file of 32 raw bytes per key, readable by its owner alone.

`<folder>/<name>.ed25519` is the seed of a signing key, `<folder>/<name>.mldsa44` that of an ML-DSA-44 key,
`<folder>/<name>.secret` a secret. A key that others can read is no key: it is refused, not mended.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from residency.errors import KeysUnavailable
from residency.vault.key_ring import BYTES, KeyRing

__all__ = ["KeysFiles"]


class KeysFiles(KeyRing):
    """Keys below `folder`. With `create=True` a key that is missing is made on first use, once, whoever asks."""

    def __init__(self, folder: Path, *, create: bool = False, token: Callable[[int], bytes] = os.urandom) -> None:
        self._folder = folder
        self._create = create
        self._token = token
        self._read: dict[str, bytes] = {}

    def _bytes_of(self, name: str, kind: str) -> bytes:
        file = f"{name}.{kind}"
        value = self._read.get(file)
        if value is None:
            try:
                value = self._from_disk(file)
            except OSError as error:
                raise KeysUnavailable(f"key {file} cannot be read or made (errno {error.errno})") from error
            self._read[file] = value
        return value

    def _from_disk(self, file: str) -> bytes:
        path = self._folder / file
        if self._create and not path.exists():
            self._make(path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise KeysUnavailable(f"key {file} is missing") from None
        try:
            # Of the open file and not of the path: what is checked is what is read.
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
                raise KeysUnavailable(f"key {file} is open to others than its owner: chmod 600 and replace the key")
            value = os.read(fd, BYTES + 1)
        finally:
            os.close(fd)
        if len(value) != BYTES:
            raise KeysUnavailable(f"key {file} is not {BYTES} bytes")
        return value

    def _make(self, path: Path) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Keys that sign the log must not end up in version control with the code beside them.
        with suppress(FileExistsError):
            ignore = os.open(self._folder / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.write(ignore, b"*\n")
            os.close(ignore)
        temporary = path.with_name(f".{path.name}.{self._token(8).hex()}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, self._token(BYTES))
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            # A link, not a rename: of two processes that make the key at once, the first wins and both read its key.
            os.link(temporary, path)
        except FileExistsError:
            return
        finally:
            temporary.unlink()
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A crash before this may lose the name after a power cut, but then nothing signed by it was durable either.
            os.fsync(folder)
        finally:
            os.close(folder)
