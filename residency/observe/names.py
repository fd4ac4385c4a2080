"""In: nothing. Out: every metric this package has, with kind, help and labels, in one table.

Names and labels are public (dashboards and alerts are written against them). A label carries words from policy files
and from `Reason` only: never an address, a subject, a path with its values filled in, or anything else of a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "ADDRESS_DATA_AGE",
    "ADDRESS_DATA_EVENTS",
    "ADDRESS_DATA_INFO",
    "ADDRESS_DATA_VN",
    "BY_NAME",
    "COPY_HALTED",
    "COPY_LAG",
    "COPY_LOST",
    "COPY_PENDING",
    "COPY_REASONS",
    "DECIDED",
    "DECISIONS",
    "DETAIL_CLOCK_APART",
    "DETAIL_FILING_FAILING",
    "EXEMPT",
    "IDENTITY_KEYS_AGE",
    "INFO",
    "JOURNAL_BACKLOG",
    "JOURNAL_LATE",
    "JOURNAL_WAITED",
    "LOCATION_EVENTS",
    "LOCATION_EVERY",
    "LOCATION_LOOKED",
    "LOG_OLDEST_INTENT",
    "LOG_OPEN_INTENTS",
    "LOG_SIZE",
    "METRICS",
    "MIRROR_EVERY",
    "MIRROR_FAILING",
    "MIRROR_LAG",
    "OLDEST_INTENT",
    "OPEN_INTENTS",
    "OVERHEAD",
    "PINS_HEARD",
    "PINS_LOCAL",
    "PINS_PRIMARIES",
    "PINS_STALE",
    "PIN_EVENTS",
    "PRESUMED",
    "REFUSALS",
    "SCRAPE_ERRORS",
    "SEQUENCER_FAILING",
    "SINK_DRIFT",
    "SINK_LOCATION",
    "SINK_MARK",
    "SLOTS_STOPPED",
    "TOKENS_REJECTED",
    "UNREAD_CLAIMS",
    "UNSAFE_ADDRESS",
    "WOULD_REFUSE",
    "Kind",
    "MetricSpec",
]


class Kind(StrEnum):
    """How a metric behaves; the words are Prometheus's own."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: its full name as exposed, its kind, what it tells, and the names of its labels in order."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


