"""How long records stay: floors win, ceilings limit, and a run deletes what is past and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.errors import SinkUnavailable
from residency.model import OPEN, AnchorFinding, Event, Trust
from residency.policy.compiler import Policy
from residency.storage.retention import Copy, Person, Swept, Terms, sweep
from tests.record_world import (
    DAY,
    DEPLOYMENT,
    KEPT,
    LIMITED,
    NOW,
    Acts,
    MemoryRecords,
    copy_of,
    covered,
    policy_in,
    row,
    sink_of,
    terms_of,
)
from tests.world import load_policy, write_deployment

pytestmark = pytest.mark.anyio
LONG_AGO, LATELY = NOW - 40 * DAY, NOW - 2 * DAY


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return policy_in(tmp_path_factory.mktemp("policy"))


async def swept(
    copy: Copy, terms: Terms, who: Person | None = None, acts: Acts | None = None, **options: object
) -> Swept:
    people = who if who is not None else covered()

    async def known(subjects: Sequence[str]) -> Mapping[str, Person]:
        return {each: people._replace(digest=each.encode().hex().ljust(64, "0")) for each in subjects}

    found = Swept(copy.store, copy.sink.name)
    begin = None if acts is None else acts.begin
    async for each in sweep(copy, terms, known, begin=begin, **options):  # type: ignore[arg-type]  # as given
        found = each
    return found


def test_a_floor_without_its_event_has_no_end_and_a_ceiling_without_it_no_limit(policy: Policy) -> None:
    terms = terms_of(policy)
    account = terms.judge(row("1", "an", "account"), "people", sink_of(policy, "vn"), covered())
    assert (account.retained.until, account.floors, account.limit) == (OPEN, ("test.floor",), None)
    person = terms.judge(row("1", "an"), "people", sink_of(policy, "vn"), covered())
    assert (person.retained.until, person.limit) == (None, None)
    assert person.retained.may_erase(NOW)
    assert not person.retained.must_erase(NOW)


def test_a_ceiling_of_a_scope_limits_that_copy_alone(policy: Policy) -> None:
    terms, old = terms_of(policy), row("1", "an", times={"creation": LONG_AGO})
    assert terms.judge(old, "people", sink_of(policy, "old"), covered()).retained.must_erase(NOW)
    assert not terms.judge(old, "people", sink_of(policy, "vn"), covered()).retained.must_erase(NOW)


def test_a_floor_that_outlasts_a_ceiling_wins_and_both_are_named(policy: Policy) -> None:
    terms = terms_of(policy)
    asked = covered({"erasure_request": LONG_AGO})
    judged = terms.judge(row("1", "an", "account", {"account_end": LATELY}), "people", sink_of(policy, "vn"), asked)
    assert judged.floors == ("test.floor",)
    assert judged.ceilings == ("test.ceiling",)
    assert judged.limit is not None
    assert judged.limit < NOW
    assert not judged.retained.may_erase(NOW)
    assert not judged.retained.must_erase(NOW)
    assert judged.retained.overdue


@pytest.mark.parametrize(("head", "early"), [("", 0), ('time_zone: "+07:00"\n', 7)])
def test_days_end_on_the_clocks_of_the_law(tmp_path: Path, head: str, early: int) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT, (KEPT.replace("10 days", "1 day"),))
    law = tmp_path / "laws" / "vn" / "test.yaml"
    law.write_text(law.read_text().replace("rules:\n", f"{head}rules:\n", 1))
    policy = load_policy(file)
    record = row("1", "an", "account", {"account_end": NOW})
    judged = terms_of(policy).judge(record, "people", sink_of(policy, "vn"), covered())
    assert judged.retained.until == NOW + 2 * DAY - early * 3_600_000_000


def test_an_event_of_the_operator_ends_a_floor_under_its_own_law_once_it_has_happened(tmp_path: Path) -> None:
    policy = policy_in(tmp_path, (KEPT.replace("account_end", "order"),))
    record, sink = row("1", "an", "account"), sink_of(policy, "vn")

    def until(event: Event) -> int | None:
        terms = terms_of(policy, facts=replace(policy.facts, events=(event,)))
        return terms.judge(record, "people", sink, covered()).retained.until

    assert until(Event("order", "VN", LONG_AGO)) == LONG_AGO + 11 * DAY
    assert until(Event("order", "SG", LONG_AGO)) == OPEN
    assert until(Event("order", "VN", NOW + DAY)) == OPEN


ALSO = """
  - id: sg.floor
    article: art. 1
    text: Accounts are kept for twenty days after they end, as long as in Vietnam, and for a day after they are made.
    applies: {anchor: citizenship, data: [account]}
    duty:
      retain:
        - {at_least: 20 days, from: account_end}
        - {at_least: 10 days, from: account_end}
        - {at_most: 3 days, from: erasure_request}
  - id: sg.unless
    article: art. 2
    text: What nobody agreed to is gone in a day.
    applies: {anchor: citizenship, data: [account], unless: ["consent:storage"]}
    duty: {retain: [{at_most: 1 day, from: erasure_request}]}
