"""The words of the product, as frozen values. Nothing here reads, waits, logs or knows the time."""

from residency.model.activity import Activity, Operation, Operator, Sink, SubjectSource
from residency.model.decision import Decision, RuleRef, SinkVerdict
from residency.model.duty import NEUTRAL, Bound, Clause, Conflict, Duty, Effect, Protection, Retention, join
from residency.model.filing import FactSet, Filing, FilingResult, StopOrder
from residency.model.finding import SILENT, Anchor, AnchorFinding, Finding, Presume, Signal, State, Trust
from residency.model.place import Region
from residency.model.reason import STATUS, Reason
from residency.model.subject import Pin, SubjectId

__all__ = [
    "NEUTRAL",
    "SILENT",
    "STATUS",
    "Activity",
    "Anchor",
    "AnchorFinding",
    "Bound",
    "Clause",
    "Conflict",
    "Decision",
    "Duty",
    "Effect",
    "FactSet",
    "Filing",
    "FilingResult",
    "Finding",
    "Operation",
    "Operator",
    "Pin",
    "Presume",
    "Protection",
    "Reason",
    "Region",
    "Retention",
    "RuleRef",
    "Signal",
    "Sink",
    "SinkVerdict",
    "State",
    "StopOrder",
    "SubjectId",
    "SubjectSource",
    "Trust",
    "join",
]