DECISIONS: Final = "residency_decisions_total"
DECIDED: Final = "residency_decided_total"
PRESUMED: Final = "residency_presumed_total"
REFUSALS: Final = "residency_refusals_total"
WOULD_REFUSE: Final = "residency_would_refuse_total"
EXEMPT: Final = "residency_exempt_total"
OVERHEAD: Final = "residency_overhead_seconds"
JOURNAL_BACKLOG: Final = "residency_journal_backlog_entries"
JOURNAL_LATE: Final = "residency_journal_late_total"
JOURNAL_WAITED: Final = "residency_journal_waited_seconds"
OPEN_INTENTS: Final = "residency_open_intents"
OLDEST_INTENT: Final = "residency_open_intents_oldest_seconds"
LOG_OPEN_INTENTS: Final = "residency_log_open_intents"
LOG_OLDEST_INTENT: Final = "residency_log_open_intents_oldest_seconds"
SLOTS_STOPPED: Final = "residency_sequencer_stopped_slots"
SEQUENCER_FAILING: Final = "residency_sequencer_failing"
DETAIL_CLOCK_APART: Final = "residency_detail_clock_apart_seconds"
DETAIL_FILING_FAILING: Final = "residency_detail_filing_failing"
MIRROR_LAG: Final = "residency_mirror_lag_seconds"
MIRROR_EVERY: Final = "residency_mirror_every_seconds"
MIRROR_FAILING: Final = "residency_mirror_failing"
LOG_SIZE: Final = "residency_log_size"
ADDRESS_DATA_AGE: Final = "residency_address_data_age_seconds"
ADDRESS_DATA_EVENTS: Final = "residency_address_data_events_total"
ADDRESS_DATA_INFO: Final = "residency_address_data_info"
ADDRESS_DATA_VN: Final = "residency_address_data_vn_addresses"
UNSAFE_ADDRESS: Final = "residency_unsafe_client_address_total"
UNREAD_CLAIMS: Final = "residency_unread_claims_total"
TOKENS_REJECTED: Final = "residency_tokens_rejected_total"
IDENTITY_KEYS_AGE: Final = "residency_identity_keys_age_seconds"
PIN_EVENTS: Final = "residency_pin_events_total"
PINS_STALE: Final = "residency_pins_stale_total"
PINS_HEARD: Final = "residency_pins_last_heard_seconds"
PINS_LOCAL: Final = "residency_pins_local_entries"
PINS_PRIMARIES: Final = "residency_pins_primaries"
INFO: Final = "residency_policy_info"
POLICY_EVENTS: Final = "residency_policy_events_total"
FACT_EVENTS: Final = "residency_fact_events_total"
TERM_DEADLINE: Final = "residency_clock_deadline_seconds"
SUBJECTS_COUNTED: Final = "residency_counted_subjects"
SUBJECTS_THRESHOLD: Final = "residency_escalation_threshold_subjects"
ESCALATED: Final = "residency_escalated"
COUNTS_WAITING: Final = "residency_counts_waiting"
REQUESTS_SOON: Final = "residency_requests_due_soon"
REQUESTS_OVERDUE: Final = "residency_requests_overdue"
EXEMPTIONS: Final = "residency_exemptions_used_total"
OVERRIDES: Final = "residency_overrides_used_total"
POLICY_BEHIND: Final = "residency_policy_behind"
SINK_LOCATION: Final = "residency_sink_location"
SINK_MARK: Final = "residency_sink_mark"
SINK_DRIFT: Final = "residency_sink_drift"
LOCATION_EVENTS: Final = "residency_location_events_total"
LOCATION_LOOKED: Final = "residency_location_looked_seconds"
LOCATION_EVERY: Final = "residency_location_every_seconds"
COPY_LAG: Final = "residency_copy_lag_seconds"
COPY_PENDING: Final = "residency_copy_pending"
COPY_HALTED: Final = "residency_copy_halted"
COPY_LOST: Final = "residency_copy_lost_at_home_total"
SCRAPE_ERRORS: Final = "residency_scrape_errors_total"

COPY_REASONS: Final = (
    "cannot_be_treated", "changed", "conflict", "consent_missing", "filing_missing", "hold", "identity_missing",
    "law_forbids", "no_sink", "not_a_copy", "not_at_home", "not_home", "only_in_country", "past_its_term",
    "refused_there", "sink_misplaced", "sink_unfit", "stop_order", "subject_moving", "unreachable",
)  # fmt: skip
"""Why copies are not made: reasons of decisions, and those of copying itself."""

