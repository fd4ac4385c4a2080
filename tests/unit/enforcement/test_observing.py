"""Observing binds nothing, and says of each act what would have become of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from residency.adapters.journal_memory import JournalMemory
from residency.enforcement.context import identify
from residency.errors import JournalLate
from residency.observe import names

pytestmark = pytest.mark.anyio
Worlds = Callable[..., Any]


class LateJournal(JournalMemory):
    """A journal that has room, and whose disk is late."""

    def ready(self) -> None:
        """Raises: JournalLate."""
        raise JournalLate("late")


async def test_observing_goes_on_while_the_disk_is_late_and_counts_that(
    make_world: Worlds, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")], journal=LateJournal())
    for _ in range(2):
        with world.request("GET", who="an") as here:
            await here.begin("people", "sg").confirm()
    assert [entry.kind for entry in world.entries] == ["intent", "intent"]
    assert world.metrics.value(names.JOURNAL_LATE) == 4, "two requests, and an act of each"
    assert caplog.text.count("disk is late") == 1


async def test_enforcing_does_not(make_world: Worlds) -> None:
    world = make_world(journal=LateJournal())
    with pytest.raises(JournalLate), world.request("GET", who="an"):
        pass
    assert (world.entries, world.metrics.value(names.JOURNAL_LATE)) == ([], 0)


async def test_observing_binds_nothing_and_notes_where_an_act_would_go(make_world: Worlds) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")])
    with world.request(who="an") as here:
        await here.begin("people", "sg").confirm()
    intent = world.entries[0]
    assert (intent.kind, intent.mode, intent.effect, intent.reason, intent.note) == (
        "intent", "observe", "deny", None, "enforce:vn"
    )  # fmt: skip
    assert world.metrics.value(names.WOULD_REFUSE, "only_in_country") == 0


async def test_observing_notes_where_an_act_would_go_after_identify_too(make_world: Worlds) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")])
    with world.request("POST", "/sign-up") as here:
        await identify("an")
        await here.begin("people", "sg").confirm()
    assert [(entry.kind, entry.effect, entry.note) for entry in world.entries] == [
        ("decision", "permit", "identified"),
        ("intent", "deny", "enforce:vn"),
    ]


async def test_observing_counts_a_sink_asked_for_by_name_as_one_refusal_to_come(make_world: Worlds) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")])
    with world.request(who="an") as here:
        await here.begin("people", "sg", named=True).confirm()
    assert world.entries[0].reason == "only_in_country"
    assert world.metrics.value(names.WOULD_REFUSE, "only_in_country") == 1
    assert world.metrics.value(names.REFUSALS, "only_in_country") == 0


async def test_observing_tells_of_a_denied_activity_once_however_many_acts_follow(make_world: Worlds) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")])
    with world.request("POST", "/posts") as here:
        await identify("an")
        for _ in range(2):
            await here.begin("people", "sg").confirm()
    assert [(entry.kind, entry.effect, entry.reason) for entry in world.entries] == [
        ("decision", "deny", "identity_missing"),
        ("intent", "deny", None),
        ("intent", "deny", None),
    ]
    assert world.metrics.value(names.WOULD_REFUSE, "identity_missing") == 1


async def test_observing_lets_a_store_open_before_the_subject_is_known_and_notes_it(make_world: Worlds) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")])
    with world.request("POST", "/sign-up") as here:
        await here.begin("people", "sg").confirm()
    assert [(entry.kind, entry.reason) for entry in world.entries] == [("intent", "subject_unknown")]
    assert world.metrics.value(names.WOULD_REFUSE, "subject_unknown") == 1
