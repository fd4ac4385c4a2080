"""A pin as one line of JSON, and back: what shared stores of pins and the audit detail hold of it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from residency.model.finding import Anchor, Trust
from residency.model.place import is_place
from residency.model.subject import Pin

__all__ = ["format_pin", "parse_anchors", "parse_pin", "parse_place"]

_FIELDS: Final = ("subject", "home", "alias", "set_by", "policy", "at", "version")


def format_pin(pin: Pin) -> str:
    """`pin` as one line of ASCII: a JSON object with sorted keys."""
    document: dict[str, object] = {name: getattr(pin, name) for name in _FIELDS}
    if pin.moving is not None:
        document["moving"] = pin.moving
    document["anchors"] = [[anchor.value, place, trust.value] for anchor, place, trust in pin.anchors]
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def parse_pin(text: str | bytes) -> Pin:
    """The pin that `format_pin` wrote. Raises: ValueError for anything else."""
    document = json.loads(text)
    if not isinstance(document, dict) or set(document) - {"moving"} != {*_FIELDS, "anchors"}:
        raise ValueError("not a pin")
    for name in _FIELDS:
        if type(document[name]) is not (int if name in ("at", "version") else str):
            raise ValueError("not a pin")
    parse_place(document["home"])
    if "moving" in document:  # pins at rest do not have it
        parse_place(document["moving"])
    anchors = document.pop("anchors")
    return Pin(**document, anchors=parse_anchors(json.dumps(anchors)))


def parse_place(value: object) -> str:
    """A place as a pin names it: a country, a part of one or a bloc. Raises: ValueError for anything else."""
    # A place that is none would be covered by no law.
    if not isinstance(value, str) or not is_place(value):
        raise ValueError("not a place")
    return value


@lru_cache(maxsize=1024)  # few combinations are in use, and subjects share them
def parse_anchors(text: str) -> tuple[tuple[Anchor, str, Trust], ...]:
    """What a pin remembers, of its JSON: a list of (anchor, place, trust). Raises: ValueError for anything else."""
    listed = json.loads(text)
    if not isinstance(listed, list) or not all(isinstance(each, list) and len(each) == 3 for each in listed):
        raise ValueError("not a pin")
    return tuple((Anchor(anchor), parse_place(place), Trust(trust)) for anchor, place, trust in listed)