METRICS: Final[tuple[MetricSpec, ...]] = (
    MetricSpec(
        DECISIONS,
        Kind.COUNTER,
        "Decisions by covering jurisdiction (one series each; none where no law covers), effect and store.",
        ("jurisdiction", "effect", "store"),
    ),
    MetricSpec(
        DECIDED,
        Kind.COUNTER,
        "Decisions, each counted once, by what decided whose law covers: signal or presumption.",
        ("basis",),
    ),
    MetricSpec(
        PRESUMED,
        Kind.COUNTER,
        "Anchors that no signal spoke for and a presumption decided, by law and anchor.",
        ("jurisdiction", "anchor"),
    ),
    MetricSpec(REFUSALS, Kind.COUNTER, "Requests and acts refused, by reason code.", ("reason",)),
    MetricSpec(
        WOULD_REFUSE,
        Kind.COUNTER,
        "What mode observe let pass and mode enforce would have refused, by reason code.",
        ("reason",),
    ),
    MetricSpec(EXEMPT, Kind.COUNTER, "Requests on routes that the deployment lists as exempt."),
    MetricSpec(OVERHEAD, Kind.HISTOGRAM, "Time the middleware itself took before the app was called."),
    MetricSpec(
        JOURNAL_BACKLOG,
        Kind.GAUGE,
        "Entries in this process's journal that the log does not hold yet.",
    ),
    MetricSpec(
        JOURNAL_LATE,
        Kind.COUNTER,
        "Requests and acts that a deployment which only observes let go on while the journal's disk was late.",
    ),
    MetricSpec(
        JOURNAL_WAITED,
        Kind.GAUGE,
        "How long entries of this process's journal have waited for the log; over 60 s requests are refused.",
    ),
    MetricSpec(
        SEQUENCER_FAILING,
        Kind.GAUGE,
        "1 while this process's sequencer cannot publish what is recorded, 0 while it works or stands by.",
    ),
    MetricSpec(
        DETAIL_FILING_FAILING,
        Kind.GAUGE,
        "Countries whose regional details this process cannot file; they stay in their journals meanwhile.",
    ),
    MetricSpec(
        DETAIL_CLOCK_APART,
        Kind.GAUGE,
        "How far the clock is ahead of the time counted since details were kept (below 0: behind); where it files.",
    ),
    MetricSpec(
        SLOTS_STOPPED,
        Kind.GAUGE,
        "Journals that this process's sequencer cannot read on, while it publishes the others; 0 where it stands by.",
    ),
    MetricSpec(OPEN_INTENTS, Kind.GAUGE, "Acts of this process with an intent and no outcome yet."),
    MetricSpec(OLDEST_INTENT, Kind.GAUGE, "Time since the oldest of these intents was recorded; 0 without any."),
    MetricSpec(
        LOG_OPEN_INTENTS,
        Kind.GAUGE,
        "Acts of the whole log with an intent and no outcome, by least age; only where this process sequences.",
        ("older_than",),
    ),
    MetricSpec(
        LOG_OLDEST_INTENT,
        Kind.GAUGE,
        "Time since the oldest of these was recorded; 0 without any; only where this process sequences.",
    ),
    MetricSpec(LOG_SIZE, Kind.GAUGE, "Entries under the newest published checkpoint."),
    MetricSpec(
        MIRROR_LAG,
        Kind.GAUGE,
        "Time since the mirror was last known to hold all that is published; only where this process ships to it.",
    ),
    MetricSpec(MIRROR_EVERY, Kind.GAUGE, "How often the log is shipped to the mirror."),
    MetricSpec(MIRROR_FAILING, Kind.GAUGE, "1 while the last shipment to the mirror failed, 0 while it did not."),
    MetricSpec(ADDRESS_DATA_AGE, Kind.GAUGE, "Age of the address-to-country data since its build."),
    MetricSpec(
        ADDRESS_DATA_EVENTS,
        Kind.COUNTER,
        "New address data seen on disk, by what became of it: taken, or why the old data stays.",
        ("event",),
    ),
    MetricSpec(
        ADDRESS_DATA_INFO, Kind.GAUGE, "Always 1; names the address data in force and its sha256.", ("source", "sha256")
    ),
    MetricSpec(ADDRESS_DATA_VN, Kind.GAUGE, "IPv4 addresses that the data in force places in Vietnam."),
    MetricSpec(
        UNSAFE_ADDRESS,
        Kind.COUNTER,
        "Requests whose client address any client could have forged (strategy unsafe_leftmost_non_private).",
    ),
    MetricSpec(
        TOKENS_REJECTED,
        Kind.COUNTER,
        "Identity tokens that did not hold, so that nobody was known, by what was wrong.",
        ("reason",),
    ),
    MetricSpec(
        UNREAD_CLAIMS,
        Kind.COUNTER,
        "Callers of whom a claim was to say citizenship or residence and named no place that is known, by anchor.",
        ("anchor",),
    ),
    MetricSpec(IDENTITY_KEYS_AGE, Kind.GAUGE, "Time since the keys that verify identity tokens were last read."),
    MetricSpec(
        PIN_EVENTS,
        Kind.COUNTER,
        "What happened to pins and to this process's copy of them, by event.",
        ("event",),
    ),
    MetricSpec(
        PINS_STALE, Kind.COUNTER, "Requests whose pin came from the local copy while the store was not heard of."
    ),
    MetricSpec(PINS_HEARD, Kind.GAUGE, "Time since every primary of the pins' store was last heard of."),
    MetricSpec(PINS_LOCAL, Kind.GAUGE, "Pins in this process's local copy."),
    MetricSpec(PINS_PRIMARIES, Kind.GAUGE, "Primaries of the pins' store whose invalidations this process receives."),
    MetricSpec(
        INFO,
        Kind.GAUGE,
        "Always 1; names the policy in force, its digest, and the version of its bundle (0 = none).",
        ("digest", "name", "version"),
    ),
    MetricSpec(
        POLICY_EVENTS,
        Kind.COUNTER,
        "Changes of the policy files seen on disk, by what became of them: taken, same, or why the old policy stays.",
        ("event",),
    ),
    MetricSpec(
        POLICY_BEHIND, Kind.GAUGE, "1 while the policy files on disk are not what is in force, 0 while they are."
    ),
    MetricSpec(
        EXEMPTIONS,
        Kind.COUNTER,
        "Decisions and acts for which an exemption of the register lifted a rule that applies, by its number.",
        ("exemption",),
    ),
    MetricSpec(
        OVERRIDES, Kind.COUNTER, "Decisions in which another rule overrides this one, though it applies.", ("rule",)
    ),
    MetricSpec(
        TERM_DEADLINE,
        Kind.GAUGE,
        "When a term that has begun runs out, in seconds since 1970; what leans on it is refused from then on.",
        ("clock",),
    ),
    MetricSpec(
        SUBJECTS_COUNTED, Kind.GAUGE, "Subjects that an escalation of a law counts, as last heard.", ("escalation",)
    ),
    MetricSpec(SUBJECTS_THRESHOLD, Kind.GAUGE, "From how many subjects on that escalation is up.", ("escalation",)),
    MetricSpec(ESCALATED, Kind.GAUGE, "1 while the escalation is up, 0 while it is not.", ("escalation",)),
    MetricSpec(COUNTS_WAITING, Kind.GAUGE, "Subjects of writes that no counter has yet."),
    MetricSpec(
        REQUESTS_SOON,
        Kind.GAUGE,
        "Requests of authorities and persons in the register with a step that is due soon, and none that is overdue.",
    ),
    MetricSpec(
        REQUESTS_OVERDUE,
        Kind.GAUGE,
        "Requests of authorities and persons in the register with a step that is overdue.",
    ),
    MetricSpec(
        FACT_EVENTS,
        Kind.COUNTER,
        "What happened to terms, counts and escalations in this process, by event.",
        ("event",),
    ),
    MetricSpec(
        SINK_LOCATION,
        Kind.GAUGE,
        "1 for what the last look said of a sink's lying where it says: consistent, contradicted or undetermined.",
        ("sink", "standing"),
    ),
    MetricSpec(
        SINK_MARK,
        Kind.GAUGE,
        "1 for what each sink's mark says of it (own, none, lost, another), 0 for the others.",
        ("sink", "standing"),
    ),
    MetricSpec(
        SINK_DRIFT,
        Kind.GAUGE,
        "1 while a sink lies elsewhere than it says, or is no longer shown to lie where it did; else 0.",
        ("sink",),
    ),
    MetricSpec(
        LOCATION_EVENTS,
        Kind.COUNTER,
        "What looks at where sinks lie brought, by event; `looked` counts the looks, `failed` those that broke off.",
        ("event",),
    ),
    MetricSpec(LOCATION_LOOKED, Kind.GAUGE, "Time since all sinks were last looked at."),
    MetricSpec(LOCATION_EVERY, Kind.GAUGE, "How often sinks are looked at."),
    MetricSpec(
        COPY_LAG,
        Kind.GAUGE,
        "Time since the oldest change that is still to be copied was noted, by store and the sink it was made in.",
        ("store", "sink"),
    ),
    MetricSpec(
        COPY_PENDING, Kind.GAUGE, "Notes of changes that are to be copied and that nothing has held.", ("store", "sink")
    ),
    MetricSpec(
        COPY_HALTED,
        Kind.GAUGE,
        "Notes of changes whose copies are not made now, by store, the sink of the change, and why.",
        ("store", "sink", "reason"),
    ),
    MetricSpec(
        COPY_LOST,
        Kind.COUNTER,
        "Copies that were found to be of what their home lost without a note, by store and that home's sink.",
        ("store", "sink"),
    ),
    MetricSpec(
        SCRAPE_ERRORS,
        Kind.COUNTER,
        "Gauges that could not be read at a scrape and were left out of it, by metric.",
        ("metric",),
    ),
)

BY_NAME: Final[dict[str, MetricSpec]] = {m.name: m for m in METRICS}
