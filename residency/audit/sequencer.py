"""One commit of the log, worked out: tree state and new entries in, the exact ordered list of writes out.

The order is the safety argument; whoever carries it out stops at the first step that fails, and starts again from the
state on disk:

    1. tiles and bundles   a crash leaves files that no checkpoint covers; the next run writes them again, perhaps with
                           other entries, which nobody was ever promised
    2. the state           size, root and cursors, replaced at once; a crash before it repeats the commit from the old
                           cursors, so nothing is lost or doubled; a crash after it leaves a checkpoint that lags
    3. the checkpoint      published from the state, and published again at start if it lags; never ahead of it
    4. pruning             partial tiles that a full tile has replaced; a crash leaves files that nobody reads
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from residency.audit.checkpoint import Checkpoint, Signer, format_checkpoint, format_note
from residency.audit.journal import RECORDS_AT
from residency.audit.merkle import leaf_hash, leaf_hashes, node_hash, root_of
from residency.audit.tiles import (
    TILE_WIDTH,
    bundle_path,
    format_bundle,
    parse_bundle,
    parse_tile,
    tile_path,
    tile_sizes,
)
from residency.errors import VerificationError

__all__ = [
    "CHECKPOINT_PATH",
    "STATE_PATH",
    "VKEY_PATH",
    "Cursor",
    "State",
    "Step",
    "StepKind",
    "Tree",
    "format_state",
    "load_tree",
    "parse_state",
    "plan_commit",
    "plan_publication",
]

CHECKPOINT_PATH: Final = "checkpoint"
VKEY_PATH: Final = "log.vkey"
STATE_PATH: Final = "sequencer.json"
_STATE_VERSION: Final = 1

Read = Callable[[str], bytes | None]
"""`read(path)`: the bytes of a file below the log folder, None where there is none."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to read on in one slot's journal: segment, offset in it, number of the next entry."""

    segment: int = 0
    offset: int = RECORDS_AT
    seq: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What the sequencer must remember: how much of each journal is in the tree, and the tree's size and root."""

    origin: str
    size: int
    root: bytes
    cursors: Mapping[int, Cursor]


@dataclass(frozen=True, slots=True)
class Tree:
    """The right edge of the tree: of each tile level the hashes of its partial tile, and the partial bundle."""

    size: int = 0
    edges: tuple[tuple[bytes, ...], ...] = ()
    bundle: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """The root over all entries."""
        # Each edge is a row of perfect subtrees, 256 times as high as those of the edge below, and to their left.
        accumulated: bytes | None = None
        for edge in self.edges:
            for start, stop in _rows(len(edge)):
                subtree = root_of(edge[start:stop])
                accumulated = subtree if accumulated is None else node_hash(subtree, accumulated)
        return root_of(()) if accumulated is None else accumulated


class StepKind(enum.Enum):
    """What a step touches; the order of the members is the order of the steps."""

    TILE = "tile"
    STATE = "state"
    CHECKPOINT = "checkpoint"
    PRUNE = "prune"


@dataclass(frozen=True, slots=True)
class Step:
    """One durable, atomic write of `data` to `path`, or the removal of the folder `path` (PRUNE)."""

    kind: StepKind
    path: str
    data: bytes = field(repr=False, default=b"")


def plan_commit(
    tree: Tree,
    entries: Sequence[bytes],
    cursors: Mapping[int, Cursor],
    signer: Signer,
    origin: str,
    *,
    between: Callable[[], None] | None = None,
) -> tuple[Tree, tuple[Step, ...]]:
    """The grown tree, and the steps that commit it; `cursors` say where each journal is to be read on afterwards.

    `between` is called between bundles, for whoever must not be busy for long.
    """
    levels: list[list[bytes]] = [list(edge) for edge in tree.edges]
    before = [len(edge) for edge in levels]
    bundle = list(tree.bundle)
    steps: list[Step] = []
    prune: list[Step] = []
    index, taken = tree.size, 0
    while taken < len(entries):
        some = entries[taken : taken + TILE_WIDTH - len(bundle)]
        taken += len(some)
        index += len(some)
        bundle.extend(some)
        if len(bundle) == TILE_WIDTH:
            number = (index >> 8) - 1
            steps.append(Step(StepKind.TILE, bundle_path(number), format_bundle(bundle)))
            prune.append(Step(StepKind.PRUNE, bundle_path(number) + ".p"))
            bundle = []
        _push(levels, 0, leaf_hashes(some), index, steps, prune)
        if between is not None and taken < len(entries):
            between()
    if bundle and entries:
        steps.append(Step(StepKind.TILE, bundle_path(index >> 8, len(bundle)), format_bundle(bundle)))
    for level, (_, full, width) in enumerate(tile_sizes(index)):
        moved = level >= len(before) or index >> (8 * level) != tree.size >> (8 * level)
        if width and moved:
            steps.append(Step(StepKind.TILE, tile_path(level, full, width), b"".join(levels[level])))
    grown = Tree(index, tuple(map(tuple, levels)), tuple(bundle))
    state = State(origin, index, grown.root(), cursors)
    steps.append(Step(StepKind.STATE, STATE_PATH, format_state(state)))
    steps.extend(plan_publication(state, signer))
    return grown, (*steps, *prune)


