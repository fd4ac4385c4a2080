"""Tables and subjects in; what PostgreSQL tells of their rows out: digests, versions, and those of what it deletes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from typing import Any, Final

from residency.adapters.records_sql.cascades import referring
from residency.adapters.records_sql.copy_statements import compiled, deleting, keys_of, locked, telling
from residency.adapters.records_sql.tables import Shape
from residency.adapters.records_sql.versions import Version, Versions, epoch
from residency.errors import RecordConflict
from residency.storage.parcels import NOTHING

__all__ = ["DiffersError", "DoubtError", "delete", "digests_of", "told_of", "versions_of"]

_NUMBERS: Final = count()


class DiffersError(Exception):
    """These subjects (ids) have other rows than was thought: nothing of the transaction stays."""

    def __init__(self, subjects: Collection[str]) -> None:
        super().__init__(len(subjects))
        self.subjects = frozenset(subjects)


class DoubtError(Exception):
    """Somebody has other versions of rows than was thought, and digests are to be made: nothing of the transaction
    stays."""


async def told_of(
    raw: Any, found: Sequence[Shape], subjects: Collection[str], *, digests: bool = True, versions: bool = False
) -> list[Any]:
    """What `telling` asks for, in one question."""
    query, values = telling(found, subjects, digests=digests, versions=versions)
    return list(await raw.fetch(query, *values)) if query else []


def digests_of(told: Sequence[Any], found: Sequence[Shape]) -> dict[str, str]:
    """By subject one digest over those of all tables, in order of their names."""
    rows: list[list[Any]] = [[] for _ in found]
    for row in told:
        rows[row[0]].append(row)
    texts: dict[str, str] = {}
    for name, some in sorted([(shape.doc.name, some) for shape, some in zip(found, rows, strict=True)]):
        for _, subject, _, digest, *_ in some:
            text = f"{name} {digest}"
            texts[subject] = f"{texts[subject]},{text}" if subject in texts else text
    return {subject: hashlib.sha256(text.encode()).hexdigest() for subject, text in texts.items()}


def versions_of(told: Sequence[Any]) -> dict[str, Version]:
    """By subject the versions of all rows."""
    by_table: dict[str, list[tuple[int, bytes]]] = {}
    for at, subject, *_, rows in told:
        by_table.setdefault(subject, []).append((at, rows))
    return {subject: tuple(each) for subject, each in by_table.items()}


def _planned(statement: str) -> str:
    """The same, which a connection has not prepared before: it is planned for its list as it is, and what foreign keys
    look up is not."""
    return f"{statement} -- {next(_NUMBERS)}"


async def delete(
    raw: Any, found: Sequence[Shape], wanted: Mapping[str, str], known: Collection[str], versions: Versions
) -> None:
    """Delete all that these subjects have, children first. Of those who are `known`, `versions` say of what rows their
    digest is. Raises: DiffersError where that was not as in `wanted`, DoubtError, RecordConflict where the database
    itself would delete or change rows of others with these."""
    digests: list[Any] = []
    kept: dict[int, bytes | None] = {}
    rest = [each for each in wanted if each not in known] if known else wanted
    for at, shape in reversed(list(enumerate(found))):
        await _stand_alone(raw, found, at, wanted)
        if ids := shape.ids(known):
            kept[at] = await raw.fetchval(_planned(deleting(shape, versions=True)), ids)
        if ids := shape.ids(rest):
            digests += [(at, *row) for row in await raw.fetch(_planned(deleting(shape)), ids)]
    if known and not versions.all_same(known, kept, await epoch(raw, found)):
        raise DoubtError
    # Who had nothing has no digest; and nobody is asked to be removed who has nothing.
    now = digests_of(digests, found)
    if other := [each for each in rest if now.get(each, NOTHING) != wanted[each]]:
        raise DiffersError(other)


async def _stand_alone(raw: Any, found: Sequence[Shape], at: int, subjects: Collection[str]) -> None:
    """Raises: RecordConflict where a row goes or changes with one that these subjects have in table `at`, and is not
    among what they have. Their rows are locked before, so that nothing new refers to them."""
    shape = found[at]
    ids = shape.ids(subjects)
    if not shape.cascades or not ids:
        return
    await raw.fetch(_planned(f"SELECT count(*) FROM ({compiled(locked(shape), shape, 1)}) q"), ids)  # noqa: S608 - compiled
    for each in shape.cascades:
        # Those before it in this order still have the rows of these subjects, and so has it itself.
        theirs = next((other for other in found[: at + 1] if other.doc.name == each.named), None)
        key = theirs.key if theirs is not None else ()
        query = referring(shape.table, shape.joined(), each, None if theirs is None else theirs.table, key)
        asked, values = compiled(query, shape, 1), [ids]
        if theirs is not None and (own := theirs.ids(subjects)):
            asked += " EXCEPT " + compiled(keys_of(theirs), theirs, 2)
            values.append(own)
        if await raw.fetchval(_planned(f"SELECT EXISTS ({asked})"), *values):
            raise RecordConflict("rows of somebody else would go or change with those that are to be deleted")
