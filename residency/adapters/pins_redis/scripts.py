"""Pins in, JSON as it is stored out, and back; and the scripts that compare and set in one step on the server.

A pin lies under `<prefix><digest>`. A forgotten one leaves a tombstone there for as long as pins are replayed, so that
a replay by somebody who has not heard of it does not bring back an erased person's pin. Two lives of one subject are
told apart by their aliases, which are random: within a life the higher version is the newer, between lives the later.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from residency.errors import PinsUnavailable
from residency.jurisdiction.pinned import parse_place
from residency.model import Anchor, Pin, Trust

__all__ = ["FORGET", "PUT", "REPLAY", "Script", "format_pin", "parse_pin"]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script over one key, and the digest under which a server knows it."""

    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


PUT: Final = _script("""
local stored = redis.call('GET', KEYS[1])
local version = 0
if stored then
  local pin = cjson.decode(stored)
  if not pin.gone then version = pin.version end
end
if tonumber(ARGV[2]) ~= version + 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
""")
"""KEYS pin; ARGV stored form, version. 1, or 0 where the stored version is not the one before."""

FORGET: Final = _script("""
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local pin = cjson.decode(stored)
if pin.gone or pin.version ~= tonumber(ARGV[1]) then return 0 end
local stone = cjson.encode({gone = true, alias = pin.alias, version = pin.version, at = string.format('%.0f', pin.at)})
redis.call('SET', KEYS[1], stone, 'PX', ARGV[2])
return stone
""")
"""KEYS pin; ARGV version, milliseconds the tombstone stays. The tombstone, or 0 where that version is not there."""

REPLAY: Final = _script("""
local stored = redis.call('GET', KEYS[1])
if stored then
  local there = cjson.decode(stored)
  local ours = cjson.decode(ARGV[1])
  if there.alias == ours.alias then
    if there.version > ours.version then return 0 end
    if there.version == ours.version and (there.gone or not ours.gone) then return 0 end
  elseif tonumber(there.at) >= tonumber(ours.at) then
    return there.gone and 0 or 2
  end
end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
""")
"""KEYS pin; ARGV stored form of a pin or tombstone, milliseconds it stays or 0 for ever.

1 where it was put back, 0 where it was known, 2 where the subject has got another home since."""


def format_pin(pin: Pin) -> bytes:
    """The stored form of a pin."""
    told = {
        "home": pin.home,
        "anchors": [[anchor.value, place, trust.value] for anchor, place, trust in pin.anchors],
        "alias": pin.alias,
        "set_by": pin.set_by,
        "policy": pin.policy,
        "at": pin.at,
        "version": pin.version,
    }
    if pin.moving is not None:
        told["moving"] = pin.moving
    return json.dumps(told, separators=(",", ":")).encode()


def parse_pin(subject: str, stored: bytes | None) -> Pin | None:
    """The pin that is stored; None where there is none or a tombstone. Raises: PinsUnavailable where it is neither."""
    if stored is None:
        return None
    try:
        pin = json.loads(stored)
        if pin.get("gone") is True:
            return None
        return Pin(
            subject=subject,
            home=parse_place(pin["home"]),
            anchors=tuple(
                (Anchor(anchor), parse_place(place), Trust(trust)) for anchor, place, trust in pin["anchors"]
            ),
            alias=_text(pin["alias"]),
            set_by=_text(pin["set_by"]),
            policy=_text(pin["policy"]),
            at=_number(pin["at"]),
            version=_number(pin["version"]),
            moving=parse_place(pin["moving"]) if "moving" in pin else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PinsUnavailable("what is stored in a pin's place is not a pin") from error


def _text(value: object) -> str:
    # Printable: operators read it on a terminal.
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError("not a text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value
