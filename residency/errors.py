"""Every exception this package raises on purpose, drawn here and nowhere else.

    ResidencyError
    ├── CallerError                what a client sent
    │   ├── AddressError           a client address or forwarding header that cannot be read
    │   ├── TokenError             an identity token that does not verify
    │   ├── NotFound               a row whose key nobody knows: the app answers 404
    │   └── PathError              a request path that servers and routers could read differently
    ├── UsageError                 what the app's developer wrote
    │   ├── NoDecision             current() where no request was decided
    │   ├── SubjectUnknown         a covered store opened before identify()
    │   └── UnknownStore           a store that the deployment does not name
    ├── PolicyError                what a policy author wrote; carries every problem with file:line:column
    ├── Refused                    a decision against an act; carries the reason and the citations
    ├── IntegrityError             bytes that are not what they must be
    │   ├── EntryError             an audit entry that is not in canonical form
    │   ├── JournalCorrupt         a journal whose middle, not its torn tail, fails its checksum
    │   ├── RecordConflict         a record that is there already with other bytes
    │   ├── VerificationError      a log, proof, checkpoint or signature that does not verify
    │   └── SealError              a sealed value that does not open
    └── Unavailable                what we or the infrastructure cannot do now
        ├── JournalFull            no preallocated room is left for an entry
        ├── JournalFailed          the journal cannot be written
        │   └── JournalLate        what is recorded is not durable in time: who waits for that may go on
        ├── SinkUnavailable        a sink cannot be reached (its name, never its URL)
        ├── SubjectMoving          a subject's data is being moved just now
        ├── KeysUnavailable        a key is missing or unreadable
        ├── PinsUnavailable        pins cannot be read or written
        ├── FactsUnavailable       what is noted of the operator (first events, counts) cannot be read or written
        ├── AddressDataUnavailable the country database cannot be read
        └── StaleVersion           a compare-and-set lost against a newer version

Messages carry no personal data, no secret and no URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "AddressDataUnavailable",
    "AddressError",
    "CallerError",
    "EntryError",
    "FactsUnavailable",
    "IntegrityError",
    "JournalCorrupt",
    "JournalFailed",
    "JournalFull",
    "JournalLate",
    "KeysUnavailable",
    "NoDecision",
    "NotFound",
    "PathError",
    "PinsUnavailable",
    "PolicyError",
    "Problem",
    "RecordConflict",
    "Refused",
    "ResidencyError",
    "SealError",
    "SinkUnavailable",
    "StaleVersion",
    "SubjectMoving",
    "SubjectUnknown",
    "TokenError",
    "Unavailable",
    "UnknownStore",
    "UsageError",
    "VerificationError",
]


class ResidencyError(Exception):
    """Root of every error raised on purpose by this package."""


class CallerError(ResidencyError):
    """A client sent something that cannot be used. Never a crash, never a signal."""


class AddressError(CallerError):
    """An address or forwarding header that cannot be read."""


class TokenError(CallerError):
    """An identity token that does not verify."""


class NotFound(CallerError, LookupError):
    """No row of that key is known; the app answers 404. Nobody looked for it in another place."""


class PathError(CallerError):
    """A request path that a server and a router could read differently."""


class UsageError(ResidencyError):
    """The app calls this package in a way that has no safe meaning."""


class NoDecision(UsageError):
    """`current()` or a store was asked for where no request has been decided."""


class SubjectUnknown(UsageError):
    """A covered store was opened before `identify()` said whose data it is."""


class UnknownStore(UsageError):
    """The deployment names no such store, or the activity does not name it."""


# A message tells a file's own text, and stands in one line of a terminal or a log: what would end or steer it is named.
_SHOWN: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one policy file. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message.translate(_SHOWN)}"


class PolicyError(ResidencyError):
    """One or more policy files do not hold. Carries all problems at once, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        if not problems:
            raise ValueError("a PolicyError needs at least one problem")
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class Refused(ResidencyError):
    """An act that the decision does not permit. `reason` is a `residency.model.Reason` value.

    `citations` are article references of the rules that decided, ready to show; no personal data.
    """

    def __init__(self, reason: str, message: str, citations: tuple[str, ...] = (), rules: tuple[str, ...] = ()) -> None:
        self.reason = reason
        self.citations = citations
        self.rules = rules
        super().__init__(message)


class IntegrityError(ResidencyError):
    """Bytes that are not what they must be."""


class EntryError(IntegrityError):
    """An audit entry that is not in canonical form."""


class JournalCorrupt(IntegrityError):
    """A journal whose middle fails its checksum. The message names the file and the offset."""


class RecordConflict(IntegrityError):
    """A record that is to be written is there already with other bytes. The message names the sink and the table."""


class VerificationError(IntegrityError):
    """A log, proof, checkpoint or signature that does not verify. The message says what and where."""


class SealError(IntegrityError):
    """A sealed value that does not open under this key and context."""


class Unavailable(ResidencyError):
    """A promise cannot be kept now; the request is refused with 503 and this error's own reason."""


class JournalFull(Unavailable):
    """No preallocated room is left for an entry, and no more can be had."""


class JournalFailed(Unavailable):
    """The journal cannot be written or synchronised."""


class JournalLate(JournalFailed):
    """What was recorded is not durable within the time that was promised; who waits until it is may go on."""


class SinkUnavailable(Unavailable):
    """A sink cannot be reached. The message carries its name, never its URL."""


class SubjectMoving(Unavailable):
    """A subject's data is being moved to another sink at this moment; trying again soon succeeds."""


class KeysUnavailable(Unavailable):
    """A key is missing, unreadable or of the wrong kind."""


class PinsUnavailable(Unavailable):
    """Pins cannot be read or written."""


class FactsUnavailable(Unavailable):
    """What all processes note of the operator together cannot be read or written: first events, counts, escalations."""


class AddressDataUnavailable(Unavailable):
    """The address data is missing, unreadable, truncated, or fails at lookup.

    `role` = the source that is to blame: database, second, list, anonymous_ip or asn; None where none alone is.
    """

    def __init__(self, message: str = "", role: str | None = None) -> None:
        super().__init__(message)
        self.role = role


class StaleVersion(Unavailable):
    """A compare-and-set found a newer version than the one it was based on."""
