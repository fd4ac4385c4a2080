"""Rows of several sinks and the ids of whose they are in; from which sink each is told, or why it is not, out.

A row counts where its subject's pin says that their data lies, and is told only if their own law lets it be read there
and by who asks, as `about()` of them would. A decision is the same for all of whom pins tell the same, so it is made
once for each finding. Who has no pin is presumed to be covered as the deployment says, and so is of whom a row does
not tell whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from residency.enforcement.about import whereabouts
from residency.enforcement.current import Current
from residency.enforcement.moving import FOLLOWED
from residency.model import Decision, Effect, Finding, Pin, Reason, SinkVerdict
from residency.policy.terms import unbegun

__all__ = ["NOBODY", "Found", "Lying"]

NOBODY: Final = ""
"""Whose a row is that is nobody's; no subject has that id."""


class Found(NamedTuple):
    """One row of one sink, its values of the columns of the order, and the id of whose it is where that is told; `also`
    are those whose data it brings along."""

    item: Any
    key: tuple[Any, ...]
    whose: str | None = None
    also: tuple[str | None, ...] = ()


class Against(NamedTuple):
    """What stands against telling a row from a sink: the decision that says so, why, whether it is of that sink."""

    here: Current
    reason: Reason
    of_sink: bool = False


class _Class:
    """People of one finding: the decision on their data, what stands against telling it at all, whether it leans on a
    term."""

    __slots__ = ("_against", "_decided", "finding", "forbidden", "here", "leans", "pin")

    def __init__(self, finding: Finding, here: Current, pin: Pin | None) -> None:
        self.finding = finding  # held, so that its identity stays its own
        self.here = here
        self.pin = pin
        self._against: dict[str, Against | None] = {}
        self._decided: Decision | None = None
        self.decide()

    def decide(self) -> None:
        """Decide on what holds now."""
        here = self.here
        here.pin = self.pin
        try:
            here.point.decide(here)
        finally:
            here.pin = None  # an entry about all of them is not to bear the alias of one
        decision = here.decision
        if decision is not self._decided or here.forbidden is not self.forbidden:
            self._decided = decision
            self.told_anew()
            self.leans = bool(decision.clocks) or any(each.clocks for each in decision.sinks)

    def against(self, sink: str) -> Against | None:
        """What stands against telling their rows from `sink`, unless they are moved just now."""
        try:
            return self._against[sink]
        except KeyError:
            answer = self._against[sink] = self._ask(sink)
            return answer

    def _ask(self, sink: str) -> Against | None:
        if self.forbidden is not None:
            return Against(self.here, self.forbidden)
        verdict = self.here.decision.sink(sink)
        if verdict is None:
            return Against(self.here, Reason.NO_SINK)
        if verdict.effect is Effect.PERMIT:
            return None
        return Against(self.here, verdict.reason or Reason.INTERNAL, True)

    def told_anew(self) -> None:
        """The decision was made again."""
        self.forbidden = self.here.forbidden
        self._against.clear()

    async def begin(self, verdict: SinkVerdict | None) -> None:
        """Note the events that reading their data there, as it is permitted, is the first of."""
        self.here.pin = self.pin
        try:
            await self.here.point.begin_terms(self.here, verdict)
        finally:
            self.here.pin = None
        self.told_anew()


