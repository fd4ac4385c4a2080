"""What PostgreSQL says of its rows' versions in; of whom the digest that was made before still holds, out.

A digest reads, writes out and hashes every value. Which version of a row it was made of is ten bytes: where the row
lies (`ctid`) and the transaction that wrote it (`xmin`). Of whoever has the same versions of the same rows as when a
digest was made, that digest is believed, and no value is read again. In doubt digests are made anew. All of a batch is
asked for at once, as one hash for each table; only where that is another one subjects are told apart.

Why that is right. Let S be a subject's rows as one snapshot saw them, and T as a later one does.

- An UPDATE never changes a row in its place, HOT or not: it writes another, at another `ctid`, by a transaction of its
  own. Locks (`FOR SHARE`, foreign keys) set `xmax` alone, and a transaction that is rolled back leaves what was there.
- What is in T and was not visible to S was written by a transaction that S did not see as committed. All of S was
  written by such as it did, so its `xmin` is none of theirs: it shows, though VACUUM gave its place (`ctid`) away.
- What was there, and came to this subject because a row changed by which it leads to them, lies at a place where no row
  of S lay. So the same set is the same rows. Nor does it matter that rows of many subjects are hashed together: whose
  a row is says itself, or the rows that it leads by, and these are among them.
- Freezing leaves `xmin` as it is since PostgreSQL 9.4. Rows that were frozen by older ones have 2, and a new one never.
- Places change where a table is written anew (VACUUM FULL, CLUSTER, ALTER, TRUNCATE): its file is another one then, and
  no statement that reads it is on meanwhile. So the number of each table's file is part of the answer.
- The numbers of transactions come again after 2^32 of them: what is older than `_OLD` is not believed.
- A server that crashes loses what was not on disk, and a standby that takes its place never had it: both may give a
  number and a place to something else. Either ends all connections. So only a connection is asked that was open when
  the digest was made; and only the same start of the server, for something in between may hide that one ended.
- Tables that are not plain ones of PostgreSQL's own kind (views, partitions, children, foreign or distributed tables,
  other access methods) have no such places or none of their own: of them nothing is believed.

A change of the catalog alone that changes how values are written (a label of an enum) is not seen by versions: what was
copied are the values, and these are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from residency.adapters.records_sql.copy_statements import quoted, telling_all
from residency.adapters.records_sql.tables import Shape

__all__ = ["Version", "Versions", "epoch", "whole"]

Version = tuple[tuple[int, bytes], ...]
"""By table (its number), the versions of a subject's rows, one after the other in any order."""

_OLD: Final = 3600.0  # seconds, in which no server begins 2^32 transactions
_MOST: Final = 40_000  # subjects that are remembered: what a move has under way, and then some
_ROOM: Final = 1 << 25  # bytes of versions that are
_BYTES: Final = 10
_EPOCH_IS: Final = -1  # where a table's number is
# Files and the server's start, or NULL where a table is not one of the kind that is meant above.
_EPOCH: Final = """
SELECT string_agg(concat_ws(' ', c.oid, pg_relation_filenode(c.oid), pg_postmaster_start_time()), ',' ORDER BY c.oid)
FROM unnest({names}::text[]) n (name) JOIN pg_class c ON c.oid = n.name::regclass LEFT JOIN pg_am a ON a.oid = c.relam
HAVING bool_and(c.relkind = 'r' AND a.amname = 'heap' AND NOT c.relhassubclass)
AND version() LIKE 'PostgreSQL %' AND version() !~* 'greenplum|redshift|-yb-'
AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')
"""


class _Seen(NamedTuple):
    digest: str
    version: Version
    epoch: str
    at: float


class Versions:
    """What digests were made of, subject by subject (ids); in memory alone, and for one sink."""

    __slots__ = ("_room", "_seen")

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._room = 0

    def keep(self, digests: Mapping[str, str], versions: Mapping[str, Version], epoch: str, at: float) -> None:
        """Of each of these the digest was made of these versions, in one snapshot that ended at `at` (seconds)."""
        self.forget(digests)  # the newest are last
        for subject, digest in digests.items():
            self._seen[subject] = _Seen(digest, versions[subject], epoch, at)
            self._room += _room(versions[subject])
        for subject in list(self._seen):
            if len(self._seen) <= _MOST and self._room <= _ROOM:
                break
            self.forget((subject,))

    def digests(self, subjects: Iterable[str], opened: float, now: float) -> dict[str, str]:
        """Of these, the digests to be believed where versions are the same, as a connection tells that was opened at
        `opened` and is open `now` (seconds)."""
        return {
            each: seen.digest
            for each in subjects
            if (seen := self._seen.get(each)) is not None and opened <= seen.at and now - seen.at < _OLD
        }

    def all_same(self, subjects: Collection[str], hashes: Mapping[int, bytes | None], epoch: str | None) -> bool:
        """Whether all of these still have those versions, as a hash for each table tells."""
        rows: dict[int, list[bytes]] = {}
        for each in subjects:
            seen = self._seen.get(each)
            if seen is None or seen.epoch != epoch:
                return False
            for at, some in seen.version:
                rows.setdefault(at, []).append(some)
        told = {at: each for at, each in hashes.items() if each is not None}
        return told.keys() == rows.keys() and all(told[at] == _hash(b"".join(some)) for at, some in rows.items())

    def same(self, subjects: Iterable[str], versions: Mapping[str, Version], epoch: str | None) -> set[str]:
        """Of these, who still has those versions."""
        return {
            each
            for each in subjects
            if (seen := self._seen.get(each)) is not None
            and seen.epoch == epoch and _ordered(seen.version) == _ordered(versions.get(each, ()))
        }  # fmt: skip

    def forget(self, subjects: Iterable[str]) -> bool:
        """Of these nothing is believed any more; whether anything was."""
        before = len(self._seen)
        for each in subjects:
            if (seen := self._seen.pop(each, None)) is not None:
                self._room -= _room(seen.version)
        return len(self._seen) < before


async def epoch(raw: Any, found: Sequence[Shape]) -> str | None:
    """What versions are to be compared under, asked after them and in their transaction, which keeps tables from being
    written anew; None where no versions are to be believed."""
    told = await raw.fetchval(_EPOCH.format(names="$1"), _names(found))
    return None if told is None else str(told)


async def whole(
    raw: Any, found: Sequence[Shape], subjects: Collection[str]
) -> tuple[Mapping[int, bytes | None], str | None]:
    """(by table a hash of the versions of all of these subjects' rows, what they are to be compared under)."""
    query, values = telling_all(found, subjects)
    if not query:
        return {}, None
    asked = f"SELECT {_EPOCH_IS}, convert_to(({_EPOCH.format(names=f'${len(values) + 1}')}), 'UTF8')"
    told = dict(map(tuple, await raw.fetch(f"{query} UNION ALL {asked}", *values, _names(found))))
    under = told.pop(_EPOCH_IS)
    return told, None if under is None else under.decode()


def _names(found: Sequence[Shape]) -> list[str]:
    return [quoted(shape.doc.name) for shape in found]


def _room(version: Version) -> int:
    return sum(len(rows) for _, rows in version)


def _apart(rows: bytes) -> list[bytes]:
    return sorted([rows[at : at + _BYTES] for at in range(0, len(rows), _BYTES)])


def _ordered(version: Version) -> list[tuple[int, list[bytes]]]:
    return sorted((at, _apart(rows)) for at, rows in version)


def _hash(rows: bytes) -> bytes:
    return hashlib.sha256(b"".join(_apart(rows))).digest()
