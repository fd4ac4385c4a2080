"""One audit entry: fields in, canonical bytes out, and back; nothing personal is in it.

Theory. An entry is what the tree commits to for ever, so there is exactly one way to write it: JSON in UTF-8 with no
white space, every key present, keys in alphabetical order, values only strings, integers, null and flat arrays of
strings. That is RFC 8785 (JCS) to the letter, because keys are ASCII, integers stay below 2^53 in magnitude, and
Python's `json` escapes strings as ECMAScript does. `parse_entry` refuses bytes that would not be written back the same.

Who a person is, their address and their times of login are not here but in the regional detail (`audit.detail`), to
which `detail` commits; `subject` is a random alias.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from json.encoder import encode_basestring
from typing import Final, NoReturn

from residency.errors import EntryError

__all__ = [
    "ACTS",
    "ENTRY_LIMIT",
    "ENTRY_VERSION",
    "KINDS",
    "Entry",
    "EntryTemplate",
    "entry_id",
    "entry_pieces",
    "format_entry",
    "parse_entry",
    "parse_entry_id",
]

ENTRY_VERSION: Final = 1
ENTRY_LIMIT: Final = 65_535  # the tlog-tiles bundle frames an entry with a uint16 length
KINDS: Final = frozenset({"decision", "intent", "outcome", "refusal", "system"})
ACTS: Final = frozenset({"committed", "failed", "rolled_back", "unknown"})
_EFFECTS: Final = frozenset({"permit", "hold", "deny"})
_MODES: Final = frozenset({"enforce", "observe"})
_INTEGER_LIMIT: Final = 2**53  # beyond it a JSON number is not exact for a reader that uses doubles
_ID = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,15})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ALIAS = re.compile(r"(?:[0-9a-f]{2}){8,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record of the log. `at` is microseconds since the epoch, UTC; `id` is `<slot>.<seq>` of the journal."""

    id: str
    kind: str
    at: int
    mode: str = "enforce"
    effect: str | None = None  # null for system entries only
    policy: str | None = None  # sha256 of the compiled policy, hex; null for system entries only
    policy_version: int = 0  # of the bundle that the policy came in; 0 = not counted, or no bundle
    epoch: int = 0
    decided: int | None = None  # the instant the decision was made on; null where none is behind the entry
    requested: int | None = None  # the request's instant, where it is another than `decided`
    collected: int | None = None  # the policy's last edge of collection before the data's own; null where not said
    facts: str | None = None  # sha256 of the facts that `epoch` stands for from here on; system entries only
    act: str | None = None  # how an intent ended; outcomes only
    of: str | None = None  # the intent's id; outcomes only
    activity: str | None = None
    operation: str | None = None
    store: str | None = None
    sink: str | None = None
    region: str | None = None
    reason: str | None = None
    strategy: str | None = None  # by which the client's address was looked for
    subject: str | None = None  # random alias, hex
    detail: str | None = None  # sha256 of the regional detail, hex
    note: str | None = None
    jurisdictions: tuple[str, ...] = ()
    finding: tuple[str, ...] = ()
    presumed: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    exempted: tuple[str, ...] = ()  # rules that an exemption of the register lifted
    exemptions: tuple[str, ...] = ()  # the numbers of these exemptions
    outranked: tuple[str, ...] = ()  # rules that another overrides
    running: tuple[str, ...] = ()  # terms that it leans on, each with the end of the term where it has begun
    v: int = ENTRY_VERSION


_KEYS: Final = tuple(sorted(field.name for field in fields(Entry)))
_LISTS: Final = frozenset(
    {"evidence", "exempted", "exemptions", "finding", "jurisdictions", "observed", "outranked", "presumed", "rules",
     "running"}
)  # fmt: skip
_INTEGERS: Final = frozenset({"at", "collected", "decided", "epoch", "policy_version", "requested", "v"})
_MAY_BE_NULL: Final = frozenset({"collected", "decided", "requested"})
_VALUES_APART: Final = frozenset({"at", "collected", "decided", "detail", "id", "of", "requested", "subject"})
_TEXTS: Final = frozenset(_KEYS) - _LISTS - _INTEGERS


