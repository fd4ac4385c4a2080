"""Erasing a subject: every copy, caches last; what a floor holds is told with its day, and nothing that is not so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.errors import SinkUnavailable
from residency.model import OPEN
from residency.policy.compiler import Policy
from residency.storage.erasure import Erasure, Part, erase
from residency.storage.retention import Copy
from tests.record_world import DAY, NOW, Acts, copy_of, covered, policy_in, row, terms_of

pytestmark = pytest.mark.anyio
LATELY = NOW - 2 * DAY


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return policy_in(tmp_path_factory.mktemp("policy"))


class Noted:
    """A trace that remembers whom it forgot."""

    name = "locator"

    def __init__(self) -> None:
        self.forgot: list[tuple[str, str]] = []

    async def forget(self, subject: str, digest: str) -> int:
        self.forgot.append((subject, digest))
        return 3


async def test_every_copy_is_walked_and_nothing_of_others_goes(policy: Policy) -> None:
    vn, in_vn = copy_of(policy, "vn", [row("1", "an"), row("2", "binh"), row("3", None)])
    old, in_old = copy_of(policy, "old", [row("1", "an")])
    acts, trace = Acts(), Noted()
    done = await erase([vn, old], terms_of(policy), "an", covered(), begin=acts.begin, traces=[trace])
    assert sorted(key for _, key in in_vn.held) == ["2", "3"]
    assert not in_old.held
    assert done.complete
    assert [(p.sink, p.record, p.count, p.act) for p in done.erased] == [
        ("vn", "person", 1, "0.2"),
        ("old", "person", 1, "0.4"),
    ]
    assert trace.forgot == [("an", "aa" * 32)]
    assert done.traces == {"locator": 3}
    assert acts.told[:2] == [("intent", "vn", "erasure"), ("committed", "erasure, 1 records erased, 0 left")]


async def test_what_a_floor_holds_stays_and_is_told_with_day_and_rules(policy: Policy) -> None:
    accounts = [row("1", "an", "account", {"account_end": LATELY}), row("2", "an", "account"), row("3", "an")]
    vn, in_vn = copy_of(policy, "vn", accounts)
    done = await erase([vn], terms_of(policy), "an", covered(), begin=Acts().begin)
    assert not done.complete
    assert sorted(key for _, key in in_vn.held) == ["1", "2"]
    told = [part.document() for part in done.kept]
    assert [(p.get("retained_until"), p["rules"], p["count"]) for p in told] == [
        ("2026-12-22T00:00:00Z", ["test.floor"], 1),
        (None, ["test.floor"], 1),
    ]
    assert done.kept[1].until == OPEN


async def test_telling_first_begins_no_act_and_deletes_nothing(policy: Policy) -> None:
    vn, in_vn = copy_of(policy, "vn", [row("1", "an"), row("2", "an", "account")])
    trace = Noted()
    done = await erase([vn], terms_of(policy), "an", covered(), begin=None, traces=[trace])
    assert [(p.record, p.count, p.act) for p in done.erased] == [("person", 1, None)]
    assert [p.record for p in done.kept] == ["account"]
    assert len(in_vn.held) == 2
    assert not trace.forgot


async def test_caches_are_emptied_after_what_could_fill_them(policy: Policy) -> None:
    vn, _ = copy_of(policy, "vn", [row("1", "an")])
    cache, _ = copy_of(policy, "sg", [row("1", "an")])
    cache = Copy("cache", replace(cache.sink, scope="cache"), cache.records)
    acts = Acts()
    await erase([cache, vn], terms_of(policy), "an", covered(), begin=acts.begin)
    assert [told[1] for told in acts.told if told[0] == "intent"] == ["vn", "sg"]


async def test_a_record_that_is_written_meanwhile_is_erased_with_the_next_look(policy: Policy) -> None:
    vn, in_vn = copy_of(policy, "vn", [row("1", "an"), row("2", "an")])
    in_vn.before_delete.append(lambda records: records.change("person", "2"))
    done = await erase([vn], terms_of(policy), "an", covered(), begin=Acts().begin)
    assert not in_vn.held
    assert done.complete
    assert [p.count for p in done.erased] == [2]


async def test_a_record_that_is_written_each_time_is_left_and_told(policy: Policy) -> None:
    vn, in_vn = copy_of(policy, "vn", [row("1", "an"), row("2", "an")])
    in_vn.before_delete += [lambda records: records.change("person", "2")] * 5
    acts = Acts()
    done = await erase([vn], terms_of(policy), "an", covered(), begin=acts.begin)
    assert not done.complete
    assert done.left == 1
    assert acts.told[-1] == ("failed", "erasure, 1 records erased, 1 left")


async def test_a_sink_that_fails_ends_it_and_doing_it_again_ends_well(policy: Policy) -> None:
    vn, in_vn = copy_of(policy, "vn", [row("1", "an")])
    sg, in_sg = copy_of(policy, "sg", [row("1", "an")])
    in_sg.fails = SinkUnavailable("sink 'sg' cannot be reached")
    acts = Acts()
    with pytest.raises(SinkUnavailable):
        await erase([vn, sg], terms_of(policy), "an", covered(), begin=acts.begin)
    assert acts.told[-1] == ("unknown", "SinkUnavailable")
    assert not in_vn.held
    in_sg.fails = None
    done = await erase([vn, sg], terms_of(policy), "an", covered(), begin=acts.begin)
    assert done.complete
    assert [p.sink for p in done.erased] == ["sg"]


def test_a_part_tells_no_more_than_it_knows() -> None:
    part = Part("people", "vn", "vn-han", "person", 2)
    assert part.document() == {"store": "people", "sink": "vn", "region": "vn-han", "record": "person", "count": 2}
    assert Erasure().complete


async def test_what_kept_records_refer_to_is_left_and_the_rest_is_erased(policy: Policy) -> None:
    vn, in_vn = copy_of(policy, "vn", [row("1", "an"), row("2", "an", "account", {"account_end": NOW - 40 * DAY})])
    in_vn.refused = {"person"}
    acts = Acts()
    done = await erase([vn], terms_of(policy), "an", covered(), begin=acts.begin)
    assert list(in_vn.held) == [("person", "1")]
    assert (done.left, done.complete) == (1, False)
    assert [(part.record, part.count) for part in done.erased] == [("account", 1)]
    assert acts.told[-1] == ("failed", "erasure, 1 records erased, 1 left")
