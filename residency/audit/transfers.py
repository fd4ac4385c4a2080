"""Entries of the log and the policies behind them in; what went abroad, where to, since when, on what ground, out.

A transfer is an act that was done, or whose end is not known, on a sink that lies outside a jurisdiction that covers
the person, or whose provider or keys do: that counts as one under some readings of the laws, so each flow says how it
is abroad. Data that is read from abroad is one wherever it rests: entries note where it went (`read_from:`), and such a
flow has the reader's place. Acts that failed and erasures are none. An act that a deployment let pass because it only
observes is one too, and its ground says that there was none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from residency.audit.entry import Entry, parse_entry_id
from residency.model import Activity, FactSet, Operation, Sink
from residency.model.place import within
from residency.policy.compiler import Policy
from residency.policy.parsed import RuleDoc

__all__ = ["SUBJECTS_KEPT", "UNKNOWN_PLACE", "Flow", "FlowKey", "Ground", "Transfers"]

SUBJECTS_KEPT: Final = 1 << 20
"""Subjects that are told apart in all flows together; beyond, a flow's number of subjects is a lower bound."""
UNKNOWN_PLACE: Final = "ZZ"
"""The place of a reader of whom nobody knows where they are."""
_EARLY: Final = 10_000
_BOUND: Final = 1 << 14
_READ_FROM: Final = "read_from:"
_NO_TRANSFER: Final = frozenset({Operation.ERASE.value, "pin"})


class FlowKey(NamedTuple):
    """What one flow is: whose law it leaves, what is done with which data, and where that goes.

    `place` is where the sink's bytes rest, `provider` and `keys` are countries. `how` says what of these is abroad:
    `region`, `provider`, `keys`; or `reader`: then `place` is that of who read it, `ZZ` where nobody knows.
    """

    jurisdiction: str
    activity: str
    operation: str
    categories: tuple[str, ...]
    purpose: str
    sink: str
    region: str
    place: str
    provider: str
    keys: str
    how: tuple[str, ...]


class Ground(NamedTuple):
    """Why a transfer was permitted: the rules on transfers that were cited, what of their clauses was at hand, the
    terms that it leaned on, the exemptions. `refused` is the reason for which it would have been refused, had the
    deployment not merely observed; None = it was permitted.
    """

    rules: tuple[str, ...]
    met: tuple[str, ...]
    running: tuple[str, ...]
    exemptions: tuple[str, ...]
    refused: str | None = None


