"""The fleet: which logs there are. A signed register in, the logs it lists and what differs from those found, out.

The register is a signed note under the fleet's own key. Its text:

    residency fleet 1
    <name, the key's>
    version <n>
    log <verifier key> since <date> [after <origin>]
    closed <origin> <size> <root, base64> <date>

Each instance writes one log, whose first entry (`0.0`) says which it goes on from. A log that is closed ends with the
checkpoint that the register names. Dates are those of the fleet's keeper, `YYYY-MM-DD`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from residency.audit.note import (
    VerifierKey,
    decode_base64,
    format_verifier_key,
    parse_verifier_key,
    verify_note,
)
from residency.errors import VerificationError

__all__ = [
    "FIRST_ENTRY",
    "Begins",
    "Closed",
    "Fleet",
    "FleetFinding",
    "FleetLog",
    "FoundLog",
    "add_log",
    "check_fleet",
    "check_follows",
    "close_log",
    "format_begins",
    "format_fleet",
    "parse_begins",
    "parse_fleet",
    "verify_fleet",
]

FIRST_ENTRY: Final = "0.0"
"""The id of the entry that says what an instance goes on from."""

_HEAD: Final = "residency fleet 1"
_BEGINS: Final = "begins"
_PREDECESSOR: Final = "begins; predecessor "
_NONE: Final = "none"
_VERSION: Final = re.compile(r"version ([1-9][0-9]{0,14})")
_LOG: Final = re.compile(r"log ([^\s]+) since ([0-9-]+)(?: after ([^\s]+))?")
_CLOSED: Final = re.compile(r"closed ([^\s]+) (0|[1-9][0-9]{0,18}) ([A-Za-z0-9+/=]+) ([0-9-]+)")
_DATE: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")


@dataclass(frozen=True, slots=True)
class Begins:
    """What a first entry says: which origin it goes on from (None = none), and whether it says so at all."""

    predecessor: str | None = None
    said: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """How a log ended: its last checkpoint, and the date."""

    size: int
    root: bytes
    date: str


@dataclass(frozen=True, slots=True)
class FleetLog:
    """One log of the fleet: its key (named after the origin), since when, after which origin, how it ended."""

    key: VerifierKey
    since: str
    after: str | None = None
    closed: Closed | None = None

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self.key.name


@dataclass(frozen=True, slots=True)
class Fleet:
    """The register: its name, its version, which grows with every change, and its logs in the order they came."""

    name: str
    version: int = 1
    logs: tuple[FleetLog, ...] = ()

    def log(self, origin: str) -> FleetLog | None:
        """The log of that origin, None where none is listed."""
        return next((log for log in self.logs if log.origin == origin), None)


@dataclass(frozen=True, slots=True)
class FoundLog:
    """A log that was verified: where it was found, its key, size and root, and what its first entry says.

    `begins` is None where no entry `0.0` says that an instance began (a log of an older version). `closed_root` is the
    root over as many of the first entries as the register says that the log had when it was closed; None = not known.
    """

    place: str
    key: VerifierKey
    size: int
    root: bytes
    begins: Begins | None = None
    closed_root: bytes | None = None


@dataclass(frozen=True, slots=True)
class FleetFinding:
    """What is wrong with one origin; `what` is a word for programs, `message` a sentence."""

    what: str
    origin: str
    message: str


def format_begins(predecessor: str | None) -> str:
    """What a first entry says of itself: None = not said, `none` = there is no predecessor, else its origin."""
    return _BEGINS if predecessor is None else _PREDECESSOR + predecessor


def parse_begins(note: str | None) -> Begins | None:
    """What an entry's note says, None where it does not say that an instance begins."""
    if note == _BEGINS:
        return Begins()
    if note is None or not note.startswith(_PREDECESSOR):
        return None
    predecessor = note.removeprefix(_PREDECESSOR)
    return Begins(None if predecessor == _NONE else predecessor, said=True)


def format_fleet(fleet: Fleet) -> str:
    """The register's text, ready to be signed."""
    lines = [_HEAD, fleet.name, f"version {fleet.version}"]
    for log in fleet.logs:
        after = "" if log.after is None else f" after {log.after}"
        lines.append(f"log {format_verifier_key(log.key)} since {log.since}{after}")
    for log in fleet.logs:
        if log.closed is not None:
            root = base64.b64encode(log.closed.root).decode()
            lines.append(f"closed {log.origin} {log.closed.size} {root} {log.closed.date}")
    return "\n".join(lines) + "\n"


def parse_fleet(text: str) -> Fleet:
    """The register in a note's text. Raises: VerificationError, with the line."""
    lines = text.split("\n")
    version = _VERSION.fullmatch(lines[2]) if len(lines) >= 4 and lines[0] == _HEAD and not lines[-1] else None
    if version is None:
        raise VerificationError("a fleet register does not begin with its form, name and version")
    fleet = Fleet(lines[1], int(version[1]))
    for number, line in enumerate(lines[3:-1], start=4):
        try:
            if (match := _LOG.fullmatch(line)) is not None:
                fleet = _listed(fleet, FleetLog(parse_verifier_key(match[1]), match[2], match[3]))
            elif (match := _CLOSED.fullmatch(line)) is not None:
                root = decode_base64(match[3], "a root")
                fleet = _ended(fleet, match[1], Closed(int(match[2]), root, match[4]))
            else:
                raise VerificationError("neither `log` nor `closed`")
        except VerificationError as error:
            raise VerificationError(f"line {number} of the fleet register: {error}") from None
    # One form for one register: what is signed is what is read.
    if format_fleet(fleet) != text:
        raise VerificationError("a fleet register is not in its canonical form")
    return fleet


