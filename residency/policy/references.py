"""A YamlDoc in; problems about its names, templates and dates that do not fit together, out.

Runs on plain values, beside pydantic and not after it, so that an author sees all mistakes at once: whatever has the
wrong type here is pydantic's to report and is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

from residency.errors import AddressError, Problem
from residency.policy.activities import parse_template, shape
from residency.policy.docwalk import items, listed, mapping, on_calendar, ordered, unknown, walk
from residency.policy.must import must_problems
from residency.policy.problems import at, nearest
from residency.policy.references_law import detector_problems
from residency.policy.references_storage import storage_problems
from residency.policy.words import ROUTE
from residency.policy.yamldoc import Path, YamlDoc
from residency.signals.inet import Ranges

_DAYS = frozenset({"date", "expires", "since", "lifted", "from", "next_update"})

__all__ = ["METHODS", "deployment_references", "register_references"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "ANY", "WS")


def deployment_references(doc: YamlDoc) -> list[Problem]:
    """Problems of a deployment file."""
    return [
        *_laws(doc),
        *storage_problems(doc),
        *_subjects(doc),
        *_addresses(doc),
        *_routes(doc),
        *_declared(doc),
        *detector_problems(doc),
        *must_problems(doc),
    ]


def register_references(doc: YamlDoc) -> list[Problem]:
    """Problems of a register file."""
    found: list[Problem] = []
    for path, value in walk(doc.value, ()):
        if path and path[-1] in _DAYS and isinstance(value, str):
            found += on_calendar(doc, path, value)
    for path in items(doc, ("filings",)):
        found += ordered(doc, (*path, "date"), (*path, "expires"))
        found += ordered(doc, (*path, "date"), (*path, "next_update"))
        for change in items(doc, (*path, "history")):
            found += ordered(doc, (*path, "date"), (*change, "date"))
    for path in items(doc, ("orders",)):
        found += ordered(doc, (*path, "date"), (*path, "lifted"))
    for path in items(doc, ("exemptions",)):
        found += ordered(doc, (*path, "from"), (*path, "expires"))
    for path in items(doc, ("stop_orders",)):
        found += ordered(doc, (*path, "since"), (*path, "lifted"))
    return found


def _laws(doc: YamlDoc) -> Iterator[Problem]:
    root = doc.value if isinstance(doc.value, dict) else {}
    laws = root.get("laws")
    if "laws" not in root or laws == []:
        yield doc.problem(("laws",), "no law: name the laws in force here, or write `laws: none`")
    elif isinstance(laws, list) and len(laws) > 1 and "none" in laws:
        yield doc.problem(("laws",), "`none` stands beside other laws")


def _subjects(doc: YamlDoc) -> Iterator[Problem]:
    verifier = at(doc.value, ("signals", "identity", "jwt"))
    for activity in items(doc, ("activities",)):
        subject = at(doc.value, (*activity, "subject"))
        if isinstance(subject, str) and subject.startswith("jwt.") and not isinstance(verifier, dict):
            yield doc.problem((*activity, "subject"), f"subject `{subject}` needs signals.identity.jwt")


def _declared(doc: YamlDoc) -> Iterator[Problem]:
    fields = mapping(doc, "fields")
    for activity in items(doc, ("activities",)):
        for path in items(doc, (*activity, "fields")):
            name = at(doc.value, path)
            if isinstance(name, str) and name not in fields:
                yield doc.problem(path, unknown("field", name, fields))
        since = at(doc.value, (*activity, "since"))
        if isinstance(since, str):
            yield from on_calendar(doc, (*activity, "since"), since)
    for rule in mapping(doc, "modes"):
        for path in items(doc, ("modes", rule)):
            start = at(doc.value, (*path, "from"))
            if isinstance(start, str):
                yield from on_calendar(doc, (*path, "from"), start)


_USELESS = {
    "peer": ("trusted", "header", "count", "unix"),
    "server": ("trusted", "header", "count", "unix"),
    "single_header": ("count",),
    "rightmost_trusted_range": ("count",),
    "unsafe_leftmost_non_private": ("trusted", "count", "unix"),
}
_FORWARDING = ("rightmost_trusted_count", "rightmost_trusted_range", "unsafe_leftmost_non_private")


def _addresses(doc: YamlDoc) -> Iterator[Problem]:
    base: Path = ("signals", "client_address")
    given = at(doc.value, base)
    if not isinstance(given, dict):
        return
    trusted, strategy, header = given.get("trusted"), given.get("strategy"), given.get("header")
    has_proxies = trusted not in (None, []) or given.get("unix") is True
    if strategy in ("rightmost_trusted_range", "single_header") and not has_proxies:
        yield doc.problem(base, f"{strategy} needs `trusted`: the ranges that your own proxies have")
    for key in _USELESS.get(strategy if isinstance(strategy, str) else "", ()):
        if given.get(key) not in (None, [], False):
            yield doc.problem((*base, key), f"strategy `{strategy}` does not use `{key}`: leave it out")
    if strategy == "single_header" and header is None:
        yield doc.problem(base, "single_header needs `header`: the one that your proxy sets, such as cf-connecting-ip")
    elif strategy == "single_header" and header in ("x-forwarded-for", "forwarded"):
        yield doc.problem((*base, "header"), f"`{header}` is a list: use rightmost_trusted_range")
    elif strategy in _FORWARDING and isinstance(header, str) and header not in ("x-forwarded-for", "forwarded"):
        yield doc.problem((*base, "header"), f"expected x-forwarded-for or forwarded, got `{header}`")
    if strategy == "rightmost_trusted_count" and given.get("count") is None:
        yield doc.problem(base, "rightmost_trusted_count needs `count`: how many of your own proxies stand in a row")
    for index, text in enumerate(trusted if isinstance(trusted, list) else []):
        if isinstance(text, str) and "${" not in text:
            try:
                Ranges((text,))
            except AddressError as error:
                yield doc.problem((*base, "trusted", index), f"expected a range such as 10.0.0.0/8: {error}")
                continue
            if text.endswith("/0"):
                message = f"`{text}` trusts everybody, so anybody could say any address: name your own proxies' ranges"
                yield doc.problem((*base, "trusted", index), message)


def _routes(doc: YamlDoc) -> Iterator[Problem]:
    seen: dict[tuple[str, tuple[str, ...]], Path] = {}
    names: dict[str, Path] = {}
    places: list[tuple[Path, Path | None]] = [((*path, "route"), path) for path in items(doc, ("activities",))]
    places += [(("exempt", i), None) for i in range(len(listed(doc, "exempt")))]
    for path, activity in places:
        route = at(doc.value, path)
        found = ROUTE.fullmatch(route) if isinstance(route, str) else None
        if found is None:
            continue
        method, template = found.groups()
        if method not in METHODS:
            yield doc.problem(path, f"unknown method `{method}`{nearest(method, METHODS)}")
        try:
            segments = parse_template(template)
        except ValueError as error:
            yield doc.problem(path, f"route `{route}`: {error}")
            continue
        if (first := seen.setdefault((method, shape(segments)), path)) != path:
            yield doc.problem(path, f"route `{route}` stands already in line {doc.mark(first)[0]}")
        if activity is None:
            continue
        name = at(doc.value, (*activity, "name")) or route
        # Two that have one name because they have one route are told above, once.
        if isinstance(name, str) and (first := names.setdefault(name, path)) != path and at(doc.value, first) != route:
            yield doc.problem(activity, f"activity `{name}` stands already in line {doc.mark(first)[0]}")
        subject = at(doc.value, (*activity, "subject"))
        params = [s[1:-1].partition(":")[0] for s in segments if s.startswith("{")]
        if isinstance(subject, str) and subject.startswith("path.") and subject[5:] not in params:
            message = f"subject `{subject}`: the route has no parameter `{subject[5:]}`{nearest(subject[5:], params)}"
            yield doc.problem((*activity, "subject"), message)
