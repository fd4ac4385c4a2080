"""Whom an act is for, and ids of whose something is that it would tell, in; a refusal for who may not be told of, out.

`about()` decides on one person, or on a group. What else is told under it is judged as a row of a list is: by the pin
of whose it is, for the place where it is read. Each is decided on once.
"""

from __future__ import annotations

from collections.abc import Iterable

from residency.enforcement.current import Current
from residency.enforcement.refusing import refuse
from residency.errors import UsageError
from residency.model import Sink
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import own_of
from residency.storage.judged import Found, Lying

__all__ = [
    "Others",
    "changes_elses",
    "changes_unsaid",
    "hidden_behind",
    "people_of",
    "somebody_elses",
    "unsaid",
    "unseen",
]


def people_of(here: Current) -> set[str | None]:
    """The digests (hex) of whom an act under this decision is for."""
    return {each.subject_digest for each in (here, *getattr(here, "members", ()))} - {None}


class Others:
    """Of whom else than whom an act is for something may be told from its sink."""

    def __init__(self, here: Current, sink: Sink) -> None:
        self.here = here
        self._sink = sink.name
        self._people = people_of(here)
        self._lying = Lying(here, {sink.name: sink.place}, twice=False)
        self._permitted: set[str | None] = set()

    @staticmethod
    def than(here: Current, sink: str) -> Others | None:
        """None = nothing is looked at: in a list, which looks at its rows itself, and where nothing binds. What an
        activity reads that is about nobody is of others."""
        verdict = here.decision.sink(sink)
        somebody = bool(people_of(here)) or (here.activity.subject.kind == "none" and here.client is not None)
        if verdict is None or not somebody or here.decision.mode == "observe":
            return None
        return Others(here, verdict.sink)

    def unknown(self, people: Iterable[str | None]) -> list[str | None]:
        """Those of these ids who were not decided on yet, each once; None = nothing tells whose it is."""
        left = []
        for whose in dict.fromkeys(people):
            if whose in self._permitted:
                continue
            if whose is not None and self.here.point.perception.digest(whose) in self._people:
                self._permitted.add(whose)
            else:
                left.append(whose)
        return left

    async def check(self, people: Iterable[str | None]) -> None:
        """Decide on these, whom `unknown` gave.

        Raises: Refused where the law of one of them does not let it be read here, PinsUnavailable, FactsUnavailable.
        """
        rows = [Found(None, (), whose) for whose in people]
        await self._lying.look((self._sink, found) for found in rows)
        self._refuse(rows)

    def check_now(self, people: Iterable[str | None]) -> bool:
        """As `check`, where nothing is to be waited for; False = nothing is decided, and `check` does it. Raises: as
        `check`."""
        rows = [Found(None, (), whose) for whose in people]
        if not self._lying.look_now((self._sink, found) for found in rows):
            return False
        self._refuse(rows)
        return True

    def _refuse(self, rows: Iterable[Found]) -> None:
        for found in rows:
            against = self._lying.against(self._sink, found)
            if against is not None:
                message = "what was asked for is somebody else's, too, whose law does not let it be read here"
                raise refuse(against.here, against.reason, message, sink=self._sink)
            self._permitted.add(found.whose)


def somebody_elses(doc: RecordDoc, act: str) -> UsageError:
    """The error for a row that says that it is of another person than whom a session, or a unit (`act`), is for."""
    return UsageError(
        f"a row of {doc.name!r} says by its column {own_of(doc)!r} that it is somebody else's than whom this {act} is "
        f"for: write it in a {act} under about() of that person"
    )


def changes_elses(table: str, act: str) -> UsageError:
    """The error for a statement that changes or deletes rows of another person than whom a session, or a unit (`act`),
    is for."""
    return UsageError(
        f"a statement changes rows of {table!r} that are somebody else's than whom this {act} is for: do it in a {act} "
        "under about() of that person"
    )


def changes_unsaid(doc: RecordDoc, act: str, vouch: str) -> UsageError:
    """The error for a statement that changes or deletes rows of a table, and does not say whose."""
    return UsageError(
        f"a statement changes rows of {doc.name!r}, and nothing in it says whose: add WHERE {own_of(doc)} = … (or by "
        f"the table's key), also to what an upsert sets; or say by {vouch} that all rows it changes are of whom this "
        f"{act} is for. Rows of others are changed under about() of them"
    )


def hidden_behind(name: str, vouch: str) -> UsageError:
    """The error for a statement that reads or changes rows of somebody by a view, a partition or a function."""
    return UsageError(
        f"behind {name!r} the database reads tables with rows of somebody, and nobody can say whose: name the tables "
        f"themselves in the statement, or say by {vouch} that all rows it reads and changes are of whom this act is for"
    )


def unseen(doc: RecordDoc, values: str, vouch: str) -> UsageError:
    """The error for a statement that may write rows of anybody; `values` = how a value can be looked at before."""
    return UsageError(
        f"a statement gives rows of {doc.name!r} a {own_of(doc)!r} that cannot be looked at before: bring the value "
        f"{values}, or say by {vouch} that all rows it writes are of whom this act is for"
    )


def unsaid(doc: RecordDoc, objects: str, vouch: str) -> UsageError:
    """The error for a statement that tells of rows of a table, and not whose; `objects` = what is looked at instead,
    `vouch` = how an app says that all of it is of whom its act is for."""
    return UsageError(
        f"a statement under about() tells of rows of {doc.name!r}, and nothing in it says whose: add WHERE "
        f"{own_of(doc)} = … (or by the table's key, or a JOIN with a table that has one), in each SELECT that tells "
        f"of them; or {objects}; or say by {vouch} that all rows it reads are of whom this act is for"
    )
