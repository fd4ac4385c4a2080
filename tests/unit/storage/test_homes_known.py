"""Once everybody who had data has a pin, an app that is observed serves new people from where their law wants them."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.storage.homes_known import are_known, make_known
from tests.object_world import HANOI, SINGAPORE, ObjectWorld

pytestmark = pytest.mark.anyio


async def test_the_mark_is_set_once_and_is_seen_at_once(tmp_path: Path) -> None:
    made = ObjectWorld(tmp_path, "observe")
    homes, digest = made.point.homes, made.point.perception.digest
    assert not are_known(homes, digest)
    assert await make_known(homes, digest, "SG")
    assert are_known(homes, digest)
    assert not await make_known(homes, digest, "VN")


async def test_from_then_on_who_is_new_begins_at_home_and_is_found_there_while_observing(tmp_path: Path) -> None:
    made = ObjectWorld(tmp_path, "observe")
    await made.stores.start()
    with made.request("POST", HANOI, "an") as handle:
        await handle.put("cv", b"old")
    assert await made.sg.get("cv") == b"old", "where the app always kept it"
    assert await make_known(made.point.homes, made.point.perception.digest, "SG")
    with made.request("GET", HANOI, "an") as handle:
        assert await handle.get("cv") == b"old", "who has data has a pin, and it leads there"
    with made.request("POST", HANOI, "binh") as handle:
        await handle.put("new", b"in Vietnam")
    assert await made.vn.get("new") == b"in Vietnam"
    assert await made.sg.get("new") is None
    with made.request("GET", SINGAPORE, "binh") as handle:
        assert await handle.get("new") == b"in Vietnam", "wherever they ask from"
    with made.request("POST", SINGAPORE, "cara") as handle:
        await handle.put("third", b"in Singapore")
    assert await made.sg.get("third") == b"in Singapore", "whom no law sends anywhere goes to the first sink"