@dataclass(slots=True)
class Flow:
    """One flow, counted. Instants in microseconds; `first_index` is the number of its first entry in the log."""

    key: FlowKey
    first: int
    first_index: int
    last: int
    count: int = 0
    unknown: int = 0  # of these, acts whose end the log does not know
    presumed: int = 0  # of these, acts of people whom the jurisdiction covers by presumption alone
    subjects: set[int] = field(default_factory=set)
    subjects_exact: bool = True
    grounds: dict[Ground, int] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The flow as plain JSON values; instants stay microseconds."""
        ordered = sorted(self.grounds.items(), key=lambda pair: (-pair[1], pair[0][:4]))
        return {
            **{name: list(value) if isinstance(value, tuple) else value for name, value in self.key._asdict().items()},
            "first": self.first,
            "first_index": self.first_index,
            "last": self.last,
            "count": self.count,
            "outcome_unknown": self.unknown,
            "covered_by_presumption": self.presumed,
            "subjects": len(self.subjects),
            "subjects_exact": self.subjects_exact,
            "grounds": [{**_plain(ground), "count": count} for ground, count in ordered],
        }


def _plain(ground: Ground) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in ground._asdict().items()}


_Placed = tuple[tuple[FlowKey, bool, Ground], ...]
"""The flows that an act belongs to, whether by presumption alone, and on what ground. Empty: nothing goes abroad."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """An act whose outcome is to come; `placed` None = nobody can say where it goes."""

    index: int
    at: int
    subject: str | None
    placed: _Placed | None


class Transfers:
    """Feed it every entry of a log in order. Memory grows with flows, open intents and, bounded, with people.

    `policies` answers a digest with the policy, with a text or None where there is none; `facts` a digest of facts.
    """

    def __init__(
        self,
        policies: Callable[[str], Policy | str | None],
        facts: Callable[[str], FactSet | None],
        *,
        since: int | None = None,
        until: int | None = None,
    ) -> None:
        """Only acts begun at `since` <= at < `until` (microseconds) are counted; None = open."""
        self._policies = policies
        self._archived_facts = facts
        self._since = since
        self._until = until
        self._opened: dict[str, Policy | None] = {}
        self._facts_by_digest: dict[str, FactSet | None] = {}
        self._facts: dict[tuple[int, int], str] = {}
        self._waiting: dict[str, _Begun] = {}
        self._early: dict[str, str] = {}
        self._known: dict[tuple[object, ...], _Placed | None] = {}
        self._flows: dict[FlowKey, Flow] = {}
        self._subjects = 0
        self.acts = 0
        """Acts on sinks in the period, done or of unknown end, abroad or not; `flows` completes it."""
        self.unplaced = 0
        """Of these, acts of which nobody can say where they went: their policy is not archived, or has no such sink."""

    def add(self, index: int, entry: Entry) -> None:
        """Take in entry number `index` of the log."""
        if entry.kind == "system":
            if entry.facts is not None:
                self._facts[parse_entry_id(entry.id)[0], entry.epoch] = entry.facts
        elif entry.kind == "intent":
            self._intent(index, entry)
        elif entry.of is not None and entry.act is not None:
            begun = self._waiting.pop(entry.of, None)
            if begun is not None:
                self._ended(begun, entry.act)
            elif parse_entry_id(entry.of)[0] != parse_entry_id(entry.id)[0] and len(self._early) < _EARLY:
                self._early[entry.of] = entry.act  # another slot's, which may come before its intent

    def flows(self) -> tuple[Flow, ...]:
        """Every flow of the entries so far, in the order of their keys. What is open counts as of unknown end."""
        for begun in self._waiting.values():
            self._ended(begun, "unknown")
        self._waiting = {}
        return tuple(self._flows[key] for key in sorted(self._flows))

    def policy(self, digest: str | None) -> Policy | None:
        """The policy of that digest, asked for once."""
        if digest is None:
            return None
        if digest not in self._opened:
            found = self._policies(digest)
            self._opened[digest] = None if isinstance(found, str) else found
        return self._opened[digest]

    # -- inside ------------------------------------------------------------------------------------------------

    def _intent(self, index: int, entry: Entry) -> None:
        if entry.sink is None or entry.operation in _NO_TRANSFER:
            return
        if self._since is not None and entry.at < self._since:
            return
        if self._until is not None and entry.at >= self._until:
            return
        digest = self._facts.get((parse_entry_id(entry.id)[0], entry.epoch))
        facts = self._facts_of(digest)
        at = entry.at if entry.decided is None else entry.decided
        bounded = frozenset[str]() if facts is None else facts.sink_tokens(entry.sink, at)
        known_by = (
            entry.policy, entry.activity, entry.operation, entry.sink, entry.jurisdictions, entry.presumed, entry.rules,
            entry.exempted, entry.exemptions, entry.evidence, entry.running, entry.effect, entry.mode, entry.reason,
            entry.note, bounded,
        )  # fmt: skip
        if known_by not in self._known:
            if len(self._known) >= _BOUND:
                self._known.clear()
            self._known[known_by] = self._read(entry, bounded)
        begun = _Begun(index, entry.at, entry.subject, self._known[known_by])
        act = self._early.pop(entry.id, None)
        if act is not None:
            self._ended(begun, act)
        else:
            self._waiting[entry.id] = begun

    def _read(self, entry: Entry, bounded: frozenset[str]) -> _Placed | None:
        policy = self.policy(entry.policy)
        document = None if policy is None or entry.sink is None else policy.deployment.sinks.get(entry.sink)
        if policy is None or document is None:
            return None
        activity = next((a for a in policy.deployment.activities if a.name == entry.activity), None)
        sink = document.sink
        at_hand = {*entry.evidence, *bounded, *sink.tokens, *(activity.tokens if activity is not None else ())}
        return tuple(
            (key, presumed, _ground(policy, entry, key.jurisdiction, at_hand))
            for key, presumed in _keys(entry, activity, sink)
        )

    def _ended(self, begun: _Begun, act: str) -> None:
        if act not in ("committed", "unknown"):
            return
        self.acts += 1
        if begun.placed is None:
            self.unplaced += 1
            return
        for key, presumed, ground in begun.placed:
            flow = self._flows.get(key)
            if flow is None:
                flow = self._flows[key] = Flow(key, begun.at, begun.index, begun.at)
            if (begun.at, begun.index) < (flow.first, flow.first_index):
                flow.first, flow.first_index = begun.at, begun.index
            flow.last = max(flow.last, begun.at)
            flow.count += 1
            flow.unknown += act == "unknown"
            flow.presumed += presumed
            flow.grounds[ground] = flow.grounds.get(ground, 0) + 1
            self._subject(flow, begun.subject)

    def _subject(self, flow: Flow, alias: str | None) -> None:
        # Eight random bytes tell people apart as well as sixteen do, in an eighth of the memory.
        number = None if alias is None else int(alias[:16], 16)
        if number is None or number in flow.subjects:
            return
        if self._subjects >= SUBJECTS_KEPT:
            flow.subjects_exact = False
            return
        flow.subjects.add(number)
        self._subjects += 1

    def _facts_of(self, digest: str | None) -> FactSet | None:
        if digest is None:
            return None
        if digest not in self._facts_by_digest:
            self._facts_by_digest[digest] = self._archived_facts(digest)
        return self._facts_by_digest[digest]


def _keys(entry: Entry, activity: Activity | None, sink: Sink) -> Iterator[tuple[FlowKey, bool]]:
    presumed = {word.partition(":")[0] for word in entry.presumed}
    # Of the places that a finding covers, those that a signal established; anchors beside that were presumed or not.
    established = {word.split(":")[1] for word in entry.finding if word.split(":")[2] == "established"}
    for jurisdiction in entry.jurisdictions:
        where = (("region", sink.place), ("provider", sink.provider), ("keys", sink.keys))
        how = tuple(word for word, place in where if not within(place, jurisdiction))
        ways = [(sink.place, how)] if how else []
        ways += [(place, ("reader",)) for place in _readers(entry) if not within(place, jurisdiction)]
        by_presumption = jurisdiction in presumed and not any(within(p, jurisdiction) for p in established)
        for place, how in ways:
            key = FlowKey(
                jurisdiction,
                entry.activity or "",
                entry.operation or "",
                () if activity is None else tuple(sorted(activity.data)),
                "" if activity is None or activity.purpose is None else activity.purpose,
                sink.name,
                sink.region,
                place,
                sink.provider,
                sink.keys,
                how,
            )
            yield key, by_presumption


def _readers(entry: Entry) -> tuple[str, ...]:
    """The places that an entry notes that the data went to by being read."""
    words = (entry.note or "").split()
    return tuple(p for word in words if word.startswith(_READ_FROM) for p in word.removeprefix(_READ_FROM).split(","))


def _ground(policy: Policy, entry: Entry, jurisdiction: str, at_hand: Iterable[str]) -> Ground:
    """On what ground `policy` permitted the act of `entry` under the law of `jurisdiction`."""
    cited = {*entry.rules, *entry.exempted}
    rules: list[RuleDoc] = [
        rule
        for law in policy.laws
        if law.jurisdiction == jurisdiction
        for rule in law.rules
        if rule.id in cited and (rule.sink is not None or rule.duty.only is not None)
    ]
    asked = {token for rule in rules for clause in rule.duty.require for token in clause}
    terms = tuple(word for word in entry.running if word.split(" ")[0] in asked)
    refused = None if entry.effect == "permit" else entry.reason or entry.effect
    met = tuple(sorted(asked.intersection(at_hand)))
    return Ground(tuple(sorted(rule.id for rule in rules)), met, terms, entry.exemptions, refused)
