"""Single bundles are proven to be in the tree, entry by entry, whatever the size of the tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.audit.bundles import ProvenBundles
from residency.audit.verify import read_checkpoint
from residency.cli.log_folder import reader
from residency.errors import VerificationError
from tests.audit_log import VERIFIER, write_log


def entry(number: int) -> bytes:
    return f"entry {number}".encode()


def proven(folder: Path) -> ProvenBundles:
    read = reader(folder)
    return ProvenBundles(read, read_checkpoint(read, VERIFIER))


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 700, 1025])
def test_every_entry_of_a_log_of_any_size_is_read_and_proven(tmp_path: Path, size: int) -> None:
    bundles = proven(write_log(tmp_path, [entry(number) for number in range(size)]))
    order = [*range(0, size, 7), *range(size - 1, -1, -11)]
    assert [bundles.entry(number) for number in order] == [entry(number) for number in order]


@pytest.mark.parametrize("changed", [0, 1, 100, 255, 256, 300, 511, 512, 513, 599])
def test_a_changed_entry_is_found_when_any_entry_of_its_bundle_is_read(tmp_path: Path, changed: int) -> None:
    write_log(tmp_path, [entry(number) for number in range(600)])
    (path,) = (tmp_path / "tile" / "entries").glob(f"{changed // 256:03d}*")
    path = path if path.is_file() else next(path.iterdir())
    path.write_bytes(path.read_bytes().replace(entry(changed), entry(changed).upper()))
    bundles = proven(tmp_path)
    with pytest.raises(VerificationError, match=f"tile/entries/{changed // 256:03d}"):
        bundles.entry(changed // 256 * 256)
    other = (changed // 256 * 256 + 256) % 768
    assert bundles.entry(other) == entry(other)


def test_numbers_outside_the_log_and_missing_files_are_told(tmp_path: Path) -> None:
    write_log(tmp_path, [entry(number) for number in range(300)])
    bundles = proven(tmp_path)
    for number in (-1, 300):
        with pytest.raises(VerificationError, match="is not in a log of 300"):
            bundles.entry(number)
    (tmp_path / "tile" / "entries" / "000").unlink()
    with pytest.raises(VerificationError, match="tile/entries/000 is missing"):
        bundles.entry(0)


def test_a_full_bundle_serves_where_the_partial_one_is_gone(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [entry(number) for number in range(300)])
    later = write_log(tmp_path / "later", [entry(number) for number in range(512)])
    (log / "tile" / "entries" / "001.p" / "44").unlink()
    (later / "tile" / "entries" / "001").rename(log / "tile" / "entries" / "001")
    assert proven(log).entry(299) == entry(299)
    with pytest.raises(VerificationError, match="is not in a log of 300"):
        proven(log).entry(300)
