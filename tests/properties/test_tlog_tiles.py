"""A log folder holds what C2SP tlog-tiles asks for and nothing else, at every size for which a checkpoint was signed.

Paths, widths and hashes are worked out here from the document, without the package's own tiles and tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from residency.audit.checkpoint import verify_checkpoint
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.audit.verify import verify_entries
from tests.audit_log import ORIGIN, SIGNER, VERIFIER

Files = dict[str, bytes]
SIZES = st.lists(st.one_of(st.integers(1, 9), st.integers(200, 600)), min_size=1, max_size=5)


def entry(number: int) -> bytes:
    return b"%d" % number * (number % 40)


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def path(level: str, number: int, width: int) -> str:
    digits = f"{number:03d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return (
        f"tile/{level}/"
        + "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
        + ("" if width == 256 else f".p/{width}")
    )


def asked_for(size: int) -> Files:
    """Every file that a log of `size` entries must serve, but the checkpoint."""
    files: Files = {}
    entries = [entry(number) for number in range(size)]
    level = 0
    while size >> (8 * level):
        hashes = size >> (8 * level)
        for number in range((hashes + 255) // 256):
            width = min(256, hashes - number * 256)
            span = 256**level
            starts = [(number * 256 + i) * span for i in range(width)]
            files[path(str(level), number, width)] = b"".join(tree_hash(entries[s : s + span]) for s in starts)
            if level == 0:
                bundle = entries[number * 256 : number * 256 + width]
                files[path("entries", number, width)] = b"".join(len(e).to_bytes(2, "big") + e for e in bundle)
        level += 1
    return files


@settings(max_examples=15, deadline=None)
@given(SIZES)
@example([255, 1, 1])
@example([256, 256])
@example([70_000])
def test_a_log_holds_the_files_of_every_size_it_signed_less_partial_ones_whose_full_one_is_there(
    growth: list[int],
) -> None:
    files: Files = {}
    tree, signed, notes = Tree(), [], []
    for count in growth:
        entries = [entry(number) for number in range(tree.size, tree.size + count)]
        tree, steps = plan_commit(tree, entries, {}, SIGNER, ORIGIN)
        for step in steps:
            if step.kind is StepKind.PRUNE:
                files = {name: data for name, data in files.items() if not name.startswith(f"{step.path}/")}
            elif step.kind is not StepKind.STATE:
                files[step.path] = step.data
        signed.append(tree.size)
        notes.append(files.pop("checkpoint"))
    wanted: Files = {}
    for size in signed:
        wanted |= asked_for(size)
    replaced = {name for name in wanted if ".p/" in name and name.partition(".p/")[0] in wanted}
    assert files == {name: data for name, data in wanted.items() if name not in replaced}
    # And each checkpoint that was ever signed is verified by what is there now.
    for size, note in zip(signed, notes, strict=True):
        checkpoint = verify_checkpoint(note, VERIFIER)
        assert (checkpoint.size, checkpoint.root) == (size, tree_hash([entry(number) for number in range(size)]))
        assert list(verify_entries(files.get, checkpoint)) == [entry(number) for number in range(size)]


def test_paths_are_those_of_the_document() -> None:
    assert path("0", 1234067, 256) == "tile/0/x001/x234/067"
    sizes = [name for name in asked_for(70_000) if "entries" not in name]
    assert len([name for name in sizes if name.startswith("tile/0/") and ".p/" not in name]) == 273
    assert [name for name in sizes if ".p/" in name] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert "tile/1/000" in sizes
    assert list(asked_for(256)) == ["tile/0/000", "tile/entries/000", "tile/1/000.p/1"]
