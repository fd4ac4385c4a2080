"""Why something was refused: one stable code each, with the HTTP status class it answers with.

The codes are public: they stand in entries, metrics, problem details and `residency status`.
451 where a law forbids, 403 where a person must first prove something or a route is not allowed,
400 where the request itself cannot be read one way, 503 where a promise cannot be kept now (RFC 7725, RFC 9110).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["STATUS", "Reason"]


class Reason(StrEnum):
    """A refusal's reason code."""

    LAW_FORBIDS = "law_forbids"
    NOT_HOME = "not_home"
    DETAIL_ABROAD = "detail_abroad"
    ONLY_IN_COUNTRY = "only_in_country"
    FILING_MISSING = "filing_missing"
    STOP_ORDER = "stop_order"
    IDENTITY_MISSING = "identity_missing"
    CONSENT_MISSING = "consent_missing"
    SINK_UNFIT = "sink_unfit"
    CANNOT_BE_TREATED = "cannot_be_treated"
    CONFLICT = "conflict"
    HOLD = "hold"
    NO_SINK = "no_sink"
    UNCLASSIFIED_ROUTE = "unclassified_route"
    PATH_AMBIGUOUS = "path_ambiguous"
    SUBJECT_UNKNOWN = "subject_unknown"
    PEER_REWRITTEN = "peer_rewritten"
    DEV_NOT_LOOPBACK = "dev_not_loopback"
    UNKNOWN_SCOPE = "unknown_scope"
    SETUP = "setup"
    JOURNAL_FULL = "journal_full"
    JOURNAL_FAILED = "journal_failed"
    SINK_UNAVAILABLE = "sink_unavailable"
    SINK_MISPLACED = "sink_misplaced"
    SUBJECT_MOVING = "subject_moving"
    PINS_UNAVAILABLE = "pins_unavailable"
    FACTS_UNAVAILABLE = "facts_unavailable"
    KEYS_UNAVAILABLE = "keys_unavailable"
    ADDRESS_DATA_UNAVAILABLE = "address_data_unavailable"
    IDENTITY_UNAVAILABLE = "identity_unavailable"
    FACTS_MOVED = "facts_moved"
    INTERNAL = "internal"


STATUS: Final[dict[Reason, int]] = {
    Reason.LAW_FORBIDS: 451,
    Reason.NOT_HOME: 451,
    Reason.DETAIL_ABROAD: 451,
    Reason.ONLY_IN_COUNTRY: 451,
    Reason.FILING_MISSING: 451,
    Reason.STOP_ORDER: 451,
    Reason.CONFLICT: 451,
    Reason.SINK_UNFIT: 451,
    Reason.CANNOT_BE_TREATED: 451,
    Reason.IDENTITY_MISSING: 403,
    Reason.CONSENT_MISSING: 403,
    Reason.HOLD: 403,
    Reason.UNCLASSIFIED_ROUTE: 403,
    Reason.SUBJECT_UNKNOWN: 403,
    Reason.PATH_AMBIGUOUS: 400,
    Reason.NO_SINK: 503,
    Reason.PEER_REWRITTEN: 503,
    Reason.DEV_NOT_LOOPBACK: 503,
    Reason.UNKNOWN_SCOPE: 503,
    Reason.SETUP: 503,
    Reason.JOURNAL_FULL: 503,
    Reason.JOURNAL_FAILED: 503,
    Reason.SINK_UNAVAILABLE: 503,
    Reason.SINK_MISPLACED: 503,
    Reason.SUBJECT_MOVING: 503,
    Reason.PINS_UNAVAILABLE: 503,
    Reason.FACTS_UNAVAILABLE: 503,
    Reason.KEYS_UNAVAILABLE: 503,
    Reason.ADDRESS_DATA_UNAVAILABLE: 503,
    Reason.IDENTITY_UNAVAILABLE: 503,
    Reason.FACTS_MOVED: 503,
    Reason.INTERNAL: 503,
}