def verify_fleet(note: bytes, key: VerifierKey) -> Fleet:
    """The register in `note`, signed by `key`, whose name it bears. Raises: VerificationError."""
    fleet = parse_fleet(verify_note(note, key))
    if fleet.name != key.name:
        raise VerificationError("the fleet register's name is not the key's")
    return fleet


def add_log(fleet: Fleet, key: VerifierKey, since: str, after: str | None = None) -> Fleet:
    """The register's next version, with one log more. Raises: VerificationError."""
    return replace(_listed(fleet, FleetLog(key, since, after)), version=fleet.version + 1)


def close_log(fleet: Fleet, origin: str, closed: Closed) -> Fleet:
    """The register's next version, in which a log has ended. Raises: VerificationError."""
    return replace(_ended(fleet, origin, closed), version=fleet.version + 1)


def check_follows(fleet: Fleet, seen: Fleet) -> None:
    """That a register is the one that was seen earlier, or came of it by adding and closing logs.

    An older register is as well signed as the newest, and one from which a log was taken out is so too.

    Raises: VerificationError, with both versions.
    """
    versions = f"version {fleet.version} of the fleet register, after version {seen.version} was seen"
    if fleet.version < seen.version:
        raise VerificationError(f"{versions}: an older one")
    if fleet.version == seen.version and fleet != seen:
        raise VerificationError(f"{versions}: another one")
    for number, was in enumerate(seen.logs):
        log = fleet.logs[number] if number < len(fleet.logs) else None
        if log is None or replace(log, closed=was.closed) != was or (was.closed is not None and log.closed is None):
            raise VerificationError(f"{versions}: {was.origin} is not listed as it was")
        if was.closed is not None and log.closed != was.closed:
            raise VerificationError(f"{versions}: {was.origin} was closed otherwise")


def check_fleet(fleet: Fleet, found: Sequence[FoundLog]) -> tuple[FleetFinding, ...]:
    """What differs between the logs that are listed and those that were found; empty where nothing does.

    `missing`, `unlisted`, `another_key`, `twice` (two logs of one origin), `grown` (after it was closed), `short` (of
    what it had then), `changed` (what it had then differs), `predecessor` (its first entry names another than listed),
    `unsaid` (it does not say which, where one is listed; or there is no such entry).
    """
    findings: list[FleetFinding] = []
    for log in fleet.logs:
        here = [one for one in found if one.key.name == log.origin]
        if not here:
            findings.append(FleetFinding("missing", log.origin, "listed, and not among the logs that were given"))
        if len(here) > 1:
            places = ", ".join(one.place for one in here)
            findings.append(FleetFinding("twice", log.origin, f"more than one log bears this origin: {places}"))
        for one in here:
            findings.extend(FleetFinding(what, log.origin, message) for what, message in _differs(log, one))
    for one in found:
        if fleet.log(one.key.name) is None:
            findings.append(FleetFinding("unlisted", one.key.name, f"found in {one.place}, and not listed"))
    return tuple(findings)


def _differs(log: FleetLog, found: FoundLog) -> list[tuple[str, str]]:
    if found.key != log.key:
        return [("another_key", f"{found.place} is signed by another key than the listed one")]
    return [*_end_differs(log.closed, found), *_beginning_differs(log.after, found)]


def _end_differs(closed: Closed | None, found: FoundLog) -> list[tuple[str, str]]:
    if closed is None:
        return []
    told = f"{found.place} holds {found.size} entries; it was closed with {closed.size}"
    if found.size < closed.size:
        return [("short", told)]
    root = found.root if found.size == closed.size else found.closed_root
    differs = [("grown", told)] if found.size > closed.size else []
    if root is not None and root != closed.root:
        differs.append(
            ("changed", f"the first {closed.size} entries in {found.place} are not those it was closed with")
        )
    return differs


def _beginning_differs(after: str | None, found: FoundLog) -> list[tuple[str, str]]:
    listed = "none" if after is None else after
    if found.size == 0:
        return []
    if found.begins is None:
        return [("unsaid", f"no entry {FIRST_ENTRY} in {found.place} says that an instance begins")]
    if not found.begins.said:
        return [] if after is None else [("unsaid", f"its first entry names no predecessor; listed: {listed}")]
    if found.begins.predecessor != after:
        named = "none" if found.begins.predecessor is None else found.begins.predecessor
        return [("predecessor", f"its first entry names the predecessor {named}; listed: {listed}")]
    return []


def _listed(fleet: Fleet, log: FleetLog) -> Fleet:
    _must_be_date(log.since)
    if fleet.log(log.origin) is not None:
        raise VerificationError(f"{log.origin} is listed already")
    if log.after is not None and fleet.log(log.after) is None:
        raise VerificationError(f"the predecessor {log.after} is not listed before it")
    return replace(fleet, logs=(*fleet.logs, log))


def _ended(fleet: Fleet, origin: str, closed: Closed) -> Fleet:
    _must_be_date(closed.date)
    if len(closed.root) != 32:
        raise VerificationError("a root is not 32 bytes")
    log = fleet.log(origin)
    if log is None:
        raise VerificationError(f"{origin} is not listed")
    if log.closed is not None:
        raise VerificationError(f"{origin} is closed already")
    ended = replace(log, closed=closed)
    return replace(fleet, logs=tuple(ended if one is log else one for one in fleet.logs))


def _must_be_date(text: str) -> None:
    if _DATE.fullmatch(text) is None:
        raise VerificationError("a date is not of the form YYYY-MM-DD")
