"""What a deployment says of signals and pins, as values: times, shares, and defaults that depend on what is written."""

from __future__ import annotations

import pytest

from residency.policy import documents_signals as files
from residency.policy.build_signals import MAX_AGE, microseconds, pins, signals

SECOND, DAY = 1_000_000, 86_400_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500 ms", 500_000), ("10 s", 10 * SECOND), ("10 min", 600 * SECOND), ("24 h", DAY), ("1 day", DAY),
     ("30 days", 30 * DAY)],
)  # fmt: skip
def test_each_unit_of_time(text: str, expected: int) -> None:
    assert microseconds(text) == expected


def test_nothing_said_is_the_socket_peer_the_embedded_table_and_a_local_pin_file() -> None:
    said = signals(files.Signals())
    assert said.client_address.strategy == "peer"
    assert (said.geoip.database, said.geoip.max_age, said.geoip.stale) == (None, None, "hint")
    assert pins(None).url.reveal().startswith("sqlite:///")


def test_a_database_of_ones_own_ages_in_thirty_days_unless_another_age_is_said() -> None:
    own = signals(files.Signals.model_validate({"geoip": "own.mmdb"})).geoip
    assert (own.database, own.max_age, own.max_change) == ("own.mmdb", MAX_AGE, 0.10)
    given = {"geoip": {"database": "own.mmdb", "max_age": "7 days", "max_change": "5%", "stale": "refuse"}}
    said = signals(files.Signals.model_validate(given)).geoip
    assert (said.max_age, said.max_change, said.stale) == (7 * DAY, 0.05, "refuse")
    assert signals(files.Signals.model_validate({"geoip": {"max_age": "7 days"}})).geoip.max_age == 7 * DAY


def test_pins_in_a_shared_store_say_how_long_a_copy_serves() -> None:
    said = pins(files.Pins.model_validate({"url": "redis://localhost", "stale_for": "3 s", "local": 5_000}))
    assert (said.stale_for, said.local) == (3 * SECOND, 5_000)