"""


@pytest.fixture(scope="module")
def two_laws(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("two")
    more = [("laws: [vn/test]", "laws: [vn/test, sg/test]")]
    file = write_deployment(folder, DEPLOYMENT, (KEPT, LIMITED), more)
    (folder / "laws" / "sg").mkdir()
    text = (folder / "laws" / "vn" / "test.yaml").read_text()
    head = text.partition("rules:\n")[0].replace("jurisdiction: VN", "jurisdiction: SG")
    (folder / "laws" / "sg" / "test.yaml").write_text(f"{head}rules:\n{ALSO}")
    return load_policy(file)


def test_of_two_laws_the_longest_floor_and_the_shortest_ceiling_count(two_laws: Policy) -> None:
    both = AnchorFinding(frozenset({"SG"}), frozenset(), Trust.VERIFIED)
    who = covered({"erasure_request": LONG_AGO})
    who = who._replace(finding=replace(who.finding, citizenship=both))
    record, sink = row("1", "an", "account", {"account_end": LATELY}), sink_of(two_laws, "vn")
    judged = terms_of(two_laws).judge(record, "people", sink, who)
    assert (judged.retained.until, judged.floors) == (LATELY + 21 * DAY, ("sg.floor",))
    assert (judged.limit, judged.ceilings) == (LONG_AGO + 4 * DAY, ("sg.floor",))  # what evidence may lift is left out


def test_a_law_that_does_not_cover_asks_nothing_though_its_words_are_the_same(two_laws: Policy) -> None:
    record, sink = row("1", "an", "account", {"account_end": LATELY}), sink_of(two_laws, "vn")
    judged = terms_of(two_laws).judge(record, "people", sink, covered())
    assert (judged.retained.until, judged.floors) == (LATELY + 11 * DAY, ("test.floor",))


def test_nobody_whom_no_law_covers_is_limited_or_held(policy: Policy) -> None:
    abroad = covered({"erasure_request": LONG_AGO}, place="SG")
    judged = terms_of(policy).judge(row("1", "an", "account"), "people", sink_of(policy, "vn"), abroad)
    assert (judged.retained.until, judged.limit) == (None, None)


async def test_a_dry_run_tells_and_deletes_nothing(policy: Policy) -> None:
    copy, held = copy_of(policy, "old", [row("1", "an", times={"creation": LONG_AGO}), row("2", "an")])
    found = await swept(copy, terms_of(policy))
    assert (found.records, found.past, found.deleted) == (2, {"person": 1}, 0)
    assert found.by == {"test.ceiling": 1}
    assert len(held.held) == 2
    assert held.deletes == 0


async def test_a_run_deletes_what_is_past_and_never_what_a_floor_holds(policy: Policy) -> None:
    records = [
        row("1", "an"),
        row("2", "an", "account", {"account_end": LATELY}),
        row("3", "an", "account", {"account_end": LONG_AGO}),
        row("4", None, times={"creation": LONG_AGO}),
    ]
    copy, held = copy_of(policy, "vn", records)
    acts = Acts()
    found = await swept(copy, terms_of(policy), covered({"erasure_request": LONG_AGO}), acts)
    assert sorted(key for _, key in held.held) == ["2", "4"]
    assert (found.past, found.held, found.deleted) == ({"person": 1, "account": 1}, {"account": 1}, 2)
    assert acts.told == [
        ("intent", "vn", "retention, 2 records past their ceilings", "test.ceiling"),
        ("committed", "retention, 2 records deleted"),
    ]


async def test_a_record_that_changes_meanwhile_stays(policy: Policy) -> None:
    copy, held = copy_of(policy, "vn", [row("1", "an"), row("2", "an")])
    held.before_delete.append(lambda records: records.change("person", "2"))
    found = await swept(copy, terms_of(policy), covered({"erasure_request": LONG_AGO}), Acts())
    assert found.deleted == 1
    assert list(held.held) == [("person", "2")]


async def test_a_sink_that_does_not_answer_ends_the_run_and_nobody_says_it_was_deleted(policy: Policy) -> None:
    copy, held = copy_of(policy, "vn", [row("1", "an")])
    away = SinkUnavailable("sink 'vn' cannot be reached")
    held.before_delete.append(lambda records: setattr(records, "fails", away))
    acts = Acts()
    with pytest.raises(SinkUnavailable):
        await swept(copy, terms_of(policy), covered({"erasure_request": LONG_AGO}), acts)
    assert acts.told[-1] == ("unknown", "SinkUnavailable")


async def test_what_the_sink_refuses_does_not_keep_the_rest(policy: Policy) -> None:
    copy, held = copy_of(policy, "vn", [row("1", "an"), row("2", "an", "account", {"account_end": LONG_AGO})])
    held.refused = {"person"}
    found = await swept(copy, terms_of(policy), covered({"erasure_request": LONG_AGO}), Acts())
    assert found.deleted == 1
    assert list(held.held) == [("person", "1")]


async def test_a_run_that_was_broken_off_goes_on_with_who_is_left(policy: Policy) -> None:
    class Done:
        def __init__(self) -> None:
            self.through: set[str] = set()

        def left(self, copy: str, digests: Sequence[str]) -> frozenset[str]:
            assert copy == "people/vn"
            return frozenset(digests) - self.through

        def add(self, copy: str, digests: Sequence[str]) -> None:
            self.through.update(digests)

    records = [row(str(n), f"s{n}") for n in range(10)]
    copy, held = copy_of(policy, "vn", records)
    done, asked = Done(), covered({"erasure_request": LONG_AGO})

    def die(_: MemoryRecords) -> None:
        raise RuntimeError("killed")

    held.before_delete += [lambda _: None, die]
    with pytest.raises(RuntimeError):
        await swept(copy, terms_of(policy), asked, Acts(), done=done, page=3)
    assert len(held.held) == 7
    assert len(done.through) == 3
    found = await swept(copy, terms_of(policy), asked, Acts(), done=done, page=3)
    assert not held.held
    assert found.subjects == 7


async def test_what_is_deleted_is_throttled_by_page(policy: Policy) -> None:
    copy, _ = copy_of(policy, "vn", [row(str(n), f"s{n}") for n in range(5)])
    pauses = []

    async def throttle(records: int) -> None:
        pauses.append(records)

    await swept(copy, terms_of(policy), covered({"erasure_request": LONG_AGO}), Acts(), throttle=throttle, page=2)
    assert pauses == [2, 2, 1]


@given(
    ended=st.none() | st.integers(0, 60),
    asked=st.none() | st.integers(0, 60),
    created=st.none() | st.integers(0, 60),
    sink=st.sampled_from(["vn", "sg", "old"]),
    name=st.sampled_from(["person", "account"]),
)
def test_a_record_goes_only_past_a_ceiling_and_never_below_a_floor(
    policy: Policy, ended: int | None, asked: int | None, created: int | None, sink: str, name: str
) -> None:
    times = {
        word: NOW - days * DAY for word, days in (("account_end", ended), ("creation", created)) if days is not None
    }
    who = covered({} if asked is None else {"erasure_request": NOW - asked * DAY})
    judged = terms_of(policy).judge(row("1", "an", name, times), "people", sink_of(policy, sink), who)
    held = name == "account" and (ended is None or ended <= 10)
    past = (asked is not None and asked > 5) or (sink == "old" and created is not None and created > 30)
    assert judged.retained.may_erase(NOW) is not held
    assert judged.retained.must_erase(NOW) is (past and not held)
