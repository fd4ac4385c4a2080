"""What a deployment names in; the strategy, tables, verifiers, sinks and pins that serve it, not started, out.

Part of the composition root, apart from `bootstrap` because the commands need these without a runtime.
"""

from residency.wiring.details import keeping
from residency.wiring.facts import archive, beating, meter_facts, open_noted
from residency.wiring.gauges import meter_runtime
from residency.wiring.kinds import kind_of
from residency.wiring.locators import locator_doubts
from residency.wiring.mirror import check_mirror, mirror_doubts
from residency.wiring.policies import ALLOW_OLDER, Versions, newer_in_force, told
from residency.wiring.signals import (
    address_data,
    check_keys,
    claim_map,
    identifying,
    identity_keys,
    place_of,
    strategy_of,
    trusted_ranges,
    who,
)
from residency.wiring.sink_urls import check_sinks, provider_doubts
from residency.wiring.storage import check_pins, judging, open_pins, pins_elsewhere, sinks

__all__ = [
    "ALLOW_OLDER",
    "Versions",
    "address_data",
    "archive",
    "beating",
    "check_keys",
    "check_mirror",
    "check_pins",
    "check_sinks",
    "claim_map",
    "identifying",
    "identity_keys",
    "judging",
    "keeping",
    "kind_of",
    "locator_doubts",
    "meter_facts",
    "meter_runtime",
    "mirror_doubts",
    "newer_in_force",
    "open_noted",
    "open_pins",
    "pins_elsewhere",
    "place_of",
    "provider_doubts",
    "sinks",
    "strategy_of",
    "told",
    "trusted_ranges",
    "who",
]
