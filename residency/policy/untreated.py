"""What a rule wants treated and where data comes in or rests in; whether it stays untreated there, out.

`protect` of direction `in` is about what a request brings, of `rest` about what lies in a sink. What an app takes in
and writes are its own bytes and statements, into which nobody sees, so neither is treated. Two things satisfy a rule
all the same: an activity that lists what it takes in, and not this field; a sink that encrypts what is to be encrypted.
"""

from __future__ import annotations

from typing import Final

from residency.model import Activity, Duty, Operation, Sink

__all__ = ["TAKING", "coming", "takes_in", "untreated_at_rest"]

TAKING: Final = frozenset({Operation.WRITE, Operation.PROCESS, Operation.POST})
"""What brings data in."""


def coming(duty: Duty) -> frozenset[str]:
    """The fields that are to be treated where they come in."""
    return frozenset(each.field for each in duty.protect if each.direction == "in")


def takes_in(activity: Activity, fields: frozenset[str]) -> bool:
    """Whether an activity may take in one of these fields: one that lists its fields, or kinds of media, takes no
    other."""
    listed = activity.fields | activity.media
    return bool(fields) and activity.operation in TAKING and (not listed or not listed.isdisjoint(fields))


def untreated_at_rest(duty: Duty, sink: Sink) -> bool:
    """Whether a field would rest in a sink otherwise than asked."""
    asked = [each for each in duty.protect if each.direction == "rest"]
    return any(each.transform != "encrypt" or not sink.encrypted for each in asked)
