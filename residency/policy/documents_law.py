"""The shape of a law file, for pydantic: what counsel maintains, one instrument and its rules, or an overlay of one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from residency.policy.documents_signals import Strict
from residency.policy.words import (
    BARE,
    ONE_OR_MANY,
    Anchors,
    Categories,
    Category,
    Confidence,
    Date,
    Duration,
    Event,
    LawCategories,
    LawCategory,
    LawClock,
    LawPlaces,
    ListName,
    LongDuration,
    Mode,
    Offset,
    Operations,
    Place,
    Places,
    Plain,
    Role,
    RuleId,
    Scope,
    ServiceLine,
    SinkScope,
    Size,
    Term,
    Token,
    Transform,
    Trusts,
    Weekday,
    Word,
    Words,
)
from residency.signals.recognisers import VALIDATORS

__all__ = ["Detector", "Duty", "LawFile", "Must", "OperatorTest", "Rule", "SinkTest", "Span"]

Many = (*ONE_OR_MANY, Field(min_length=1))
WordList = Annotated[list[Word], *Many]
Scopes = Annotated[list[SinkScope], *Many]


class Span(Strict):
    """`to` is the last day in force."""

    from_: Date = Field(alias="from")
    to: Date | None = None


class Checked(Strict):
    """When, how surely and from which source a law was read."""

    date: Date
    confidence: Confidence
    source: Plain


class OperatorTest(Strict):
    """What a rule asks of the operator; all that is written must match. A `size` left out matches."""

    established_in: Places | None = None
    not_established_in: Places | None = None
    role: Annotated[list[Role], *Many] | None = None
    service_line: Annotated[list[ServiceLine], *Many] | None = None
    sector: WordList | None = None
    size: Annotated[list[Size], *Many] | None = None
    public_body: bool | None = None
    critical: bool | None = None


class SinkTest(Strict):
    """Which sinks a rule is about; all that is written must match."""

    abroad: Literal[True] | None = None
    provider_abroad: Literal[True] | None = None
    keys_abroad: Literal[True] | None = None
    in_: LawPlaces | None = Field(default=None, alias="in")
    not_in: LawPlaces | None = None
    scope: Scopes | None = None
    encrypted: bool | None = None


class Applies(Strict):
    """When a rule speaks: any of the anchors, and all else that is written."""

    anchor: Annotated[list[Anchors], *Many]
    excluded_by: Trusts | None = None
    data: LawCategories | None = None
    operation: Annotated[list[Operations], *Many] | None = None
    action: WordList | None = None
    purpose: WordList | None = None
    basis: WordList | None = None
    ai: dict[Word, WordList | bool] | None = None
    operator: OperatorTest | None = None
    sink: SinkTest | None = None
    unless: Annotated[list[Token], *Many] | None = None


class Retain(Strict):
    """Keep at least or at most so long, from an event on; or for the system's lifetime."""

    at_least: LongDuration | None = None
    at_most: Duration | None = None
    data: Category | None = None
    scope: Scope | None = None
    from_: Event = Field(alias="from")


class Protect(Strict):
    """Treat one field in one direction."""

    field: Plain
    direction: Literal["in", "out", "rest"]
    transform: Transform
    effect: Literal["deidentified", "pseudonym", "protected"] = "protected"


class Clause(Strict):
    """An any-of, as a bare list or with a term: permitted, met or not, `within` it `after` the first such event."""

    any: Annotated[list[Token], *ONE_OR_MANY]
    within: Term | None = None
    after: Word | None = None


class Deadline(Strict):
    """Something to do within a term of an event."""

    task: Word
    within: Term
    from_: Word = Field(alias="from")


class Duty(Strict):
    """What a rule asks."""

    copies: Places | None = None
    first_write: Places | None = None
    only: Places | None = None
    require: list[Annotated[Clause, BARE]] = Field(default_factory=list)
    retain: list[Retain] = Field(default_factory=list)
    protect: list[Protect] = Field(default_factory=list)
    log: list[Plain] = Field(default_factory=list)
    label: list[Plain] = Field(default_factory=list)
    deadlines: list[Deadline] = Field(default_factory=list)
    effect: Literal["permit", "hold", "deny"] = "permit"