class Lying:
    """Where people's data lies and what their law says of reading it, by their pins, each looked up once for a page."""

    __slots__ = ("_binds", "_classes", "_here", "_of", "_pins", "_places", "_readers", "_twice", "clear")

    def __init__(self, here: Current, places: Mapping[str, str], *, judged: bool = True, twice: bool = True) -> None:
        """`places` are those of the store's sinks, by name. `judged` = the rows are somebody's; `twice` = one may lie
        in two sinks."""
        self._here = here
        self._places = places
        self._pins: dict[str, Pin | None] = {}
        self._classes: dict[int, _Class] = {}
        self._of: dict[str | None, _Class] = {}
        self.clear = False
        """Whether nothing stands against any row that was looked at, and none may lie in two sinks."""
        self._readers = whereabouts(here)
        self._binds = judged and here.decision.mode != "observe"
        self._twice = twice

    @property
    def twice(self) -> bool:
        """Whether a row may lie in two sinks."""
        return self._twice

    async def look(self, rows: Iterable[tuple[str, Found]]) -> None:
        """Take in the pins of all whose these (sink, row) are, and decide on them anew.

        Raises: PinsUnavailable, FactsUnavailable, JournalFull, JournalFailed.
        """
        seen, people = _people(rows)
        if away := self._peek(people):
            homes, digest = self._here.point.homes, self._here.point.perception.digest
            self._pins.update(zip(away, await homes.fetch_all([digest(each) for each in away]), strict=True))
        if self._decide(people):
            for of, sink in {(id(self._of[whose]), sink): (self._of[whose], sink) for sink, whose in seen}.values():
                await self._begin(of, sink)
        self._is_clear(seen)

    def look_now(self, rows: Iterable[tuple[str, Found]]) -> bool:
        """As `look`, where nothing is to be waited for; False = nothing is told yet, and `look` does it. Raises: as
        `look`."""
        seen, people = _people(rows)
        if self._peek(people) or self._decide(people):
            return False
        self._is_clear(seen)
        return True

    def _peek(self, people: Iterable[str | None]) -> list[str]:
        """Take in the pins that are held here; whose are not."""
        homes, digest = self._here.point.homes, self._here.point.perception.digest
        away = []
        for each in people:
            if each is not None and each not in self._pins:
                pin, known = homes.peek(digest(each))
                self._pins[each] = pin
                if not known:
                    away.append(each)
        for each in away:
            del self._pins[each]  # until it is asked for
        return away

    def _decide(self, people: Iterable[str | None]) -> bool:
        """Decide on these anew, for the facts may have moved since the last look; whether one leans on a term."""
        if not self._binds:
            return False
        fresh: set[int] = set()
        self._of = {each: self._class(each, fresh) for each in people}
        return any(self._classes[each].leans for each in fresh)

    def _is_clear(self, seen: Iterable[tuple[str, str | None]]) -> None:
        self.clear = not self._twice and (not self._binds or all(self._answer(*each) is None for each in seen))

    async def _begin(self, of: _Class, sink: str) -> None:
        """Note the events that reading their data there is the first of, where it may be read."""
        decision = of.here.decision
        verdict = decision.sink(sink)
        permitted = of.forbidden is None and verdict is not None and verdict.effect is Effect.PERMIT
        if permitted and unbegun(decision, verdict):
            await of.begin(verdict)

    def counts(self, sink: str, found: Found) -> bool:
        """Whether a row that lies in `sink` is told from there, as far as its place goes."""
        if not self._twice or found.whose is None or (pin := self._pins.get(found.whose)) is None:
            return True
        place = pin.moving or pin.home
        return self._places[sink] == place or place not in self._places.values()

    def against(self, sink: str, found: Found) -> Against | None:
        """What stands against telling a row from `sink`, and the decision that says so; None = nothing does."""
        if not self._binds:
            return None
        if found.also:
            return next((each for whose in (found.whose, *found.also) if (each := self._answer(sink, whose))), None)
        return self._answer(sink, found.whose)

    def _answer(self, sink: str, whose: str | None) -> Against | None:
        if whose == NOBODY:
            return None
        answer = self._of[whose].against(sink)
        if answer is None or answer.reason not in FOLLOWED:
            return answer
        # While their data is moved it still lies there, and is read there all the same.
        pin = None if whose is None else self._pins.get(whose)
        return None if pin is not None and pin.moving == self._places[sink] and answer.of_sink else answer

    def arrived(self, found: Found) -> tuple[str, ...]:
        """The sinks to which the data of a row's subject was moved; none where it was not."""
        pin = None if found.whose is None else self._pins.get(found.whose)
        if pin is None or pin.set_by != "move" or pin.moving is not None:
            return ()
        return tuple(name for name, place in self._places.items() if place == pin.home)

    def _class(self, whose: str | None, fresh: set[int]) -> _Class:
        """The class of one of them; `fresh` are those that were decided on by now."""
        here = self._here
        point = here.point
        pin = None if whose is None else self._pins.get(whose)
        finding = point.perception.finding((), pin)
        known = self._classes.get(id(finding))
        if known is None:
            other = Current(
                point, here.activity, here.params, None, (), frozenset(), {}, here.trail, requested=here.requested
            )  # fmt: skip
            other.readers = self._readers
            known = self._classes[id(finding)] = _Class(finding, other, pin)
        elif id(finding) not in fresh:
            known.decide()
        fresh.add(id(finding))
        return known


def _people(rows: Iterable[tuple[str, Found]]) -> tuple[set[tuple[str, str | None]], set[str | None]]:
    """(sink, whose) of all that these rows tell of, and whose alone."""
    seen = {(sink, whose) for sink, found in rows for whose in (found.whose, *found.also) if whose != NOBODY}
    return seen, {whose for _, whose in seen}
