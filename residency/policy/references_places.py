"""A YamlDoc of a deployment in; problems of one place that is said to be two, out."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from residency.errors import Problem
from residency.policy.docwalk import items, mapping
from residency.policy.problems import at
from residency.policy.yamldoc import Path, YamlDoc

__all__ = ["place_problems"]


def place_problems(doc: YamlDoc) -> Iterator[Problem]:
    """Problems of sinks that are one and the same by their URLs and lie in two countries: one of them is a lie, and who
    must be kept at home would be stored abroad under the other's name."""
    seen: dict[str, tuple[str, str]] = {}
    for name in mapping(doc, "sinks"):
        for path in (("sinks", name), *items(doc, ("sinks", name, "members"))):
            url, region = at(doc.value, (*path, "url")), at(doc.value, (*path, "region"))
            country = at(doc.value, ("regions", region, "country")) if isinstance(region, str) else None
            if not isinstance(url, str) or not isinstance(country, str) or (place := _place(url)) is None:
                continue
            other, there = seen.setdefault(place, (name, country))
            if other != name and there != country:
                where: Path = (*path, "url")
                yield doc.problem(
                    where, f"`{name}` in {country} and `{other}` in {there} have the same URL: data lies in one place"
                )


def _place(url: str) -> str | None:
    """What two URLs of one place have in common, whoever connects; None where each is a place of its own."""
    if url.startswith("memory:"):
        return None
    if url.startswith(("http://", "https://")):
        return url  # a service may tell by its credentials or headers where it is to work
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    scheme, host = parts.scheme.partition("+")[0], parts.netloc.rpartition("@")[2]
    return f"{scheme}://{host.lower()}{parts.path}?{parts.query}"
