"""The shape of a file of policy tests, for pydantic: plain values in, checked models and JSON Schema out.

What is given stands as people say it; what is expected names only what a test is about. `casefile` makes values of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from residency.policy.documents_signals import Strict
from residency.policy.words import (
    BARE_EXACTLY,
    BARE_KIND,
    BARE_REASON,
    BARE_RULES,
    BARE_SINK,
    ONE_OR_MANY,
    Date,
    Offset,
    Place,
    Plain,
    ReadFrom,
    ReasonWord,
    RuleId,
    Seen,
    Token,
    Word,
)

__all__ = ["CaseFields", "Expect", "Given", "Refusal", "Some", "TestFile"]

_Seen = Annotated[list[Seen], *ONE_OR_MANY]
_Several = Annotated[list[Plain], *ONE_OR_MANY]
_Claim = str | bool | int | list[str]


class GivenFiling(Strict):
    """A filing in the register; without a `date` it has stood for long."""

    kind: Word
    number: Plain = "T-1"
    date: Date | None = None
    result: Literal["filed", "passed", "failed", "suspended"] = "filed"
    expires: Date | None = None
    sinks: _Several | None = None


class GivenOrder(Strict):
    """An authority's decision that puts rules in force."""

    kind: Word
    date: Date | None = None
    lifted: Date | None = None


class GivenStop(Strict):
    """An authority's order to stop using a sink; "*" is every sink abroad."""

    sink: Plain
    since: Date | None = None
    lifted: Date | None = None


class GivenExemption(Strict):
    """A waiver of named rules."""

    rules: Annotated[list[RuleId], *ONE_OR_MANY, Field(min_length=1)]
    number: Plain = "T-1"
    from_: Date | None = Field(default=None, alias="from")
    expires: Date | None = None
    activities: _Several | None = None
    sinks: _Several | None = None


class GivenEvent(Strict):
    """When a term's event first happened."""

    kind: Word
    jurisdiction: Place
    date: Date


class Given(Strict):
    """Who asks for what, when, and what the register says beside the deployment's own."""

    territory: _Seen = Field(default_factory=list)
    citizenship: _Seen = Field(default_factory=list)
    residence: _Seen = Field(default_factory=list)
    collection: _Seen = Field(default_factory=list)
    address: Plain | None = None
    claims: dict[str, _Claim] = Field(default_factory=dict)
    claims_verified: bool = True
    evidence: Annotated[list[Token], *ONE_OR_MANY] = Field(default_factory=list)
    read_from: Annotated[list[ReadFrom], *ONE_OR_MANY] = Field(default_factory=list)
    activity: Plain | None = None
    route: Plain | None = None
    date: Date | None = None
    requested: Date | None = None
    collected: Date | None = None
    register_: Literal["as_it_is", "empty"] = Field(default="as_it_is", alias="register")
    filings: list[Annotated[GivenFiling, BARE_KIND]] = Field(default_factory=list)
    orders: list[Annotated[GivenOrder, BARE_KIND]] = Field(default_factory=list)
    stop_orders: list[Annotated[GivenStop, BARE_SINK]] = Field(default_factory=list)
    exemptions: list[Annotated[GivenExemption, BARE_RULES]] = Field(default_factory=list)
    events: list[GivenEvent] = Field(default_factory=list)
    escalations: _Several = Field(default_factory=list)


class Some(Strict):
    """Which of several are expected: exactly these; or at least those, and none of others."""

    exactly: _Several | None = None
    includes: _Several = Field(default_factory=list)
    excludes: _Several = Field(default_factory=list)


_Some = Annotated[Some, BARE_EXACTLY]


class Refusal(Strict):
    """How one sink is refused."""

    reason: ReasonWord | None = None
    rules: _Some | None = None
    unmet: _Some | None = None


class Duties(Strict):
    """Slots of the joined duty of the activity, in words such as `personal at_least 24 months from last_use`."""

    copies: _Some | None = None
    first_write: _Some | None = None
    only: _Some | None = None
    require: _Some | None = None
    retain: _Some | None = None
    protect: _Some | None = None
    log: _Some | None = None
    label: _Some | None = None
    deadlines: _Some | None = None


class Expect(Strict):
    """What is expected of the decision; what is not named may be anything."""

    effect: Literal["permit", "hold", "deny", "exempt"] | None = None
    reason: ReasonWord | None = None
    first: Plain | None = None
    permitted: _Some | None = None
    refused: dict[str, Annotated[Refusal, BARE_REASON]] = Field(default_factory=dict)
    rules: _Some | None = None
    observed: _Some | None = None
    outranked: _Some | None = None
    exempted: _Some | None = None
    exemptions: _Some | None = None
    clocks: _Some | None = None
    unmet: _Some | None = None
    jurisdictions: _Some | None = None
    presumed: _Some | None = None
    duties: Duties = Field(default_factory=Duties)


class CaseFields(Given):
    """One test: a name, what is given beside the file's and the person's, what is expected."""

    name: Plain
    who: Plain | None = None
    expect: Expect


class TestFile(Strict):
    """Tests of one deployment and the laws that it names."""

    __test__ = False  # no class of tests of our own, whatever its name begins with

    residency: Literal[1]
    kind: Literal["test"]
    deployment: Plain
    time_zone: Offset = "+00:00"
    env: dict[str, str] = Field(default_factory=dict)
    given: Given = Field(default_factory=Given)
    people: dict[str, Given] = Field(default_factory=dict)
    tests: Annotated[list[CaseFields], Field(min_length=1)]