def entry_id(slot: int, seq: int) -> str:
    """The id of journal record `seq` of worker slot `slot`."""
    return f"{slot}.{seq}"


def parse_entry_id(text: str) -> tuple[int, int]:
    """(slot, seq) of an entry id. Raises: EntryError."""
    match = _ID.fullmatch(text)
    if match is None:
        raise EntryError("an entry id is not of the form slot.seq")
    return int(match[1]), int(match[2])


def format_entry(entry: Entry) -> bytes:
    """The one canonical byte form of `entry`. Raises: EntryError where the entry is not one that can be parsed back."""
    _check(entry)
    return _within_limit(_encode(entry))


def _encode(entry: Entry) -> bytes:
    try:
        return ("{" + ",".join(f'"{key}":{_value(entry, key)}' for key in _KEYS) + "}").encode()
    except UnicodeEncodeError:
        raise EntryError("an entry holds text that is not Unicode") from None


def entry_pieces(entry: Entry) -> tuple[bytes, ...]:
    """The bytes of an entry around the values of `at`, `collected`, `decided`, `detail`, `id`, `of`, `requested` and
    `subject`, in order."""
    pieces = [""]
    for key in _KEYS:
        pieces[-1] += ("{" if key == _KEYS[0] else ",") + f'"{key}":'
        if key in _VALUES_APART:
            pieces.append("")
        else:
            pieces[-1] += _value(entry, key)
    pieces[-1] += "}"
    return tuple(piece.encode() for piece in pieces)


def parse_entry(data: bytes) -> Entry:
    """The entry that `data` is the canonical form of. Raises: EntryError."""
    _within_limit(data)
    try:
        document = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError):
        raise EntryError("an entry is not JSON of strings, integers, null and flat arrays") from None
    if not isinstance(document, dict) or set(document) != set(_KEYS):
        raise EntryError("an entry does not have exactly the keys of version 1")
    entry = _build(document)
    if _encode(entry) != data:
        raise EntryError("an entry is not in canonical form")
    return entry


class EntryTemplate:
    """The constant part of an entry, encoded once; `fill` and `brief` write what differs from one request to the next.

    Both answer the same bytes as `format_entry` of the same entry (a property test holds them together), without
    checking the constant part again.
    """

    __slots__ = ("_named", "_nobody", "_of_outcome", "_pieces")

    def __init__(self, entry: Entry) -> None:
        """Of `entry` the times, ids, alias and commitment are left open. Raises: EntryError."""
        format_entry(entry)
        self._pieces = tuple(piece.replace(b"%", b"%%") for piece in entry_pieces(entry))
        self._of_outcome = entry.kind == "outcome"
        # Made when they are first asked for: most templates are filled in one way only.
        self._named: bytes | None = None
        self._nobody: bytes | None = None

    def brief(self, slot: int, seq: int, at: int, decided: int, subject: str | None) -> bytes:
        """Canonical bytes of an entry, no outcome, that commits to no detail and whose decision leans on no other time.

        Raises: EntryError.
        """
        if subject is None:
            data = (self._nobody or self._pattern(None)) % (at, decided, slot, seq)
        else:
            alias = subject.encode("ascii", "replace")
            if not alias.isalnum():
                raise EntryError("`subject` is not an alias in hex")
            data = (self._named or self._pattern(b'"%b"')) % (at, decided, slot, seq, alias)
        return data if len(data) <= ENTRY_LIMIT else _within_limit(data)

    def _pattern(self, subject: bytes | None) -> bytes:
        if self._of_outcome:
            raise EntryError("`act` and `of` belong to outcomes, and to each outcome")
        holes = (b"%d", b"null", b"%d", b"null", b'"%d.%d"', b"null", b"null", subject or b"null", b"")
        pattern = b"".join(piece + hole for piece, hole in zip(self._pieces, holes, strict=True))
        if subject is None:
            self._nobody = pattern
        else:
            self._named = pattern
        return pattern

    def fill(
        self,
        *,
        id: str,  # noqa: A002 - the field's name in the format
        at: int,
        decided: int | None = None,
        requested: int | None = None,
        collected: int | None = None,
        of: str | None = None,
        subject: str | None = None,
        detail: str | None = None,
    ) -> bytes:
        """Canonical bytes of the template with these values. Raises: EntryError."""
        if (of is not None) is not self._of_outcome:
            raise EntryError("`act` and `of` belong to outcomes, and to each outcome")
        values = (
            str(at), _number(collected), _number(decided), _text(detail), _text(id), _text(of), _number(requested),
            _text(subject),
        )  # fmt: skip
        try:
            return _within_limit(b"%b".join(self._pieces) % tuple(map(str.encode, values)))
        except UnicodeEncodeError:
            raise EntryError("an entry holds text that is not Unicode") from None


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _texts(values: tuple[str, ...]) -> str:
    return "[" + ",".join(map(encode_basestring, values)) + "]" if values else "[]"


