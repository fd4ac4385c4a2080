"""A policy, and what is known of an app's own keys, in; warnings of keys that are somebody's personal data, out.

A key gets where the data under it does not: into indexes, unique keys and sequences of every sink, into names of
objects, lists of keys, paths, access logs and backups. No transform of a decision touches it there, and no erasure
reaches it. So a store that has a sink abroad, for people whose law covers them at home, is not to have such keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from residency.errors import Problem
from residency.model import Activity
from residency.model.place import within
from residency.policy.activities import AppRoute, parse_template, shape
from residency.policy.compiler import Policy
from residency.policy.parsed_storage import RecordDoc
from residency.policy.personal_names import PersonalNames
from residency.policy.problems import at
from residency.policy.prove_reports import Report, report
from residency.policy.yamldoc import parse_yaml

__all__ = ["AppColumn", "AppKey", "AppTable", "Identifiers"]

_PLACEHOLDER: Final = re.compile(r"\{([^{}:]+)[^{}]*\}")
_SUBJECT: Final = "{subject}"
_RANDOM: Final = "use a random one (`sql.uuid7_key`) and find the row by a keyed hash of this"
_KEYS: Final = {
    "objects": ("the name of an object", "name objects by a random id, or a keyed hash of this"),
    "cache": ("the key of a cache", "use a keyed hash of this: a bare digest of it is guessed by trying them all"),
    "service": ("the path of a service's URL", "send it in the body, or send a random id"),
    "rows": ("the key of a row", _RANDOM),
}
_SHARED: Final = (
    "two people would share a key. Use a text column with default=sql.uuid7_key, or with SQLAlchemy a "
    "sql.ranged_sequence, or autoincrement=False where the app brings the key"
)
_OWN: Final = (
    "who is new is in no database yet, and who they are decides in which. Let the app make it before `identify()`: "
    "default=sql.uuid7_key in a text column, or secrets.randbits(62) in a BigInteger with autoincrement=False"
)
_ELSEWHERE: Final = (
    "somebody else's rows, as far as `records` tell. Where these lie in another country the database takes no such "
    "row, and `residency move` leaves its person behind. Drop that foreign key, unless both are one person's"
)
_UNNAMED: Final = (
    "whose its rows are is not known, so they are not moved, erased or judged, and no list over several countries "
    "brings them along. Add its `subject` or `via`; where it is nobody's, its `data` alone"
)
_SAID: Final = ("path", "header", "jwt")


@dataclass(frozen=True, slots=True)
class AppColumn:
    """A column of an app's table and where it stands in the source. `kind` is its type's name; `unique` = its values
    are unique by themselves, `primary` = it is the primary key or part of it; `refers` = the tables that its foreign
    keys lead to."""

    name: str
    file: str
    line: int
    kind: str = ""
    primary: bool = False
    unique: bool = False
    refers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppTable:
    """A table of an app's, and where it stands in the source. `counts` is the column of its key that counts up alike in
    each database, `ranged` one that counts in a range of each database's own; empty = none does."""

    name: str
    file: str
    line: int
    columns: tuple[AppColumn, ...]
    counts: str = ""
    ranged: str = ""


@dataclass(frozen=True, slots=True)
class AppKey:
    """A value named `name` that an app's source makes part of a key: in `store`, or where None is, of a subject."""

    name: str
    file: str
    line: int
    store: str | None = None


