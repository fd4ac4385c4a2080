"""A folder in; the CPU of each part of recording an entry, ours, the floor's and the peers', out."""

from __future__ import annotations

import gc
import hashlib
import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import audit_peers as peers
from benchmarks.audit_ours import document_of, first_entry, open_trail
from benchmarks.floors import FLOOR, WARM, open_floors
from residency.audit.merkle import leaf_hashes, root_of
from residency.audit.tiles import TILE_WIDTH

__all__ = ["SEQUENCER", "Step", "per_record"]

SEQUENCER: Final = "the sequencer's share"
Step = Callable[[], object]


def _timed(step: Step, times: int) -> float:
    """Nanoseconds of this thread's CPU for one of `times` calls."""
    gc.collect()
    gc.disable()
    began = time.thread_time_ns()
    for _ in range(times):
        step()
    spent = time.thread_time_ns() - began
    gc.enable()
    return spent / times


def per_record(
    folder: Path, rounds: int, records: int, progress: Step
) -> tuple[bytes, dict[str, float], dict[str, float]]:
    """The entry, and the CPU of each part of recording it in nanoseconds: of the quietest rounds, and medians."""
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        trail = stack.enter_context(open_trail(folder / "cpu", sequencer=False))
        trail.record()
        entry = first_entry(folder / "cpu")
        floors = stack.enter_context(open_floors(folder, len(entry)))
        document = document_of(entry)
        tile, append = list[bytes](), peers.pymerkle_memory()

        def grow() -> None:  # as the sequencer does, a tile at a time
            tile.append(entry)
            if len(tile) == TILE_WIDTH:
                root_of(leaf_hashes(tile))
                tile.clear()

        def whole() -> None:
            trail.record()
            grow()

        def least_leaf() -> None:  # a leaf, and of the nodes above as many as there are leaves
            leaf, above = begun_leaf(), begun_node()
            leaf.update(entry)
            above.update(leaf.digest() + node)
            above.digest()

        def least_whole() -> None:
            floors[WARM].record()
            least_leaf()

        begun_leaf, begun_node, node = hashlib.sha256(b"\0").copy, hashlib.sha256(b"\1").copy, bytes(32)
        steps: dict[str, Step] = {
            "the request's share": trail.record,
            "an empty call": lambda: None,
            "an act's intent and outcome": trail.act,
            "json.dumps of the record": lambda: json.dumps(document),
            "leaf and frontier": grow,
            "pymerkle's append": lambda: append(entry),
            "encode, store, leaf": whole,
            f"{FLOOR} of the share": floors[FLOOR].record,
            f"{WARM}, of the share": floors[WARM].record,
            f"{FLOOR} of leaf and frontier": least_leaf,
            f"{FLOOR} of encode, store, leaf": least_whole,
        }
        for number in range(rounds + 1):
            names = [*steps, SEQUENCER]
            random.Random(number).shuffle(names)
            for name in names:
                floors[FLOOR].renew()
                if name == SEQUENCER:
                    trail.tick()
                    for _ in range(records):
                        trail.record()
                    began = time.thread_time_ns()
                    done = trail.tick()
                    cost = (time.thread_time_ns() - began) / done
                else:
                    cost = _timed(steps[name], records)
                if number:
                    found.setdefault(name, []).append(cost)
            progress()
    return entry, _without_asking(found, min), _without_asking(found, median)


def _without_asking(found: dict[str, list[float]], which: Callable[[list[float]], float]) -> dict[str, float]:
    """What it costs to ask is no part of any of them."""
    costs = {name: which(times) for name, times in found.items()}
    empty = costs.pop("an empty call")
    return {name: round(cost - (0 if name == SEQUENCER else empty), 1) for name, cost in costs.items()}
