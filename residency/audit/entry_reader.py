"""Bundles of entries in; of each its shape and the values apart from it out, at a twentieth of what parsing costs.

Theory. Most entries of a log differ from others in their number, times, alias and commitment only. The rest of their
bytes is constant, and where a value stands follows from its length. So the first entry of a *layout* (constant pieces
and lengths of values) is parsed by `parse_entry`, and from then on one `struct` cuts entries of that length: where the
constant pieces are the same, bytes are in canonical form exactly if the values are of the form that the format gives
them, which is asked of a whole bundle at once. What is not so is parsed, entry by entry, and refused or not by that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from struct import Struct
from typing import Any, Final

from residency.audit.entry import Entry, entry_pieces, parse_entry, parse_entry_id
from residency.errors import EntryError, VerificationError

__all__ = ["EntryReader", "Shape", "Values"]

Values = tuple[bytes, ...]
"""The values of an entry that its shape leaves open, as they are written, without quotes, in the order of its names."""

_BOUND: Final = 4096  # shapes and layouts that are remembered
_TRIED: Final = 16  # layouts of one length
_APART: Final = ("at", "collected", "decided", "detail", "id", "of", "requested", "subject")
_TIMES: Final = frozenset({"at", "decided", "requested"})
_HEX: Final = frozenset({"detail", "subject"})
_DIGITS: Final = 16  # of a time in microseconds, from 2001 to 2255; entries of other times are parsed
_FIRST_DIGITS: Final = b"12345678"
_TIME: Final = re.compile(rb"[1-8][0-9]{15}")
_HEX_DIGITS: Final = b"0123456789abcdef"
_SETTERS: Final = {field.name: Entry.__dict__[field.name].__set__ for field in fields(Entry)}


class Shape:
    """What all entries of one kind say alike. `names` are the fields that it leaves open: `at` first, then `decided`,
    `detail`, `id`, `of`, `requested` and `subject`, of these the ones that are not null."""

    __slots__ = (
        "_fixed", "_read", "at_of", "at_own", "at_requested", "begins", "decides", "entry", "kind", "names", "pend",
    )  # fmt: skip

    def __init__(self, entry: Entry, names: tuple[str, ...], pend: Callable[[Values], None]) -> None:
        self.entry = entry
        """The first entry of this shape: its fields are those of all, but for `names`."""
        self.kind = entry.kind
        self.at_requested = names.index("requested") if "requested" in names else 0
        self.begins = entry.kind == "intent"
        """Whether these are intents."""
        self.decides = "decided" in names and entry.kind not in ("outcome", "system")
        """Whether these tell of a decision of their own; `decided` is the second of their values then."""
        self.names = names
        self.at_own = names.index("id")
        self.at_of = names.index("of") if "of" in names else 0
        self.pend = pend
        self._fixed = [(put, getattr(entry, name)) for name, put in _SETTERS.items() if name not in names]
        self._read: list[tuple[Callable[[Entry, Any], None], Callable[[bytes], Any]]] = [
            (_SETTERS[name], int if name in _TIMES else bytes.decode) for name in names
        ]

    def build(self, values: Values) -> Entry:
        """The entry of this shape with these values."""
        # As `copy.copy` would, and not by the constructor, which is slow where a frozen record has so many fields.
        entry = object.__new__(Entry)
        for put, value in self._fixed:
            put(entry, value)
        for (put, read), text in zip(self._read, values, strict=True):
            put(entry, read(text))
        return entry


class _Layout:
    """Entries of one length, cut where values stand in them, and the shapes by the constant pieces that come out."""

    __slots__ = ("constants", "format", "shape", "shapes", "unpack")

    def __init__(self, form: str, constants: Values, shape: Shape) -> None:
        self.format = form
        self.unpack = Struct(form).unpack
        self.constants, self.shape = constants, shape
        """Those that came last; most layouts have only these."""
        self.shapes = {constants: shape}


class EntryReader:
    """Reads entries as `parse_entry` does. Memory is bounded."""

    __slots__ = ("_count", "_known", "_pending", "_shapes")

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], list[_Layout]] = {}
        self._shapes: dict[Entry, Shape] = {}
        self._pending: dict[tuple[str, ...], list[Values]] = {}
        self._count = 0

    def read(self, data: bytes) -> Entry:
        """The entry that `data` is the canonical form of. Raises: EntryError."""
        shapes: list[Shape] = []
        cut: list[Values] = []
        self._cut((data,), shapes, cut)
        (shape,), (values,) = shapes, cut
        if not self._well_formed():
            return parse_entry(data)
        parse_entry_id(values[shape.at_own].decode("latin-1"))
        if shape.at_of:
            parse_entry_id(values[shape.at_of].decode("latin-1"))
        return shape.build(values)

    def scan(self, start: int, entries: Sequence[bytes]) -> tuple[list[Shape], list[Values]]:
        """Of each entry its shape and values, both in order; `start` is the first one's number in the log.

        What is not looked at is the form of `id` and `of`: who calls compares them with those that must come.

        Raises: VerificationError, with the number of the entry that is not in canonical form.
        """
        shapes: list[Shape] = []
        values: list[Values] = []
        try:
            self._cut(entries, shapes, values)
        except EntryError as error:
            raise VerificationError(f"entry {start + len(shapes)}: {error}") from None
        if not self._well_formed():
            for index, data in enumerate(entries, start):
                try:
                    parse_entry(data)
                except EntryError as error:
                    raise VerificationError(f"entry {index}: {error}") from None
        return shapes, values

    def _cut(self, entries: Sequence[bytes], shapes: list[Shape], values: list[Values]) -> None:
        """Add the shape and the values of each entry, whose form is not asked yet. Raises: EntryError."""
        for waiting in self._pending.values():
            waiting.clear()
        known = self._known
        for data in entries:
            # The key only parts what would be tried one after the other. No time stands before byte 31.
            for layout in known.get((len(data), data[7:31]), ()):
                pieces = layout.unpack(data)
                constants = pieces[::2]
                if constants != layout.constants:
                    if len(layout.shapes) == 1 or (other := layout.shapes.get(constants)) is None:
                        continue
                    layout.constants, layout.shape = constants, other
                shape, held = layout.shape, pieces[1::2]
                break
            else:
                shape, held = self._first(data)
                known = self._known
            shape.pend(held)
            shapes.append(shape)
            values.append(held)

    def _well_formed(self) -> bool:
        """Whether all times and hex among the values that were cut are such, in the one way to write them."""
        for names, waiting in self._pending.items():
            if not waiting:
                continue
            for name, column in zip(names, zip(*waiting, strict=True), strict=True):
                if name in _TIMES:
                    digits = b"".join(column)
                    if not digits.isdigit() or digits[::_DIGITS].strip(_FIRST_DIGITS):
                        return False
                elif name in _HEX and b"".join(column).translate(None, _HEX_DIGITS):
                    return False
        return True

    def _first(self, data: bytes) -> tuple[Shape, Values]:
        entry = parse_entry(data)
        names, constants, values = _parts(entry)
        pending = self._pending.setdefault(names, [])
        if any(name in _TIMES and _TIME.fullmatch(value) is None for name, value in zip(names, values, strict=True)):
            # Not remembered; and not asked again with the others, which are of another form.
            return Shape(entry, names, _forget), values
        if self._count >= _BOUND:
            self._known, self._shapes, self._count = {}, {}, 0
        self._count += 1
        sizes = [len(piece) for pair in zip(constants, (*values, b""), strict=True) for piece in pair][:-1]
        form = "".join(f"{size}s" for size in sizes)
        shape = self._shape(entry, names, pending.append)
        layouts = self._known.setdefault((len(data), data[7:31]), [])
        layout = next((each for each in layouts if each.format == form), None)
        if layout is not None:
            layout.shapes[constants] = shape
        else:
            if len(layouts) >= _TRIED:
                layouts.clear()
            layouts.append(_Layout(form, constants, shape))
        return shape, values

    def _shape(self, entry: Entry, names: tuple[str, ...], pend: Callable[[Values], None]) -> Shape:
        """The one shape of all layouts that differ in how long their numbers are."""
        bare = object.__new__(Entry)
        for name, put in _SETTERS.items():
            put(bare, ("" if name in names else getattr(entry, name)))
        shape = self._shapes.get(bare)
        if shape is None:
            shape = self._shapes[bare] = Shape(entry, names, pend)
        return shape


def _parts(entry: Entry) -> tuple[tuple[str, ...], tuple[bytes, ...], Values]:
    """(names of the values that a shape leaves open, the constant pieces around them, the values)."""
    names: list[str] = []
    values: list[bytes] = []
    constants = [b""]
    for piece, name in zip(entry_pieces(entry), (*_APART, ""), strict=True):
        constants[-1] += piece
        value = getattr(entry, name, None)
        if name == "collected" or value is None:
            # A date of the law, of which there are few, or null: constant.
            constants[-1] += b"" if not name else b"null" if value is None else str(value).encode()
            continue
        quote = b"" if name in _TIMES else b'"'
        constants[-1] += quote
        names.append(name)
        values.append(str(value).encode())
        constants.append(quote)
    return tuple(names), tuple(constants), tuple(values)


def _forget(_values: Values) -> None:
    return None