class Transition(Strict):
    """For those who match, the rule does not speak until after the day `until`."""

    until: Date
    in_use_before: Date | None = None
    sector: WordList | None = None


class Trigger(Strict):
    """An authority's order puts the rule in force, `after` the time it leaves to comply."""

    order: Word
    after: Term | None = None


class ModeSpan(Strict):
    """A mode from a day on."""

    from_: Date = Field(alias="from")
    mode: Mode


class Rule(Strict):
    """One rule with its article, dates and sources."""

    id: RuleId
    article: Plain
    text: Plain
    text_vi: Plain | None = None
    link: Plain | None = None
    fine: Plain | None = None
    source: Words | None = None
    confidence: Confidence | None = None
    checked: Date | None = None
    mode: Mode = "enforce"
    mode_from: list[ModeSpan] = Field(default_factory=list)
    in_force: Span | None = None
    clock: LawClock = "evaluation"
    transitions: list[Transition] = Field(default_factory=list)
    trigger: Trigger | None = None
    reading: dict[Word, Word] | None = None
    applies: Applies
    duty: Duty
    overrides: list[RuleId] = Field(default_factory=list)
    note: Plain | None = None


class Reading(Strict):
    """A question that the sources leave open, and how it may be read."""

    text: Plain
    options: Annotated[list[Word], Field(min_length=2)]
    default: Word


class WorkingDays(Strict):
    """Which days count as working days."""

    weekend: list[Weekday] | None = None
    holidays: list[Date] = Field(default_factory=list)
    source: Plain | None = None


class Escalation(Strict):
    """From so many subjects on, data of a category counts as another under the laws of this jurisdiction."""

    id: RuleId
    article: Plain
    data: LawCategories
    subjects: Annotated[int, Field(ge=1)]
    becomes: Category
    falls_below: Annotated[int, Field(ge=1)] | None = None
    per: Literal["ever", "calendar_year"] = "ever"
    confidence: Confidence | None = None


class Detector(Strict):
    """What shows that a category is there: names of fields, kinds of media, and what their values pass."""

    data: Category
    fields: list[Plain] = Field(default_factory=list)
    media: WordList | None = None
    validator: Annotated[Word, Field(json_schema_extra={"enum": list(VALIDATORS)})] | None = None
    score: Annotated[int, Field(ge=1, le=100)] | None = None


class Must(Strict):
    """What may never be permitted; `residency check` proves or refutes it."""

    id: RuleId | None = None
    never: dict[str, Any]
    why: Plain | None = None


class Dropped(Strict):
    """A rule that an overlay takes out, and why."""

    rule: RuleId
    why: Plain


class LawFile(Strict):
    """One instrument, its rules, each with article, dates, source and confidence; with `extends`, an overlay of one."""

    residency: Literal[1]
    kind: Literal["law"]
    extends: Plain | None = None
    jurisdiction: Place
    instrument: Plain
    number: Plain | None = None
    link: Plain | None = None
    replaced_by: Plain | None = None
    title: Plain | None = None
    title_vi: Plain | None = None
    time_zone: Offset = "+00:00"
    working_days: WorkingDays | None = None
    in_force: Span
    checked: Checked
    note: Plain | None = None
    not_covered: list[Plain] = Field(default_factory=list)
    categories: dict[LawCategory, Categories] = Field(default_factory=dict)
    places: dict[ListName, Places] = Field(default_factory=dict)
    readings: dict[Word, Reading] = Field(default_factory=dict)
    escalations: list[Escalation] = Field(default_factory=list)
    detectors: list[Detector] = Field(default_factory=list)
    must: list[Must] = Field(default_factory=list)
    drop: list[Dropped] = Field(default_factory=list)
    rules: list[Rule]
