"""A decision and what led to it in; a page of sections for people, in one language, out.

The order is the reader's: what was decided, what was seen, whose law that makes it, which rules spoke and which did
not, where data goes, what is missing, which terms run, what must happen now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from residency.jurisdiction.account import Heard, Voice
from residency.jurisdiction.precedence import BESIDE
from residency.model import Anchor, Clock, Decision, Duty, Effect, Finding, Pin, Reason, Retention, RuleRef, Trust
from residency.model import Term as Span
from residency.policy.explain_cite import cite
from residency.policy.explain_render import Item, Page, Section
from residency.policy.explain_tasks import event, task
from residency.policy.explain_words import SENTENCES, Language, because, category, place, say, trust
from residency.policy.uncarried import Gap
from residency.policy.untreated import coming, takes_in

__all__ = ["Story", "moment", "page_of", "ways_to_meet"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LINK: Final = re.compile(r"https?://[^\s<>()]+")


@dataclass(frozen=True, slots=True)
class Story:
    """A decision and what is known of how it came about.

    `heard` are its signals and what became of each; None = a finding that was given as it is. `client` holds address,
    strategy, network and problem. `caller` names a sentence ("unknown", "subject" ...), `goes_to` the sink that the pin
    leads to, `entry` the entry of the log that told it; `undone` is what of the duty nothing carries out.
    """

    decision: Decision
    heard: tuple[Heard, ...] | None
    pin: Pin | None = None
    client: Mapping[str, str | None] | None = None
    route: str = ""
    at: str = ""
    caller: str | None = None
    goes_to: str | None = None
    entry: int | None = None
    undone: tuple[Gap, ...] = ()


def page_of(story: Story, language: Language) -> Page:
    """The page of a story."""
    return _Writer(story, language).page()


class _Writer:
    """Writes one page."""

    def __init__(self, story: Story, language: Language) -> None:
        self.story = story
        self.decision = story.decision
        self.language = language

    def say(self, name: str, /, **values: object) -> str:
        return say(name, self.language, **values)

    def page(self) -> Page:
        decision, story = self.decision, self.story
        name = story.route or (decision.activity.name if decision.activity is not None else self.say("the_request"))
        at = self.say("at", at=story.at) if story.at else ""
        title = self.say("title", name=name, effect=self.say(decision.effect.word), why=_why(decision.reason), at=at)
        sections = (
            ("seen", self._seen()),
            ("discarded", self._discarded()),
            ("anchors", self._anchors()),
            ("whose", self._whose()),
            ("applied" if decision.reason is None else "refused", self._cited(decision.rules)),
            ("outranked", self._cited(decision.outranked)),
            ("exempted", self._exempted()),
            ("observed", self._cited(decision.observed)),
            ("goes", self._goes()),
            ("missing", self._missing()),
            ("elsewhere", self._elsewhere()),
            ("instead", self._instead()),
            ("terms", self._terms()),
            ("must", self._must()),
            ("due", self._due()),
            ("undone", (Item(gap.text(self.language)) for gap in story.undone)),
        )
        built = [(name, tuple(items)) for name, items in sections]
        return Page(title, tuple(self._lead()), tuple(Section(self.say(n), items) for n, items in built if items))

    def _lead(self) -> Iterator[str]:
        decision, story = self.decision, self.story
        if decision.reason is not None and (told := because(decision.reason, self.language)):
            yield told
        if story.entry is not None:
            yield self.say("entry", index=story.entry, at=story.at)
        if decision.mode == "observe":
            yield self.say("observes")
        if decision.activity is None:
            yield self.say("no_activity")
        if story.caller is not None:
            yield self.say("caller", who=self.say(story.caller))

    # -- what was seen -----------------------------------------------------------------------------------------

    def _seen(self) -> Iterator[Item]:
        story = self.story
        if story.client is not None:
            client = story.client
            network = self.say("network", network=client["network"]) if client.get("network") else ""
            address = client.get("address") or self.say("undetermined")
            yield Item(self.say("address", address=address, strategy=client["strategy"], network=network))
        if story.pin is not None:
            yield Item(self.say("pin", home=story.pin.home, by=story.pin.set_by, version=story.pin.version))
        if story.heard is None:
            yield Item(self.say("given"))
            return
        yield from (self._said(each) for each in story.heard if not each.discarded)
        if all(each.discarded for each in story.heard):
            yield Item(self.say("silence"))

    def _discarded(self) -> Iterator[Item]:
        yield from (self._said(each) for each in self.story.heard or () if each.discarded)

    def _said(self, heard: Heard) -> Item:
        signal = heard.signal
        anchor, how = self.say(signal.anchor.value), self._trust(signal.trust)
        why = self._voice(heard)
        return Item(self.say("signal", anchor=anchor, place=signal.place, trust=how, source=signal.source, because=why))

    def _voice(self, heard: Heard) -> str:
        signal, others = heard.signal, self.story.heard or ()
        mine = self._trust(signal.trust)
        same = [each for each in others if each.signal.anchor is signal.anchor and not _stands_beside(each)]
        match heard.voice:
            case Voice.SPOKE:
                return self.say("beside") if _stands_beside(heard) else self.say("spoke", trust=mine)
            case Voice.CONFLICTS:
                places = {e.signal.place for e in same if e.voice is Voice.CONFLICTS} - {signal.place}
                return self.say("conflicts", others=", ".join(sorted(places)))
            case Voice.HINTS:
                return self.say("hints")
            case Voice.OUTRANKED:
                top = max((e.signal.trust for e in same if not e.discarded), default=signal.trust)
                return self.say("weaker", top=self._trust(top), trust=mine)
            case Voice.MAY_NOT_SPEAK:
                return self.say("mute", trust=mine, anchor=self.say(signal.anchor.value))

    def _trust(self, how: Trust) -> str:
        return trust(how.name.lower(), self.language)

    def _place(self, code: str) -> str:
        return place(code, self.language)

    # -- whose law ---------------------------------------------------------------------------------------------

    def _anchors(self) -> Iterator[Item]:
        for anchor in Anchor:
            state = self._state(self.decision.finding, anchor)
            yield Item(self.say("anchor", anchor=self.say(anchor.value), state=state))

    def _state(self, finding: Finding, anchor: Anchor) -> str:
        found = finding.anchor(anchor)
        if found.silent:
            return self.say("is_silent", presume=self.say(dict(finding.presume)[anchor].value))
        told = [self.say("is_established", places=", ".join(sorted(found.established)))] if found.established else []
        told += [self.say("is_contested", places=", ".join(sorted(found.contested)))] if found.contested else []
        return "; ".join(told) + ("" if found.trust is None else f" ({self._trust(found.trust)})")

    def _whose(self) -> Iterator[Item]:
        for code in self.decision.jurisdictions:
            told = []
            for anchor in Anchor:
                covered, presumed = self.decision.finding.covered_how(code, anchor)
                if covered:
                    state = "presumed" if presumed else self.decision.finding.state(code, anchor).value
                    known = self.say("undetermined" if state == "undetermined" else state)
                    told.append(f"{self.say(anchor.value)} {known}")
            yield Item(f"{self._place(code)}: {', '.join(told)}")
        if not self.decision.jurisdictions:
            yield Item(self.say("no_law"))

    # -- rules -------------------------------------------------------------------------------------------------

    def _exempted(self) -> Iterator[Item]:
        decision = self.decision
        notes = [self.say("exemption", numbers=", ".join(decision.exemptions))] if decision.exemptions else []
        for verdict in decision.sinks:
            # One that lifts a rule at some sinks leaves it in force at the others, where it is told as applied.
            if numbers := [n for n in verdict.exemptions if n not in decision.exemptions]:
                notes.append(self.say("exemption_at", numbers=", ".join(numbers), sink=verdict.sink.name))
        return self._cited(decision.exempted, tuple(notes))

    def _cited(self, rules: Iterable[RuleRef], more: tuple[str, ...] = ()) -> Iterator[Item]:
        for rule in rules:
            sure = self.say(rule.confidence) if rule.confidence in SENTENCES else rule.confidence
            source = self.say("source", source=rule.source, confidence=sure)
            text = rule.text if self.language == "en" else rule.text_vi or rule.text
            notes = [text] if text else []
            notes += [self.say("fine", fine=rule.fine)] if rule.fine else []
            link = rule.link or next(iter(_LINK.findall(rule.source)), "")
            told = self.say("rule", id=rule.id, citation=cite(rule.citation, self.language), source=source)
            yield Item(told, (*notes, *more), "" if link in told else link)

    # -- sinks, and what is missing ----------------------------------------------------------------------------

    def _goes(self) -> Iterator[Item]:
        for verdict in self.decision.sinks:
            cited = "; ".join(dict.fromkeys(cite(rule.citation, self.language) for rule in verdict.rules))
            by = self.say("by", citations=cited) if cited and verdict.reason is not None else ""
            sink, effect = verdict.sink, self.say(verdict.effect.word)
            told = self.say("sink", sink=sink.name, place=sink.place, effect=effect, why=_why(verdict.reason), by=by)
            yield Item(told)
        if self.story.goes_to is not None and self.story.pin is not None:
            yield Item(self.say("goes_to", sink=self.story.goes_to))

    def _missing(self) -> Iterator[Item]:
        return (Item(self._any_of(ways), self._meaning(ways)) for ways in map(ways_to_meet, self.decision.unmet))

    def _elsewhere(self) -> Iterator[Item]:
        # What a sink asks is not missing where the activity is permitted and another sink takes the data.
        for verdict in self.decision.sinks:
            for clause in verdict.unmet:
                if clause not in self.decision.unmet:
                    ways = ways_to_meet(clause)
                    told = self.say("of_sink", sink=verdict.sink.name, what=self._any_of(ways))
                    yield Item(told, self._meaning(ways))

    def _instead(self) -> Iterator[Item]:
        """What may be done where data could go only with fields treated."""
        decision = self.decision
        sent = [verdict for verdict in decision.sinks if verdict.reason is Reason.CANNOT_BE_TREATED]
        for verdict in sent:
            if fields := _fields(verdict.duty, "out"):
                told = self.say("untreated", sink=verdict.sink.name, fields=fields)
                yield Item(told, (self.say("copied"),))
            else:
                yield self._kept(verdict.sink.name, _fields(verdict.duty, "rest") or _fields(verdict.duty, "in"))
        if decision.reason is Reason.CANNOT_BE_TREATED and not sent:
            taken = _fields(decision.duty, "in")
            if taken and decision.activity is not None and takes_in(decision.activity, coming(decision.duty)):
                yield self._kept(decision.activity.name, taken)
            else:
                fields = _fields(decision.duty, "out") or self.say("some_fields")
                yield Item(self.say("unread", fields=fields), (self.say("answered"),))

    def _kept(self, where: str, fields: str) -> Item:
        return Item(self.say("kept", where=where, fields=fields), (self.say("lifted"),))

    def _any_of(self, clause: frozenset[str]) -> str:
        return self.say("or").join(sorted(clause)) if clause else self.say("forbidden")

    def _meaning(self, clause: frozenset[str]) -> tuple[str, ...]:
        return (self.say("or").join(self._token(token) for token in sorted(clause)),) if clause else ()

    def _token(self, token: str) -> str:
        kind, _, name = token.partition(":")
        known = next((k for k in (f"token.{token}", f"token.{kind}") if k in SENTENCES), None)
        return token if known is None else self.say(known, name=name.removeprefix("at_least_"))

    # -- what runs and what must happen ------------------------------------------------------------------------

    def _terms(self) -> Iterator[Item]:
        clocks = (*self.decision.clocks, *(clock for v in self.decision.sinks for clock in v.clocks))
        return (Item(self._clock(clock)) for clock in dict.fromkeys(clocks))

    def _clock(self, clock: Clock) -> str:
        what = {"event": event(clock.event, self.language), "place": clock.place}
        if clock.deadline is None:
            return self.say("clock_unstarted", **what)
        return self.say("clock", at=moment(clock.deadline), **what)

    def _must(self) -> Iterator[Item]:
        duty = self._asked()
        yield from (Item(text) for text in self._duty(duty))
        yield from (Item(self.say("conflict", conflict=each.value)) for each in sorted(duty.conflicts))

    def _asked(self) -> Duty:
        """What is asked where the data goes: rules about that sink have a say too."""
        sinks = self.decision.sinks
        return sinks[0].duty if sinks and sinks[0].effect is Effect.PERMIT else self.decision.duty

    def _duty(self, duty: Duty) -> Iterator[str]:
        yield from (self.say("copy", place=self._place(code)) for code in sorted(duty.copies))
        yield from (self.say("first_write", place=self._place(code)) for code in sorted(duty.first_write))
        if duty.only is not None:
            yield self.say("only", places=", ".join(map(self._place, sorted(duty.only))) or self.say("nowhere"))
        yield from (self._retention(each) for each in sorted(duty.retain))
        for each in sorted(duty.protect):
            words = {"transform": each.transform, "direction": each.direction, "effect": each.effect}
            yield self.say("protect", field=each.field, **words)
        if duty.log:
            yield self.say("log", fields=", ".join(sorted(duty.log)))
        if duty.label:
            yield self.say("label", labels=", ".join(sorted(duty.label)))

    def _due(self) -> Iterator[Item]:
        for due in sorted(self._asked().deadlines):
            words = {"task": task(due.task, self.language), "event": event(due.event, self.language)}
            told = self.say("deadline", term=self._span(due.term), place=due.place, name=due.task, **words)
            yield Item(told)

    def _retention(self, retention: Retention) -> str:
        words = {"what": category(retention.category, self.language), "bound": self.say(retention.bound.value)}
        scope = self.say("of_scope", scope=retention.scope) if retention.scope else ""
        if retention.lifetime:
            return self.say("keep_lifetime", **words) + scope
        time = self._span(Span(months=retention.months, days=retention.days))
        return self.say("keep", time=time, event=event(retention.start, self.language), **words) + scope

    def _span(self, term: Span) -> str:
        parts = [self.say("months", n=term.months)] if term.months else []
        days = "working_days" if term.working else "days"
        parts += [self.say(days, n=term.days)] if term.days or not (parts or term.hours) else []
        return " ".join([*parts, *([self.say("hours", n=term.hours)] if term.hours else [])])


def _stands_beside(heard: Heard) -> bool:
    """Whether a signal is a pinned place that outranks nothing and that nothing outranks."""
    signal = heard.signal
    return heard.voice is Voice.SPOKE and signal.source == "pin" and signal.anchor in BESIDE


def _fields(duty: Duty, direction: str) -> str:
    return ", ".join(f"{each.transform} `{each.field}`" for each in sorted(duty.protect) if each.direction == direction)


def _why(reason: object) -> str:
    return "" if reason is None else f" ({reason})"


def ways_to_meet(unmet: frozenset[str]) -> frozenset[str]:
    """What would meet a clause that nothing meets: all its tokens but terms. A term that would still meet it runs, and
    then nothing is missing; it has run out, or the deployment gives none (`clocks: strict`)."""
    return frozenset(token for token in unmet if not token.startswith("clock:"))


def moment(at: int) -> str:
    """An instant (microseconds) as people write it; far off ones as what they are."""
    try:
        return (_EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%d %H:%M UTC")
    except OverflowError:
        return f"{at} us"
