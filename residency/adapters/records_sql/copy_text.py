"""Rows in the text form of PostgreSQL's COPY in; whose each of them is, and its key as locators look it up, out.

What a move carries says so itself: no database is asked for the keys of rows that were in hand a moment ago.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as _quoted
from typing import Final

import sqlalchemy as sa

from residency.adapters.records_sql.tables import Shape
from residency.enforcement.about import key_text
from residency.storage.parcels import Owned

__all__ = ["Tables", "owned", "plain", "texts_of"]

Tables = Mapping[str, tuple[tuple[str, ...], bytes]]
"""By table, its columns in order and its rows, a line each."""

_ESCAPED: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}
_LONG: Final = 32  # a text that is shorter is no UUID in disguise


def owned(found: Sequence[Shape], tables: Tables) -> list[Owned] | None:
    """(subject, table, key as `record_key` answers it) of each row that a locator takes; None where the lines alone do
    not tell, and the database is to be asked."""
    told: list[Owned] = []
    subjects: dict[str, dict[bytes, str]] = {}  # by table, whose each row of this key is
    leads = {shape.path[0][1].doc.name for shape in found if shape.path}
    for shape in found:
        columns, rows = tables[shape.doc.name]
        kinds = {name: shape.table.c[name].type for name in columns}
        told_by = shape.path[0][0] if shape.path else shape.subject
        if not _is_plain(kinds[told_by]) or not all(
            _is_plain(kinds[name]) or _is_none(kinds[name]) for name in shape.key
        ):
            return None
        at, keys = columns.index(told_by), [columns.index(name) for name in sorted(shape.key)]
        taken = all(_is_plain(kinds[name]) for name in shape.key)
        texts = [isinstance(kinds[name], sa.String) for name in sorted(shape.key)]
        parents = subjects.get(shape.path[0][1].doc.name) if shape.path else None
        if shape.path and parents is None:
            return None
        held = subjects.setdefault(shape.doc.name, {}) if shape.doc.name in leads else None
        known: dict[bytes, str] = {}
        owners = known if parents is None else parents
        name, key, simple = shape.doc.name, keys[0], taken and len(keys) == 1 and not texts[0]
        for line in rows.split(b"\n")[:-1]:
            fields = line.split(b"\t")
            whose = owners.get(fields[at])
            if whose is None:
                if parents is not None:
                    return None  # the database joins what is not the same to us
                whose = known[fields[at]] = plain(fields[at])
            if held is not None:
                held[fields[key]] = whose
            if simple:  # digits of a number or of a UUID
                told.append((whose, name, f'["{fields[key].decode()}"]'))
            elif taken:
                told.append((whose, name, _key([plain(fields[n]) for n in keys], texts)))
    return told


def texts_of(found: Sequence[Shape], tables: Tables) -> dict[str, list[tuple[str, dict[str, str | None]]]] | None:
    """By table, whose each row is, and the row with its values as texts; None where the lines alone do not tell."""
    told: dict[str, list[tuple[str, dict[str, str | None]]]] = {}
    subjects: dict[str, dict[str | None, str]] = {}
    for shape in found:
        columns, lines = tables[shape.doc.name]
        told_by = shape.path[0][0] if shape.path else shape.subject
        parents = subjects.get(shape.path[0][1].doc.name) if shape.path else None
        if not _is_plain(shape.table.c[told_by].type) or (shape.path and parents is None):
            return None
        held, rows = subjects.setdefault(shape.doc.name, {}), told.setdefault(shape.doc.name, [])
        for line in lines.split(b"\n")[:-1]:
            fields = [None if field == b"\\N" else plain(field) for field in line.split(b"\t")]
            row = dict(zip(columns, fields, strict=True))
            whose = row[told_by] if parents is None else parents.get(row[told_by])
            if whose is None:
                return None
            held[row[shape.key[0]]] = whose
            rows.append((whose, row))
    return told


def plain(field: bytes) -> str:
    """A field as the text that it stands for."""
    if b"\\" not in field:
        return field.decode()
    first, *rest = field.split(b"\\")
    text = [first]
    after = False  # whether the piece before was the first half of an escaped backslash
    for piece in rest:
        if after:
            text.append(piece)
            after = False
        elif not piece:
            text.append(b"\\")
            after = True
        else:
            text.append(_ESCAPED.get(piece[:1], piece[:1]) + piece[1:])
    return b"".join(text).decode()


def _key(values: list[str], texts: Sequence[bool]) -> str:
    # As `key_text` writes it, which is asked where a text may be the UUID of another spelling.
    if any(text and len(value) >= _LONG for value, text in zip(values, texts, strict=True)):
        return key_text({str(at).zfill(3): value for at, value in enumerate(values)})
    return "[" + ",".join(map(_quoted, values)) + "]"


def _is_plain(kind: object) -> bool:
    """Whether COPY's text of a value is what drivers and casts make of it too."""
    if isinstance(kind, sa.String):
        return not isinstance(kind, sa.CHAR)  # a cast takes its spaces away
    return isinstance(kind, sa.Integer | sa.Uuid)


def _is_none(kind: object) -> bool:
    """Whether no locator takes such a key."""
    return isinstance(kind, sa.Boolean | sa.Numeric | sa.DateTime | sa.Date | sa.Time | sa.LargeBinary)
