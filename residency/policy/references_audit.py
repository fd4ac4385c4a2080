"""A YamlDoc of a deployment in; problems of its `audit:` that only show where two lines meet, out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping

from residency.errors import Problem
from residency.model.place import within
from residency.policy.docwalk import mapping, unknown
from residency.policy.problems import at
from residency.policy.yamldoc import Path, YamlDoc

__all__ = ["audit_problems"]

_KEY_BYTES = 32
_STAND_IN = "memory:"  # of a variable that decides nothing, where an archived policy is read again


def audit_problems(doc: YamlDoc, written: Mapping[Path, str]) -> Iterator[Problem]:
    """Problems of where the trail, its detail and its mirror are to lie, variables expanded: what each instance says of
    itself stands in them. `written` has the text of what was expanded."""
    regions = mapping(doc, "regions")
    region = at(doc.value, ("audit", "region"))
    if isinstance(region, str) and _said(region) and region not in regions:
        name = written.get(("audit", "region"), region)  # what a variable holds may be a secret by mistake
        yield doc.problem(("audit", "region"), unknown("region", name, regions))
    country = at(doc.value, ("regions", region, "country")) if isinstance(region, str) else None
    detail = at(doc.value, ("audit", "detail"))
    for place in detail if isinstance(detail, dict) else {}:
        where = ("audit", "detail", place)
        key = at(doc.value, (*where, "seal_to"))
        if isinstance(key, str) and ((*where, "seal_to") in written or not _is_key(key)):  # it is public: no variable
            yield doc.problem((*where, "seal_to"), "expected a public key: 32 bytes in base64")
        elif key is None and isinstance(country, str) and not within(country, place):
            yield doc.problem(
                where,
                f"detail of {place} would lie readable in {country}, where this instance runs: give `seal_to`, the "
                f"public key of {place}",
            )
    url = at(doc.value, ("audit", "mirror", "url"))
    if isinstance(url, str) and _said(url) and not url.startswith(("s3://", "file://")):
        yield doc.problem(("audit", "mirror", "url"), "expected s3://BUCKET/PREFIX, or file:///PATH of a mount")


def _said(text: str) -> bool:
    """Whether it is what a server goes by: no variable that is not set, which is told of, and no stand-in for one."""
    return "${" not in text and _STAND_IN not in text


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
