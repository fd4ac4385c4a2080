"""What a sink says of itself in; whether it is the one that the deployment means, out.

Evidence of place cannot tell two databases of one operator apart whose URLs were exchanged: each lies where its address
says. So an operator has a mark written into each sink, once: its name and its region. Whoever meets another's mark
there has another's data before them.

| marks found                        | says                                                          |
|------------------------------------|---------------------------------------------------------------|
| none                               | nothing: most sinks never got one                             |
| one of this name and this region   | it is the one                                                 |
| one of this name in another region | another database, or the region was renamed in the deployment |
| others' alone                      | another's database                                            |
| its own, and another country's     | one database that is said to lie in two countries             |

Several sinks may share one server (a cache and a queue): it bears a mark of each. They must lie in one country, for
data does: a bucket under two names looks like two, and marks are what tells that it is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Final, Protocol, runtime_checkable

from residency.enforcement.ports import ObjectSink, SinkPort
from residency.errors import SinkUnavailable
from residency.model.place import within
from residency.storage.lasting import lasting
from residency.storage.location import Which

__all__ = [
    "OBJECT", "REDIS_KEY", "TABLE", "Itself", "Mark", "Marked", "differs", "from_text", "mark_of", "misled",
    "read_marks", "to_text", "together", "write_marks",
]  # fmt: skip

TABLE: Final = "residency_sink"
"""The table that holds the marks of a sink of rows."""
REDIS_KEY: Final = b"residency:sink"
"""The key that holds those of a cache."""
OBJECT: Final = ".residency/sink"
"""The object that holds those of a store of objects; listings do not tell it."""
_JSON: Final = "application/json"
_SHOWN: Final = 60  # characters of a name that another wrote


@dataclass(frozen=True, slots=True)
class Mark:
    """Which sink this is: its name, the name of its region, that region's place, and the stores that use it."""

    sink: str
    region: str
    place: str
    stores: tuple[str, ...] = ()


@runtime_checkable
class Marked(Protocol):
    """A sink that keeps marks in a way of its own."""

    async def marks(self) -> tuple[Mark, ...]:
        """The marks it bears. Raises: SinkUnavailable."""

    async def put_marks(self, marks: Sequence[Mark]) -> None:
        """Have it bear these and no others, durably. Raises: SinkUnavailable."""


@runtime_checkable
class Itself(Protocol):
    """A sink whose servers say which they are, marked or not."""

    async def which(self) -> Which:
        """What they say; more than one word where several hold its data. Raises: SinkUnavailable."""


def mark_of(sink: SinkPort, stores: Mapping[str, Sequence[str]] | None = None) -> Mark:
    """The mark that a sink should bear, by the deployment."""
    used = tuple(sorted(store for store, names in (stores or {}).items() if sink.name in names))
    return Mark(sink.name, sink.region.name, sink.region.place, used)


def differs(wanted: Mark, found: Iterable[Mark]) -> str | None:
    """What is wrong with the marks of the sink that `wanted` is of, in words that follow its name; None = nothing."""
    marks = list(found)
    for mark in marks:
        if mark.sink == wanted.sink:
            if (mark.region, mark.place) != (wanted.region, wanted.place):
                return f"is marked as lying in {_said(mark)}, and the deployment says {_said(wanted)}"
            abroad = [each for each in marks if each.sink != wanted.sink and not _together(each, wanted)]
            return f"bears the mark of sink {_named(abroad)}, too: data lies in one country" if abroad else None
    return f"bears the mark of sink {_named(marks)}: its URL is another's" if marks else None


def together(marks: Iterable[Mark]) -> bool:
    """Whether one sink may bear all of these: what it holds lies in one country."""
    return all(_together(one, other) for one, other in combinations(marks, 2))


def _together(one: Mark, other: Mark) -> bool:
    return within(one.place, other.place) or within(other.place, one.place)


def _named(marks: Iterable[Mark]) -> str:
    return " and ".join(sorted(f"{mark.sink!r} ({_said(mark)})" for mark in marks))


def misled(wrong: Mapping[str, str]) -> SinkUnavailable:
    """The error of sinks whose marks are not their own, by name, with what is wrong. No wait mends it."""
    return lasting(SinkUnavailable("; ".join(f"sink {sink!r} {why}" for sink, why in wrong.items())))


async def read_marks(sink: SinkPort) -> tuple[Mark, ...] | None:
    """The marks that a started sink bears, None where its kind can bear none. Raises: SinkUnavailable."""
    if isinstance(sink, Marked):
        return await sink.marks()
    if isinstance(sink, ObjectSink):
        return from_text(await sink.get(OBJECT))
    return None


async def write_marks(sink: SinkPort, marks: Sequence[Mark]) -> bool:
    """Have a started sink bear these marks and no others; False where its kind can bear none.

    Raises: SinkUnavailable.
    """
    if isinstance(sink, Marked):
        await sink.put_marks(marks)
    elif isinstance(sink, ObjectSink):
        await sink.put(OBJECT, to_text(marks), _JSON)
    else:
        return False
    return True


def to_text(marks: Sequence[Mark]) -> bytes:
    """Marks as bytes, for sinks that keep bytes."""
    return json.dumps([asdict(mark) for mark in marks], sort_keys=True).encode()


def from_text(text: bytes | None) -> tuple[Mark, ...]:
    """The marks of `to_text`. What cannot be read is somebody's that is not ours: a mark of no sink, which differs."""
    if text is None:
        return ()
    try:
        return tuple(
            Mark(_word(each["sink"]), _word(each["region"]), _word(each["place"]), tuple(map(_word, each["stores"])))
            for each in json.loads(text)
        )
    except (ValueError, TypeError, KeyError):
        return (Mark("?", "?", "?"),)


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _said(mark: Mark) -> str:
    # Whoever can write to the sink wrote this, and it goes into logs: a name's letters, and nothing that steers.
    text = f"{mark.region}, {mark.place}"
    return "".join(each if each.isprintable() else "?" for each in text)[:_SHOWN]
