"""A log folder in, its entries as they are published out, and beside each the request that left it.

The screen shows nothing of a write before the log has its outcome: what one sees is what is recorded.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from residency.audit.entry import Entry, parse_entry
from residency.audit.tiles import TILE_WIDTH, bundle_path, parse_bundle
from residency.demo.client import Answer

__all__ = ["Feed", "Row"]

Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A request with the entries that tell of it: `indexes` in the log, `entry` the one that decides what to show."""

    answer: Answer
    indexes: tuple[int, ...]
    entry: Entry | None


class Feed:
    """Reads what is published since it was last asked. Trusts the log: the checker is the one that does not."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.size = 0
        self._intents: dict[str, tuple[int, Entry]] = {}
        self._waiting: dict[Key, deque[Answer]] = defaultdict(deque)

    def expect(self, answer: Answer) -> None:
        """A request has been answered; its entries are on their way, or were published already."""
        self._waiting[_key_of(answer)].append(answer)

    @property
    def waiting(self) -> int:
        """Answers whose entries are not published yet."""
        return sum(map(len, self._waiting.values()))

    def poll(self) -> Iterator[Row]:
        """Rows whose entries have been published since the last call, in the log's order."""
        for index, entry in self._new():
            if entry.kind == "intent":
                self._intents[entry.id] = (index, entry)
            elif entry.kind == "refusal":
                yield from self._match(("refused", entry.activity, entry.reason), (index,), entry)
            elif entry.kind == "outcome" and entry.of in self._intents:
                at, intent = self._intents.pop(entry.of)
                key = ("acknowledged", intent.activity, intent.subject, intent.sink)
                yield from self._match(key, (at, index), intent)

    def _match(self, key: Key, indexes: tuple[int, ...], entry: Entry) -> Iterator[Row]:
        waiting = self._waiting.get(key)
        if waiting:
            yield Row(waiting.popleft(), indexes, entry)

    def _new(self) -> Iterator[tuple[int, Entry]]:
        try:
            size = int((self.log / "checkpoint").read_text(encoding="utf-8").split("\n")[1])
        except (OSError, ValueError, IndexError):
            return
        while self.size < size:
            number, start = divmod(self.size, TILE_WIDTH)
            width = min(TILE_WIDTH, size - number * TILE_WIDTH)
            try:
                path = self.log / bundle_path(number, width)
                bundle = path.read_bytes()
            except FileNotFoundError:  # the log has grown past this partial bundle since its checkpoint was read
                path, width = self.log / bundle_path(number), TILE_WIDTH
                bundle = path.read_bytes()
            for data in parse_bundle(bundle, width, path.name)[start:]:
                yield self.size, parse_entry(data)
                self.size += 1


def _key_of(answer: Answer) -> Key:
    claim = answer.claim
    if claim["outcome"] == "refused":
        return "refused", claim["activity"], claim["reason"]
    return "acknowledged", claim["activity"], claim["alias"], answer.receipt.get("sink")
