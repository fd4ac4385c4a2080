"""A seed in; a world out: laws, a deployment, and questions with their people, evidence, facts and dates.

Every word of the language can occur; what a rule asks is drawn feature by feature, few at a time, so that rules speak
often enough to meet each other. The same seed is the same world, on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from residency.model import (
    Activity,
    Anchor,
    AnchorFinding,
    Calendar,
    Clause,
    Deadline,
    Duty,
    Effect,
    Event,
    Exemption,
    FactSet,
    Filing,
    FilingResult,
    Finding,
    Operation,
    Operator,
    Order,
    Presume,
    Protection,
    Region,
    Retention,
    Sink,
    StopOrder,
    SubjectSource,
    Term,
    Trust,
    deadline,
)
from residency.model.duty import TRANSFORMS, Bound
from residency.policy.parsed import (
    DeploymentDoc,
    Detector,
    Escalation,
    Grace,
    LawDoc,
    OperatorTest,
    Reading,
    RuleDoc,
    SinkDoc,
    SinkTest,
    Span,
    Transition,
    Trigger,
)
from residency.policy.parsed_signals import Secret

__all__ = ["DAY", "Asked", "World", "laws_only", "make_world", "mapped", "plain", "with_clauses"]

T = TypeVar("T")
DAY: Final = 86_400_000_000
START: Final = 20_000 * DAY
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PLACES: Final = ("VN", "DE", "EU", "SG", "US", "CA", "CA-QC")
JURISDICTIONS: Final = ("VN", "VN", "EU", "CA-QC", "US")
DATA: Final = ("personal", "sensitive", "health", "account", "content", "core")
TERMS: Final = {
    "2 days": Term(days=2),
    "3 working days": Term(days=3, working=True),
    "30 hours": Term(hours=30),
    "1 month": Term(months=1),
}
SINKS: Final = (
    Sink("vn", "r1", "VN", "VN", "VN", True, certified=frozenset({"level3"})),
    Sink("vn-foreign", "r1", "VN", "US", "US", True, scope="replica"),
    Sink("de", "r2", "DE", "DE", "DE", True, in_transit=False),
    Sink("sg", "r3", "SG", "SG", "VN", False, scope="backup"),
    Sink("qc", "r4", "CA-QC", "CA", "CA", True, scope="cache"),
)
_PERSON: Final = ("identity:phone", "identity:eid", "age:at_least_18", "consent:ads", "consent:guardian")
_LIES: Final = ("basis:contract", "sink:encrypted", "known:territory.VN", "ai:portal_id", "consent:{purpose}")
_READERS: Final = ("reader:SG", "reader:DE", "reader:VN", "reader:ZZ")
_FILINGS: Final = ("vn.dossier", "eu.scc", "contract.scc", "portal.ai")
_TESTS: Final = (
    "span", "clock", "trigger", "transitions", "reading", "data", "data", "data", "operations", "actions", "purposes",
    "bases", "ai", "operator", "operator", "operator", "excluded_by", "unless", "modes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """One question; `activity` is its number in the deployment, None = no activity names the route."""

    activity: int | None
    finding: Finding
    evidence: frozenset[str]
    facts: FactSet
    now: int
    requested: int | None
    collected: int | None


@dataclass(frozen=True, slots=True)
class World:
    """Laws that a deployment chose, the deployment, and what is asked of them."""

    seed: int
    deployment: DeploymentDoc
    laws: tuple[LawDoc, ...]
    questions: tuple[Asked, ...]


def make_world(seed: int, questions: int = 20) -> World:
    """The world of a seed, with so many questions."""
    return _Maker(seed).world(questions)


def mapped(laws: Sequence[LawDoc], change: Callable[[RuleDoc], RuleDoc]) -> tuple[LawDoc, ...]:
    """The laws with each rule changed."""
    return tuple(replace(law, rules=tuple(change(rule) for rule in law.rules)) for law in laws)


def with_clauses(rule: RuleDoc, change: Callable[[Clause], Clause]) -> RuleDoc:
    """The rule with each clause of its duty changed."""
    return replace(rule, duty=replace(rule.duty, require=frozenset(change(clause) for clause in rule.duty.require)))


def plain(laws: Sequence[LawDoc]) -> tuple[LawDoc, ...]:
    """The laws without overrides."""
    return mapped(laws, lambda rule: replace(rule, overrides=frozenset()))


def laws_only(world: World, laws: Sequence[LawDoc]) -> World:
    """The same world under other laws; what the deployment says of rules that are gone, goes too."""
    rules = {rule.id for law in laws for rule in law.rules}
    asked = {question for law in laws for question in law.readings}
    deployment = replace(
        world.deployment,
        laws=("*",) if laws else (),
        modes={name: mode for name, mode in world.deployment.modes.items() if name in rules},
        modes_from={name: modes for name, modes in world.deployment.modes_from.items() if name in rules},
        readings={name: answer for name, answer in world.deployment.readings.items() if name in asked},
    )
    return replace(world, deployment=deployment, laws=tuple(laws))


class _Maker:
    """Draws one world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.instants: list[int] = []
        self.ends: list[int] = []  # of terms: few, so that they are asked about by themselves
        self.rules: list[tuple[str, bool]] = []  # (id, about sinks)

    # -- drawing

    def maybe(self, share: float) -> bool:
        return self.chance.random() < share

    def pick(self, values: Sequence[T]) -> T:
        return values[self.chance.randrange(len(values))]

    def several(self, values: Sequence[T], most: int, least: int = 0) -> list[T]:
        """In the order drawn: a set's own order is not the same in every process."""
        return self.chance.sample(values, self.chance.randint(least, most))

    def some(self, values: Sequence[T], most: int, least: int = 0) -> frozenset[T]:
        return frozenset(self.several(values, most, least))

    def when(self) -> int:
        """An instant of the forty days that everything happens in; later questions are asked around it."""
        at = START + self.chance.randint(0, 40) * DAY + self.pick((0, 0, 0, 1, 25_200_000_000))
        self.instants.append(at)
        return at

    def whenever(self, share: float = 0.5) -> int | None:
        return self.when() if self.maybe(share) else None

    # -- laws

    def law(self, number: int) -> LawDoc:
        name = f"l{number}"
        jurisdiction = self.pick(JURISDICTIONS)
        readings = {"scope": Reading("?", ("broad", "narrow"), self.pick(("broad", "narrow")))}
        law = LawDoc(
            name=name, jurisdiction=jurisdiction, instrument=f"Act {name}", title="", title_vi="",
            span=Span(self.whenever(0.3), self.whenever(0.2)), confidence="high", checked="2026-11-21", rules=(),
            calendar=self.calendar(), readings=readings if self.maybe(0.5) else {},
            escalations=tuple(
                Escalation(
                    f"{name}.e{n}", "art. 9", self.some(DATA, 2, 1), 100, self.pick(("core", "sensitive", "health")),
                    90, "ever", "high",
                )
                for n in range(self.chance.choice((0, 1, 1, 2)))
            ),
            detectors=tuple(
                Detector(
                    self.pick(DATA), tuple(self.several(("*phone*", "ID?", "home_*"), 2)),
                    self.some(("id_image", "video"), 1), "cccd" if self.maybe(0.2) else None,
                )
                for _ in range(self.chance.choice((0, 0, 1, 1, 2)))
            ),
        )  # fmt: skip
        return replace(law, rules=tuple(self.rule(law, n) for n in range(self.chance.randint(1, 5))))

    def calendar(self) -> Calendar:
        start = (_EPOCH + timedelta(days=START // DAY)).date()
        return Calendar(
            self.pick((0, 420, -300)),
            self.pick((frozenset({5, 6}), frozenset({4, 5}), frozenset[int]())),
            frozenset(start + timedelta(days=day) for day in self.some(range(40), 6)),
        )

    def rule(self, law: LawDoc, number: int) -> RuleDoc:
        name = f"{law.name}.r{number}"
        about_sinks = self.maybe(0.35)
        # A rule may override earlier ones only, so that no two override each other; a rule about sinks only its like.
        allowed = [n for n, of_sinks in self.rules if of_sinks or not about_sinks]
        overrides = self.some(allowed, 2, 1) if len(allowed) > 1 and self.maybe(0.25) else frozenset[str]()
        self.rules.append((name, about_sinks))
        duty, graces = self.duty(law)
        rule = RuleDoc(
            id=name, article=f"art. {number}", text="t", text_vi="", source="S", confidence="high",
            checked="2026-11-21", mode=self.pick(("enforce",) * 7 + ("warn", "observe", "off")), span=Span(),
            anchors=self.some(tuple(Anchor), 3, 1), duty=duty, graces=graces, overrides=overrides,
            sink=self.sink_test() if about_sinks else None,
            link=self.pick(("", "https://example.org/act")), fine=self.pick(("", "60 million")),
        )  # fmt: skip
        for test in self.chance.sample(_TESTS, self.chance.choice((0, 0, 1, 1, 2, 3))):
            rule = self.tested(rule, law, test)
        return rule

    def tested(self, rule: RuleDoc, law: LawDoc, test: str) -> RuleDoc:
        """The rule with one more test."""
        match test:
            case "span":
                return replace(rule, span=Span(self.whenever(), self.whenever()))
            case "clock":
                span = Span(self.whenever(), self.when())
                return replace(rule, clock=self.pick(("request", "collection")), span=span)
            case "trigger":
                after = self.pick((None, *TERMS.values()))
                return replace(rule, trigger=Trigger(self.pick(("vn.order", "eu.order")), after))
            case "transitions":
                waits = tuple(
                    Transition(
                        self.when(),
                        self.whenever(),
                        self.some(("health", "finance"), 2, 1) if self.maybe(0.5) else None,
                    )
                    for _ in range(self.chance.randint(1, 2))
                )
                return replace(rule, transitions=waits, clock=self.pick(("evaluation", "request", "collection")))
            case "reading":
                return replace(rule, reading=(("scope", self.pick(("broad", "narrow"))),)) if law.readings else rule
            case "data":
                return replace(rule, data=self.some(DATA, 2, 1))
            case "operations":
                return replace(rule, operations=self.some(tuple(Operation), 3, 1))
            case "actions":
                return replace(rule, actions=self.some(("livestream", "sell"), 2, 1))
            case "purposes":
                return replace(rule, purposes=self.some(("ads", "care"), 1, 1))
            case "bases":
                return replace(rule, bases=self.some(("consent", "contract"), 1, 1))
            case "ai":
                keys = {
                    "risk": self.some(("high", "medium"), 2, 1),
                    "human_review": frozenset({self.pick(("true", "false"))}),
                }
                return replace(rule, ai=tuple(sorted((key, keys[key]) for key in self.several(tuple(keys), 2))))
            case "operator":
                return replace(rule, operator=self.operator_test())
            case "excluded_by":
                return replace(rule, excluded_by=self.pick(tuple(Trust)))
            case "unless":
                place = law.jurisdiction
                words = ("age:at_least_18", "consent:{purpose}", f"known:territory.{place}", "filing:eu.scc")
                return replace(rule, unless=self.some(words, 2, 1))
            case _:
                modes = tuple(sorted((self.when(), self.mode()) for _ in range(self.chance.randint(1, 2))))
                return replace(rule, mode_from=modes)

    def mode(self) -> str:
        return self.pick(("enforce", "enforce", "warn", "observe", "off"))

    def operator_test(self) -> OperatorTest:
        test = OperatorTest()
        for asked in self.several(range(8), 2, 1):
            match asked:
                case 0:
                    test = replace(test, established_in=self.some(PLACES, 2, 1))
                case 1:
                    test = replace(test, not_established_in=self.some(PLACES, 2, 1))
                case 2:
                    test = replace(test, role=frozenset({"controller"}))
                case 3:
                    test = replace(test, service_line=frozenset({"messaging"}))
                case 4:
                    test = replace(test, public_body=self.maybe(0.5))
                case 5:
                    test = replace(test, sector=self.some(("health", "finance"), 2, 1))
                case 6:
                    test = replace(test, size=self.some(("micro", "large"), 1, 1))
                case _:
                    test = replace(test, critical=self.maybe(0.5))
        return test

    def sink_test(self) -> SinkTest:
        abroad = ("abroad", "provider_abroad", "keys_abroad")
        kinds = self.chance.sample(abroad, self.chance.choice((0, 1, 1, 1, 2)))
        test = SinkTest(kinds[0], also=frozenset(kinds[1:])) if kinds else SinkTest("any")
        if not kinds or self.maybe(0.25):
            match self.chance.randrange(5):
                case 0:
                    test = replace(test, places=self.some(PLACES, 2, 1))
                case 1:
                    test = replace(test, outside=self.some(PLACES, 2, 1))
                case 2:
                    test = replace(test, scopes=self.some(("primary", "replica", "backup", "cache"), 2, 1))
                case 3:
                    test = replace(test, encrypted=self.maybe(0.5))
                case _:
                    test = test if kinds else SinkTest("in", self.pick(("VN", "EU")))
        return test

    def duty(self, law: LawDoc) -> tuple[Duty, tuple[Grace, ...]]:
        duty, graces = Duty(), list[Grace]()
        slots = ("clause",) * 8 + ("copies", "only", "protect") * 2 + ("first_write", "keep", "hold", "deny", "forbid")
        for slot in self.chance.sample(slots, self.chance.choice((1, 1, 2, 3))):
            match slot:
                case "clause":
                    clause = self.clause(law)
                    if self.maybe(0.25):
                        text = self.pick(tuple(TERMS))
                        event = self.pick(("first_transfer", "found"))
                        token = f"clock:{event}.{law.jurisdiction}/{text.replace(' ', '-')}"
                        graces.append(Grace(token, event, TERMS[text]))
                        clause |= {token}
                    duty = replace(duty, require=duty.require | {clause})
                case "copies":
                    duty = replace(duty, copies=self.some(("VN", "VN", "EU", "DE"), 1, 1))
                case "first_write":
                    duty = replace(duty, first_write=self.some(("VN", "VN", "SG"), 1, 1))
                case "only":
                    duty = replace(duty, only=self.some(("VN", "EU", "CA"), 3, 1))
                case "protect":
                    where = self.pick(("in", "out", "rest"))
                    asked = Protection(self.pick(("phone", "name")), where, self.pick(TRANSFORMS), "protected")
                    duty = replace(duty, protect=duty.protect | {asked})
                case "keep":
                    duty = replace(
                        duty,
                        retain=frozenset({Retention("personal", Bound.AT_LEAST, self.pick((12, 24)), 0, "last_use")}),
                        deadlines=frozenset({Deadline("subject.erase", Term(days=20), "request", law.jurisdiction)}),
                        log=frozenset({"ip"}),
                        label=self.some(("ai", "ad"), 1),
                    )
                case "hold":
                    duty = replace(duty, effect=max(duty.effect, Effect.HOLD))
                case "deny":
                    duty = replace(duty, effect=Effect.DENY)
                case _:
                    if self.maybe(0.5):
                        duty = replace(duty, require=duty.require | {frozenset()})
        return duty, tuple(graces)

    def clause(self, law: LawDoc) -> Clause:
        person = self.some((*_PERSON, "consent:{purpose}"), 2, 1)
        known = frozenset({f"known:{self.pick(tuple(Anchor)).value}.{law.jurisdiction}"})
        consent = frozenset({self.pick(("consent:ads", "consent:{purpose}", "consent:{purpose}", "consent:guardian"))})
        register = self.some(("filing:vn.dossier", "filing:eu.scc", "contract:scc", "portal:ai"), 2, 1)
        own = frozenset({self.pick(("basis:contract", "ai:portal_id", "ai:risk.high"))})
        words = ("sink:encrypted", "sink:in_transit", "sink:keys.VN", "sink:certified.level3", "sink:scope.primary")
        sink = self.some(words, 2, 1)
        mixed = (register | own, sink | register, person | register, sink | consent, person | known)
        return self.pick((*(person, consent, register, sink) * 2, own, known, *mixed))

    # -- deployment

    def activity(self, number: int) -> Activity:
        facts_of_ai = {
            "risk": self.pick(("high", "medium", "low")),
            "human_review": self.pick(("true", "false")),
            "portal_id": self.pick(("AI-1", "no")),
            "system": "assistant",
        }
        return Activity(
            f"a{number}", "POST", f"/a{number}", SubjectSource("app"),
            self.some(DATA, 3, 1), self.pick(tuple(Operation)),
            purpose=self.pick((None, "ads", "care")), basis=self.pick((None, "consent", "contract")),
            stores=self.pick(((), ("s1",), ("s1",), ("s2",), ("s1", "s2"), ("s2", "s1"))),
            ai=tuple(sorted((k, facts_of_ai[k]) for k in self.some(tuple(facts_of_ai), 4))) if self.maybe(0.6) else (),
            actions=self.some(("livestream", "sell"), 2), fields=self.some(("phone", "Home_Phone", "id1", "note"), 2),
            media=self.some(("id_image", "video"), 1), since=self.whenever(),
        )  # fmt: skip

    def deployment(self, laws: Sequence[LawDoc]) -> DeploymentDoc:
        names = [name for name, _ in self.rules]
        return DeploymentDoc(
            name="d",
            mode=self.pick(("enforce", "enforce", "observe")),
            operator=Operator(
                self.some(PLACES, 2, 1), self.some(("controller",), 1), self.some(("messaging",), 1), self.maybe(0.5),
                self.some(("health", "finance"), 2), self.pick((None, "micro", "large")), self.maybe(0.5),
            ),
            laws=("*",) if laws else (),
            laws_from=(),
            registers=(),
            presume=((Anchor.TERRITORY, Presume.COVERED),),
            regions={s.region: Region(s.region, s.place) for s in SINKS},
            sinks={s.name: SinkDoc(s, Secret("")) for s in SINKS},
            stores={"s1": tuple(self.chance.sample([s.name for s in SINKS], self.chance.randint(1, 5))), "s2": ("sg",)},
            activities=tuple(self.activity(n) for n in range(3)),
            unclassified=self.pick(("deny", "deny", "permit")),
            modes={name: self.mode() for name in self.several(names, min(2, len(names)))} if self.maybe(0.4) else {},
            modes_from={
                name: tuple(sorted((self.when(), self.mode()) for _ in range(self.chance.randint(1, 2))))
                for name in (self.several(names, min(2, len(names))) if self.maybe(0.4) else ())
            },
            readings={"scope": self.pick(("broad", "narrow"))}
            if self.maybe(0.5) and any(law.readings for law in laws)
            else {},
            readers=self.pick(("decide", "decide", "record")),
            strict_clocks=self.maybe(0.15),
        )  # fmt: skip

    # -- questions

    def facts(self, laws: Sequence[LawDoc]) -> FactSet:
        names = [name for name, _ in self.rules]
        facts = FactSet(
            self.chance.randint(0, 3),
            filings=tuple(
                Filing(
                    kind, "1", self.when(), self.pick(tuple(FilingResult)), self.whenever(0.3),
                    changes=((self.when(), self.pick(tuple(FilingResult))),) if self.maybe(0.3) else (),
                    sinks=self.some([*(s.name for s in SINKS), *_READERS[:2]], 3, 1) if self.maybe(0.4) else None,
                )
                for kind in self.several(_FILINGS, 4)
            ),
            stop_orders=tuple(
                StopOrder("1", sink, self.when(), self.whenever())
                for sink in self.several(("*", "sg", "vn", "reader:SG"), 1)
            ),
            orders=tuple(
                Order(kind, "1", self.when(), self.whenever(0.3))
                for kind in (*self.several(("vn.order", "eu.order"), 2), *self.several(("vn.order",), 1))
            ),
            exemptions=tuple(
                Exemption(
                    f"X-{n}", self.some(names, min(2, len(names)), 1), "CISO", "art. 1", START,
                    START + self.chance.randint(10, 60) * DAY,
                    activities=frozenset({"a0", "a1"}) if self.maybe(0.3) else None,
                    sinks=self.some([*(s.name for s in SINKS), *_READERS[:2]], 3, 1) if self.maybe(0.4) else None,
                )
                for n in range(self.chance.choice((0, 1, 2)) if names else 0)
            ),
            events=tuple(
                Event(kind, place, self.when())
                for kind in ("first_transfer", "found") for place in self.several(("VN", "EU", "US"), 2)
            ),
            escalated=frozenset(
                name for name in (*(e.id for law in laws for e in law.escalations), "gone.e0") if self.maybe(0.5)
            ),
        )  # fmt: skip
        self.instants += [edge for e in facts.exemptions for edge in (e.start, e.end)]
        self._deadlines(laws, facts)
        return facts

    def _deadlines(self, laws: Sequence[LawDoc], facts: FactSet) -> None:
        for law in laws:
            for rule in law.rules:
                terms = [(facts.event(g.event, law.jurisdiction), g.term) for g in rule.graces]
                if rule.trigger is not None and rule.trigger.after is not None:
                    terms += [(order.date, rule.trigger.after) for order in facts.orders]
                self.ends += [deadline(at, term, law.calendar) for at, term in terms if at is not None]

    def anchor(self) -> AnchorFinding:
        if self.maybe(0.2):
            return AnchorFinding()
        return AnchorFinding(
            self.some(PLACES, 1), self.some(PLACES, 1, 1) if self.maybe(0.3) else frozenset(), self.pick(tuple(Trust))
        )

    def finding(self) -> Finding:
        finding = Finding(self.anchor(), self.anchor(), self.anchor(), self.anchor())
        if self.maybe(0.2):
            finding = replace(finding, conflicts_presumed=True)
        if self.maybe(0.3):
            finding = replace(finding, presume=tuple((anchor, self.pick(tuple(Presume))) for anchor in Anchor))
        return finding

    def question(self, facts: Sequence[FactSet]) -> Asked:
        now = START + self.chance.randint(0, 45 * DAY)
        if self.maybe(0.5):
            ends = self.ends and self.maybe(0.4)
            now = self.pick(self.ends if ends else self.instants) + self.pick((-1, 0, 1))
        return Asked(
            self.pick((0, 0, 1, 1, 2, 2, None)) if self.maybe(0.5) else self.pick((0, 1, 2)),
            self.finding(),
            self.some((*_PERSON, *_PERSON[:2], "consent:care", "filing:eu.scc"), 4)
            | self.some(_LIES, 1)
            | (self.some(_READERS, 2, 1) if self.maybe(0.2) else frozenset()),
            self.pick(facts),
            now,
            self.pick((None, now, now - 3 * DAY)),
            self.pick((None, now - self.chance.randint(0, 30) * DAY)),
        )

    def world(self, questions: int) -> World:
        laws = tuple(self.law(n) for n in range(self.chance.choice((1, 2, 3, 3, 4))))
        deployment = self.deployment(laws)
        facts = [self.facts(laws) for _ in range(3)]
        asked = tuple(self.question(facts) for _ in range(questions))
        return World(self.seed, deployment, laws, asked)
