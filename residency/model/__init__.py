"""The words of the product, as frozen values. Nothing here reads, waits, logs or knows the time."""

from residency.model.activity import Activity, Operation, Operator, Sink, SubjectSource
from residency.model.calendar import PLAIN, Calendar, Term, deadline
from residency.model.decision import Clock, Decision, RuleRef, SinkVerdict
from residency.model.duty import (
    NEUTRAL,
    Bound,
    Clause,
    Conflict,
    Deadline,
    Duty,
    Effect,
    Protection,
    Retention,
    join,
    treatment,
)
from residency.model.filing import Event, Exemption, FactSet, Filing, FilingResult, Order, StopOrder
from residency.model.finding import SILENT, Anchor, AnchorFinding, Finding, Presume, Signal, State, Trust
from residency.model.place import Region
from residency.model.reason import STATUS, Reason
from residency.model.retention import OPEN, Retained, retained_until
from residency.model.subject import Pin, SubjectId

__all__ = [
    "NEUTRAL",
    "OPEN",
    "PLAIN",
    "SILENT",
    "STATUS",
    "Activity",
    "Anchor",
    "AnchorFinding",
    "Bound",
    "Calendar",
    "Clause",
    "Clock",
    "Conflict",
    "Deadline",
    "Decision",
    "Duty",
    "Effect",
    "Event",
    "Exemption",
    "FactSet",
    "Filing",
    "FilingResult",
    "Finding",
    "Operation",
    "Operator",
    "Order",
    "Pin",
    "Presume",
    "Protection",
    "Reason",
    "Region",
    "Retained",
    "Retention",
    "RuleRef",
    "Signal",
    "Sink",
    "SinkVerdict",
    "State",
    "StopOrder",
    "SubjectId",
    "SubjectSource",
    "Term",
    "Trust",
    "deadline",
    "join",
    "retained_until",
    "treatment",
]