def _value(entry: Entry, key: str) -> str:
    value = getattr(entry, key)
    if key in _LISTS:
        return _texts(value)
    return str(value) if key in _INTEGERS and value is not None else _text(value)


def _within_limit(data: bytes) -> bytes:
    if len(data) > ENTRY_LIMIT:
        raise EntryError(f"an entry is larger than {ENTRY_LIMIT} bytes; refer to large material by digest")
    return data


def _no_float(_text: str) -> NoReturn:
    raise ValueError("not an integer")


def _build(document: Mapping[str, object]) -> Entry:
    values: dict[str, object] = {}
    for key in _KEYS:
        value = document[key]
        values[key] = tuple(value) if key in _LISTS and isinstance(value, list) else value
    entry = Entry(**values)  # type: ignore[arg-type]  # `_check` looks at every type next
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    """Every rule of the format that the shape of JSON does not already say."""
    for key in _INTEGERS:
        number = getattr(entry, key)
        if number is None and key in _MAY_BE_NULL:
            continue
        if type(number) is not int or not -_INTEGER_LIMIT < number < _INTEGER_LIMIT:
            raise EntryError(f"`{key}` is not an integer below 2^53")
    for key in _TEXTS:
        value = getattr(entry, key)
        if value is not None and (not isinstance(value, str) or not value):
            raise EntryError(f"`{key}` is neither text nor null")
    for key in _LISTS:
        values = getattr(entry, key)
        if not isinstance(values, tuple) or not all(isinstance(value, str) and value for value in values):
            raise EntryError(f"`{key}` is not a list of texts")
    if entry.v != ENTRY_VERSION:
        raise EntryError("an entry's version is not 1")
    if entry.kind not in KINDS or entry.mode not in _MODES:
        raise EntryError("`kind` or `mode` is not one that the format knows")
    if not isinstance(entry.id, str):
        raise EntryError("`id` is missing")
    parse_entry_id(entry.id)
    system = entry.kind == "system"
    if entry.effect not in _EFFECTS and not (system and entry.effect is None):
        raise EntryError("`effect` is not permit, hold or deny")
    if not _matches(_SHA256, entry.policy) or (entry.policy is None and not system):
        raise EntryError("`policy` is not a sha256 in hex")
    if not _matches(_SHA256, entry.facts) or (entry.facts is not None and not system):
        raise EntryError("`facts` is not a sha256 in hex, or stands in another than a system entry")
    if not _matches(_SHA256, entry.detail):
        raise EntryError("`detail` is not a sha256 in hex")
    if not _matches(_ALIAS, entry.subject):
        raise EntryError("`subject` is not an alias in hex")
    outcome = entry.kind == "outcome"
    if outcome and (entry.of is None or entry.act not in ACTS):
        raise EntryError("an outcome names its intent and how it ended")
    if not outcome and (entry.of is not None or entry.act is not None):
        raise EntryError("`act` and `of` belong to outcomes")
    if entry.of is not None:
        parse_entry_id(entry.of)


def _matches(pattern: re.Pattern[str], value: str | None) -> bool:
    return value is None or pattern.fullmatch(value) is not None
