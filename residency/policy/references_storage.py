"""A YamlDoc of a deployment in; problems of where data rests that only show where two lines meet, out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from residency.errors import AddressError, Problem
from residency.policy.docwalk import items, mapping, unknown
from residency.policy.problems import at
from residency.policy.yamldoc import Path, Value, YamlDoc
from residency.signals.inet import Ranges

__all__ = ["storage_problems"]

_LOCATOR: Final = re.compile(r"sqlite:///.|(?:redis|valkey)s?(?:\+cluster)?://.")


def storage_problems(doc: YamlDoc) -> Iterator[Problem]:
    """Problems of sinks, stores, records, locators, pins and copies."""
    yield from _sinks(doc)
    yield from _stores(doc)
    yield from _copies(doc)
    yield from _records(doc)
    yield from _locators(doc)
    yield from _offices(doc)


def _sinks(doc: YamlDoc) -> Iterator[Problem]:
    regions = mapping(doc, "regions")
    for name in mapping(doc, "sinks"):
        own = at(doc.value, ("sinks", name, "region"))
        for path in (("sinks", name), *items(doc, ("sinks", name, "members"))):
            region = at(doc.value, (*path, "region"))
            if not isinstance(region, str):
                continue
            if region not in regions:
                yield doc.problem((*path, "region"), unknown("region", region, regions))
            elif isinstance(own, str) and own in regions:
                here, home = (at(doc.value, ("regions", each, "country")) for each in (region, own))
                if here != home:
                    yield doc.problem(
                        (*path, "region"),
                        f"a member of `{name}` lies in {here}, and the sink in {home}: a sink lies in one place, and "
                        "failover never leaves it",
                    )
        url = at(doc.value, ("sinks", name, "url"))
        given = at(doc.value, ("sinks", name, "allow_private")) is not None
        if given and isinstance(url, str) and "${" not in url and not url.startswith(("http://", "https://")):
            yield doc.problem(
                ("sinks", name, "allow_private"),
                "allow_private: for services, whose URLs are https://HOST/: leave it out",
            )


def _stores(doc: YamlDoc) -> Iterator[Problem]:
    sinks, stores = mapping(doc, "sinks"), mapping(doc, "stores")
    for name, members in stores.items():
        yield from _named(doc, ("stores", name), members, sinks, "sink")
    for activity in items(doc, ("activities",)):
        yield from _named(doc, (*activity, "store"), at(doc.value, (*activity, "store")), stores, "store")


def _copies(doc: YamlDoc) -> Iterator[Problem]:
    sinks, stores, told = mapping(doc, "sinks"), mapping(doc, "stores"), mapping(doc, "records")
    for store, given in mapping(doc, "copies").items():
        where: Path = ("copies", store, "to") if isinstance(given, dict) else ("copies", store)
        wanted = given.get("to") if isinstance(given, dict) else given
        if store not in stores:
            yield doc.problem(("copies", store), unknown("store", store, stores))
        elif store not in told:
            yield doc.problem(("copies", store), f"`records:` tells nothing of `{store}`: what is copied, and whose?")
        yield from _named(doc, where, wanted, sinks, "sink")
        mine = stores.get(store)
        for index, name in enumerate(wanted if isinstance(wanted, list) else [wanted]):
            if isinstance(mine, list) and isinstance(name, str) and name in sinks and name not in mine:
                path: Path = (*where, index) if isinstance(wanted, list) else where
                yield doc.problem(path, f"sink `{name}` is none of store `{store}`")


def _records(doc: YamlDoc) -> Iterator[Problem]:
    stores = mapping(doc, "stores")
    for store, tables in mapping(doc, "records").items():
        if store not in stores:
            yield doc.problem(("records", store), unknown("store", store, stores))
        for table, record in tables.items() if isinstance(tables, dict) else ():
            where: Path = ("records", store, table)
            if not isinstance(record, dict) or not isinstance(tables, dict):
                continue
            via = record.get("via")
            if "subject" in record and via:
                yield doc.problem(where, "give `subject` or `via`, not both")
            for column, other in via.items() if isinstance(via, dict) else ():
                if isinstance(other, str) and other not in tables:
                    yield doc.problem((*where, "via", column), unknown("table", other, tables))
                elif (wrong := _astray(table, tables)) is not None:
                    yield doc.problem((*where, "via", column), wrong)


def _astray(table: str, tables: Mapping[str, Value]) -> str | None:
    """Why the tables that `via` names lead from this one to no subject; None = they do, or that is told elsewhere."""
    passed, here = [table], table
    while isinstance(record := tables[here], dict) and isinstance(via := record.get("via"), dict) and via:
        there = next(iter(via.values()))
        if not isinstance(there, str) or there not in tables:
            return None
        here = there
        if here == table:
            return f"`via` leads in a circle, to no subject: {' -> '.join((*passed, here))}"
        if here in passed:
            return None  # the circle is behind this table, and told there
        passed.append(here)
    if isinstance(record, dict) and "subject" not in record:
        return f"`{here}`, where this leads, is nobody's: give it its `subject` or `via`"
    return None


def _locators(doc: YamlDoc) -> Iterator[Problem]:
    told, stores = mapping(doc, "records"), mapping(doc, "stores")
    names = [name for store in told for name in _each(stores.get(store))]
    own = [at(doc.value, ("sinks", name, "region")) for name in names]
    lying = {at(doc.value, ("regions", each, "country")) for each in own if isinstance(each, str)}
    for place, url in mapping(doc, "locators").items():
        where: Path = ("locators", place)
        if place not in lying:
            what = f"no sink of a store whose `records:` are told lies in {place}: nobody would look there"
            yield doc.problem(where, what)
        if isinstance(url, str) and "${" not in url and url != "memory:" and _LOCATOR.match(url) is None:
            what = "expected sqlite:///PATH, redis://HOST and its kind (rediss, valkey, +cluster), or memory: for tests"
            yield doc.problem(where, what)
    regions = mapping(doc, "regions")
    region = at(doc.value, ("pins", "region"))
    if isinstance(region, str) and region not in regions:
        yield doc.problem(("pins", "region"), unknown("region", region, regions))


def _offices(doc: YamlDoc) -> Iterator[Problem]:
    for place, given in mapping(doc, "offices").items():
        for index, text in enumerate(given if isinstance(given, list) else [given]):
            if not isinstance(text, str) or "${" in text:
                continue
            where: Path = ("offices", place, index) if isinstance(given, list) else ("offices", place)
            try:
                Ranges((text,))
            except AddressError as error:
                yield doc.problem(where, f"expected a range such as 10.1.0.0/16: {error}")
                continue
            if text.endswith("/0"):
                yield doc.problem(where, f"`{text}` is everybody, and nobody's office: name your own ranges")


def _each(given: object) -> list[str]:
    return [name for name in (given if isinstance(given, list) else [given]) if isinstance(name, str)]


def _named(doc: YamlDoc, where: Path, given: object, known: dict[str, Value], what: str) -> Iterator[Problem]:
    """Problems of one name or a list of names that must each be among `known`, once."""
    several = isinstance(given, list)
    names = given if isinstance(given, list) else [given]
    for index, name in enumerate(names):
        path = (*where, index) if several else where
        if isinstance(name, str) and name not in known:
            yield doc.problem(path, unknown(what, name, known))
        elif several and name in names[:index]:
            yield doc.problem(
                path, f"{what} `{name}` stands twice" + (f" in store `{where[-1]}`" if what == "sink" else "")
            )