class Identifiers:
    """What of one policy lies abroad, and which names mean personal data under its laws."""

    def __init__(self, policy: Policy, kinds: Mapping[str, str]) -> None:
        """`kinds` are those of the sinks by name: `rows`, `objects`, `cache` or `service`."""
        self._policy = policy
        self._document = policy.deployment
        detectors = [d for law in policy.laws for d in law.detectors]
        self._names = PersonalNames([*detectors, *self._document.detectors], _declared(policy))
        self._abroad = {store: told for store in self._document.stores if (told := self._lies(store))}
        self._kinds = {store: kinds[sinks[0]] for store, sinks in self._document.stores.items()}

    def of_deployment(self) -> Iterator[Report]:
        """Warnings of what the deployment file itself says."""
        for index, activity in enumerate(self._document.activities):
            if (where := self._of(activity)) is not None:
                yield from self._route(index, activity, where)
        identity = self._document.signals.identity
        for kind, said in (("jwt", identity.jwt), ("session", identity.session)):
            category = None if said is None else self._names.category(said.subject)
            if said is not None and category is not None and self._abroad:
                store, where = next(iter(self._abroad.items()))
                what = f"`{kind}.subject: {said.subject}` is {category} data and becomes the id of subjects"
                message = f"{what}; store `{store}` {where}: take what is a random id, as `sub` of most issuers"
                yield self._warn(("signals", "identity", kind, "subject"), message)
        for store, docs in self._document.records.items():
            if store in self._abroad:
                for doc in docs:
                    yield from self._record(store, doc)

    def of_routes(self, routes: Sequence[AppRoute]) -> Iterator[Report]:
        """Warnings of parameters that the app's own routes name otherwise than the activities of theirs do."""
        for index, activity in enumerate(self._document.activities):
            own, form = _parameters(activity.path), shape(parse_template(activity.path))
            where = self._of(activity)
            for route in routes if where is not None else ():
                path = route.known_as or route.path
                if activity.method == "ANY" or route.accepts(activity.method):
                    others = _parameters(path) if shape(parse_template(path)) == form else ()
                    for name in others:
                        if name not in own and (category := self._names.category(name)) is not None:
                            what = f"activity `{activity.name}`: your app calls its parameter `{name}`: {category} data"
                            message = f"{what} in a path, and {where}; {_in_path(name)}"
                            yield self._warn(("activities", index, "route"), message, activity)

    def of_tables(self, tables: Sequence[AppTable]) -> Iterator[Report]:
        """Warnings, notes and errors of an app's tables: those of stores that have several sinks or lie abroad.

        A table belongs to the store whose `records` name it, else to the one store of rows that there is.
        """
        rows = [store for store, kind in self._kinds.items() if kind == "rows"]
        named = {doc.name: store for store, docs in self._document.records.items() for doc in docs}
        for table in tables:
            store = named.get(table.name, rows[0] if len(rows) == 1 else None)
            if store is None or store not in rows:
                continue
            if len(self._document.stores[store]) > 1:
                yield from self._apart(store, table)
            if store in self._abroad:
                for column in table.columns:
                    yield from self._column(store, table, column)

    def of_keys(self, keys: Sequence[AppKey]) -> Iterator[Report]:
        """Warnings of keys that the app's source makes: of objects, of caches, in paths of services, of subjects."""
        for key in keys:
            category = self._names.category(key.name)
            if category is None:
                continue
            if key.store is None:
                if self._abroad:
                    store, where = next(iter(self._abroad.items()))
                    what = f"`{key.name}` is {category} data and becomes the id of a subject; store `{store}` {where}"
                    message = f"{what}: give a random id that the account has"
                    yield Report("warning", "identifier", Problem(key.file, key.line, 1, message))
            elif key.store in self._abroad:
                what, do = _KEYS[self._kinds[key.store]]
                place = f"store `{key.store}` {self._abroad[key.store]}"
                message = f"`{key.name}` is {category} data and becomes part of {what}; {place}: {do}"
                yield Report("warning", "identifier", Problem(key.file, key.line, 1, message))

    # -- one by one -------------------------------------------------------------------------------------------------

    def _route(self, index: int, activity: Activity, where: str) -> Iterator[Report]:
        subject = activity.subject
        for name in _parameters(activity.path):
            if (category := self._names.category(name)) is not None:
                what = f"activity `{activity.name}`: parameter `{name}` is {category} data in a path, and {where}"
                yield self._warn(("activities", index, "route"), f"{what}; {_in_path(name)}", activity)
        if subject.kind in _SAID and subject.kind != "path":
            category = self._names.category(subject.name)
            if category is not None:
                what = f"activity `{activity.name}`: subject `{subject}` is {category} data, and {where}"
                do = "take a claim that is a random id (as `sub` of most), or `subject: app` and `identify(ID)`"
                yield self._warn(("activities", index, "subject"), f"{what}; the keys of rows hold it: {do}", activity)

    def _record(self, store: str, doc: RecordDoc) -> Iterator[Report]:
        path = ("records", store, doc.name)
        where = f"store `{store}` {self._abroad[store]}"
        kind = self._kinds[store]
        what, do = _KEYS[kind]
        if kind == "rows":
            if doc.subject is not None and (category := self._names.category(doc.subject)) is not None:
                message = (
                    f"table `{doc.name}`: column `{doc.subject}` is {category} data and tells people apart; {where}"
                )
                yield self._warn((*path, "subject"), f"{message}: {_RANDOM}")
            if doc.via is not None and (category := self._names.category(doc.via[0])) is not None:
                message = f"table `{doc.name}`: column `{doc.via[0]}` holds keys that are {category} data; {where}"
                yield self._warn((*path, "via"), f"{message}: {_RANDOM}")
            return
        for name in _PLACEHOLDER.findall(doc.name):
            if (category := self._names.category(name)) is not None:
                message = f"`{doc.name}`: `{{{name}}}` is {category} data in {what}; {where}: {do}"
                yield self._warn(path, message)
        if _SUBJECT in doc.name:
            for activity in self._document.activities:
                subject = activity.subject
                if store in activity.stores and subject.kind in _SAID:
                    category = self._names.category(subject.name)
                    if category is not None:
                        told = f"`{doc.name}`: activity `{activity.name}` takes its subject from `{subject}`"
                        message = f"{told}, so that {what} has {category} data in it; {where}: {do}"
                        yield self._warn(path, message, activity)
                        return

    def _apart(self, store: str, table: AppTable) -> Iterator[Report]:
        """What does not bear that the table lies in several databases."""
        docs = {doc.name: doc for doc in self._document.records.get(store, ())}
        doc, file, line = docs.get(table.name), table.file, table.line
        if counted := table.counts or table.ranged:
            if doc is not None and doc.subject == counted:
                what = f"table `{table.name}`: `{counted}` tells people apart, and the database counts it"
                yield Report("error", "shared_key", Problem(file, line, 1, f"{what}: {_OWN}"))
            elif table.counts:
                # Unless `records` name it, it may as well lie in a database of the app's own.
                level: Literal["error", "warning"] = "warning" if doc is None else "error"
                message = f"table `{table.name}` counts `{counted}` up in each sink of store `{store}`: {_SHARED}"
                yield Report(level, "shared_key", Problem(file, line, 1, message))
        if doc is None:
            if docs:
                message = f"no `records` of store `{store}` name table `{table.name}`: {_UNNAMED}"
                yield Report("warning", "unnamed_table", Problem(file, line, 1, message))
            return
        for column in table.columns:
            if column.name == doc.subject or (doc.via is None and doc.subject is None):
                continue
            for other in column.refers:
                led = docs.get(other)
                refers = f"`{table.name}.{column.name}` refers to `{other}`"
                if led is None or (led.subject is None and led.via is None):
                    message = (
                        f"{refers}, whose rows are nobody's: they must be in each sink of store `{store}` before these"
                    )
                    yield Report("note", "foreign_key", Problem(column.file, column.line, 1, message))
                elif doc.via != (column.name, other):
                    message = f"{refers}: {_ELSEWHERE}"
                    yield Report("warning", "foreign_key", Problem(column.file, column.line, 1, message))

    def _column(self, store: str, table: AppTable, column: AppColumn) -> Iterator[Report]:
        category = self._names.category(column.name)
        if category is None and column.kind:
            category = self._names.category(column.kind.removesuffix("Type"))
        if category is None:
            return
        what = f"`{table.name}.{column.name}` is {category} data"
        if column.primary:
            message = f"{what} and the table's key; store `{store}` {self._abroad[store]}: {_RANDOM}"
            yield Report("warning", "identifier", Problem(column.file, column.line, 1, message))
        elif column.unique and len(self._document.stores[store]) > 1:
            told = f"{what} and unique, in each sink of store `{store}` by itself, so that two may both have it"
            message = f"{told}: what must be unique everywhere is kept as a keyed hash, at home"
            yield Report("note", "identifier", Problem(column.file, column.line, 1, message))

    # -- what lies abroad -------------------------------------------------------------------------------------------

    def _of(self, activity: Activity) -> str | None:
        """Where the data of an activity lies abroad, in words; None = nowhere."""
        found = next((store for store in activity.stores if store in self._abroad), None)
        return None if found is None else f"store `{found}` {self._abroad[found]}"

    def _lies(self, store: str) -> str:
        """Which of a store's sinks lies abroad for whom, in words; empty where none does."""
        laws = sorted({law.jurisdiction for law in self._policy.laws})
        for name in self._document.stores[store]:
            place = self._document.sinks[name].sink.place
            foreign = [each for each in laws if not within(place, each)]
            if foreign:
                return f"lies abroad (`{name}` in {place}, for people under the law of {', '.join(foreign)})"
        return ""

    def _warn(self, path: tuple[str | int, ...], message: str, activity: Activity | None = None) -> Report:
        of = [] if activity is None else [activity.name]
        return report(self._document.source, path, "warning", "identifier", message, activities=of)


def _in_path(name: str) -> str:
    do = f"put a random id there and judge by `about(row=…)`, or send `{name}` in the body"
    return f"access logs and proxies keep it: {do}"


def _parameters(template: str) -> tuple[str, ...]:
    return tuple(part[1:-1].partition(":")[0] for part in parse_template(template) if part.startswith("{"))


def _declared(policy: Policy) -> Mapping[str, Sequence[str]]:
    """The categories of the deployment's `fields` by name; the parsed document has them inside its activities alone."""
    found: dict[str, Sequence[str]] = {}
    for name, data in policy.sources:
        if name.startswith("deployment/"):
            fields = at(parse_yaml(data, name).value, ("fields",))
            for field, given in fields.items() if isinstance(fields, dict) else ():
                listed = given if isinstance(given, list) else [given]
                found[field] = [each for each in listed if isinstance(each, str)]
    return found