def plan_publication(state: State, signer: Signer) -> tuple[Step, ...]:
    """The step that publishes `state` as a signed checkpoint."""
    text = format_checkpoint(Checkpoint(state.origin, state.size, state.root))
    return (Step(StepKind.CHECKPOINT, CHECKPOINT_PATH, format_note(text, signer)),)


def _push(
    levels: list[list[bytes]], level: int, values: list[bytes], size: int, steps: list[Step], prune: list[Step]
) -> None:
    """Add hashes to a level's edge, which they fill at most; a full edge becomes a tile, and its root goes up."""
    if level == len(levels):
        levels.append([])
    edge = levels[level]
    edge.extend(values)
    if len(edge) < TILE_WIDTH:
        return
    path = tile_path(level, (size >> (8 * (level + 1))) - 1)
    steps.append(Step(StepKind.TILE, path, b"".join(edge)))
    prune.append(Step(StepKind.PRUNE, path + ".p"))
    root = root_of(edge)
    edge.clear()
    _push(levels, level + 1, [root], size, steps, prune)


def _rows(width: int) -> list[tuple[int, int]]:
    """(start, stop) of the perfect subtrees in an edge `width` hashes wide, smallest (rightmost) first."""
    rows: list[tuple[int, int]] = []
    stop = width
    while stop:
        start = stop & (stop - 1)
        rows.append((start, stop))
        stop = start
    return rows


def load_tree(size: int, read: Read) -> Tree:
    """The right edge of the tree of `size` entries, read back from its tiles. Raises: VerificationError."""
    edges: list[tuple[bytes, ...]] = []
    bundle: tuple[bytes, ...] = ()
    for level, full, width in tile_sizes(size):
        path = tile_path(level, full, width)
        edges.append(parse_tile(_must_read(read, path), width, path) if width else ())
        if level == 0 and width:
            of = bundle_path(full, width)
            bundle = parse_bundle(_must_read(read, of), width, of)
            if tuple(map(leaf_hash, bundle)) != edges[0]:
                raise VerificationError(f"{of} and {path} differ, the last bundle of the log and its tile")
    return Tree(size, tuple(edges), bundle)


def _must_read(read: Read, path: str) -> bytes:
    data = read(path)
    if data is None:
        raise VerificationError(f"{path} is missing from the log")
    return data


def format_state(state: State) -> bytes:
    """The state file: canonical JSON with a checksum of the rest."""
    document: dict[str, object] = {
        "origin": state.origin,
        "root": state.root.hex(),
        "size": state.size,
        "slots": {str(slot): [c.segment, c.offset, c.seq] for slot, c in sorted(state.cursors.items())},
        "v": _STATE_VERSION,
    }
    document["sha256"] = hashlib.sha256(_json(document)).hexdigest()
    return _json(document) + b"\n"


def parse_state(data: bytes) -> State:
    """The state in a state file. Raises: VerificationError where it is not one, or a byte of it has changed."""
    try:
        document = json.loads(data)
        state = State(
            document["origin"],
            document["size"],
            bytes.fromhex(document["root"]),
            {int(slot): Cursor(*cursor) for slot, cursor in document["slots"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise VerificationError(f"{STATE_PATH} is not a sequencer state") from None
    if format_state(state) != data:
        raise VerificationError(f"{STATE_PATH} fails its checksum")
    return state


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
