"""A YamlDoc of a deployment in, its variables expanded; problems of where its URLs lead out. No message repeats one."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from posixpath import normpath
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from residency.errors import Problem
from residency.model.place import within
from residency.policy.docwalk import items, mapping
from residency.policy.problems import at
from residency.policy.yamldoc import Path, Value, YamlDoc

__all__ = ["place_problems"]

_STAND_IN: Final = "memory:"
"""A place of its own, and what `policy.archive` puts in the place of a variable that it does not know."""
_SAME: Final = {"rediss": "redis", "valkey": "redis", "valkeys": "redis"}
_PORTS: Final = {"postgresql": ":5432", "redis": ":6379", "https": ":443", "http": ":80"}
_USUAL: Final = {"redis": "0"}
# The options that say where a place is; others say how it is used.
_TELLING: Final = {
    "postgresql": ("host", "hostaddr", "port", "dbname", "service", "options"),
    "redis": ("db",),
    "s3": ("endpoint", "region"),
    "gs": ("endpoint",),
    "az": ("endpoint",),
}


def place_problems(doc: YamlDoc) -> Iterator[Problem]:
    """Problems of the URLs of sinks and hand-overs."""
    yield from _twice(doc)
    yield from _handed_over(doc)


def _handed_over(doc: YamlDoc) -> Iterator[Problem]:
    region = at(doc.value, ("audit", "region"))
    here = at(doc.value, ("regions", region, "country")) if isinstance(region, str) else None
    instances: dict[str, list[str]] = {}
    for place in mapping(doc, "hand_over"):
        where: Path = ("hand_over", place)
        if isinstance(here, str) and within(here, place):
            yield doc.problem(where, f"this instance itself runs in {here}: requests would come back to it")
        given = at(doc.value, where)
        url = given if isinstance(given, str) else at(doc.value, (*where, "url"))
        if not isinstance(url, str) or "${" in url:
            continue
        if not _unread(url):
            yield doc.problem(where, "expected https://HOST: what is handed over is somebody's data")
        elif not _is_base(url):
            what = "expected https://HOST or https://HOST/PATH and nothing else: a path is put behind, clients see it"
            yield doc.problem(where, what)
        elif _STAND_IN not in url:
            same = instances.setdefault(_instance(url), [])
            other = next((each for each in same if not within(place, each) and not within(each, place)), None)
            if other is not None:
                yield doc.problem(where, f"the instance of {other} has the same URL: one instance lies in one country")
            same.append(place)


def _unread(url: str) -> bool:
    """Whether nobody on the way reads what is sent there."""
    if _STAND_IN in url:
        return True
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "https" or (
            parts.scheme == "http" and (host == "localhost" or ip_address(host).is_loopback)
        )
    except ValueError:
        return False


def _is_base(url: str) -> bool:
    """Whether a request's path can be put behind a URL, and the whole be told to whom it is sent."""
    if _STAND_IN in url:
        return True
    parts = urlsplit(url)
    try:
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and not set(url) & set("?#@\\ ") and url.isascii() and url.isprintable()


def _instance(url: str) -> str:
    """What the URLs of one instance have in common."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(_PORTS.get(parts.scheme, ''))}{parts.path.rstrip('/')}"


def _twice(doc: YamlDoc) -> Iterator[Problem]:
    """Problems of sinks and locators that are one and the same by their URLs and lie in two countries: one of them is a
    lie, and who must be kept at home would be stored abroad under the other's name."""
    named: list[tuple[str, Path, Value]] = []
    for name in mapping(doc, "sinks"):
        for path in (("sinks", name), *items(doc, ("sinks", name, "members"))):
            region = at(doc.value, (*path, "region"))
            country = at(doc.value, ("regions", region, "country")) if isinstance(region, str) else None
            named.append((name, (*path, "url"), country))
    named += [(f"locators.{place}", ("locators", place), place) for place in mapping(doc, "locators")]
    seen: dict[str, tuple[str, str]] = {}
    for name, where, country in named:
        url = at(doc.value, where)
        if not isinstance(url, str) or not isinstance(country, str) or (place := _place(url)) is None:
            continue
        other, there = seen.setdefault(place, (name, country))
        if other != name and there != country:
            yield doc.problem(
                where, f"`{name}` in {country} and `{other}` in {there} have the same URL: data lies in one place"
            )


def _place(url: str) -> str | None:
    """What two URLs of one place have in common, whoever connects and however; None where each is a place of its own.

    Of names it is not asked what they resolve to: one that is spelled in two ways is two.
    """
    if _STAND_IN in url:
        return None
    if url.startswith(("http://", "https://")):
        return url  # a service may tell by its credentials or headers where it is to work
    if url.startswith("file:"):
        return f"file:{normpath(url.removeprefix('file:').removeprefix('//'))}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    base, plus, _ = parts.scheme.partition("+")
    scheme = _SAME.get(base, base)
    login, _, host = parts.netloc.rpartition("@")
    if scheme != "redis" or not plus:  # a sentinel's port is another one
        host = host.removesuffix(_PORTS.get(scheme, ""))
    if scheme == "az":
        host = f"{login.partition(':')[0]}@{host}"  # the account, which a container is one of
    path = normpath(parts.path[1:]) if parts.path[1:] else ""
    said = dict(parse_qsl(parts.query))
    if said.get("endpoint"):
        said.pop("region", None)
    kept = [f"{name}={said[name]}" for name in _TELLING.get(scheme, ()) if name in said]
    return f"{scheme}://{host.lower()}/{path or _USUAL.get(scheme, '')}?{'&'.join(kept)}"
