"""A run over a copy deletes what is past its ceiling and nothing else, and goes on where it was broken off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from residency.errors import SinkUnavailable
from residency.policy.compiler import Policy
from residency.storage.retention import Copy, Person, Terms
from residency.storage.sweep import Swept, leading, sweep
from tests.record_world import DAY, NOW, Acts, MemoryRecords, copy_of, covered, policy_in, row, terms_of

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


@pytest.mark.parametrize("refused", [set(), {"4"}, {"1", "7"}, {"1", "2", "3", "4", "5", "6", "7"}])
async def test_of_many_the_sink_keeps_those_alone_that_others_refer_to(policy: Policy, refused: set[str]) -> None:
    records = [row(str(number), f"p{number}", times={"creation": LONG_AGO}) for number in range(1, 8)]
    copy, held = copy_of(policy, "old", records)
    held.refused = refused
    found = await swept(copy, terms_of(policy), None, Acts())
    assert {key for _, key in held.held} == refused
    assert found.deleted == 7 - len(refused)


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


def test_what_others_are_known_by_is_needed_step_by_step_and_a_circle_ends() -> None:
    via = {"line": "order", "order": "person", "a": "b", "b": "a"}
    assert leading(via, [("an", "line")]) == {("an", "order"), ("an", "person")}
    assert leading(via, [("an", "person")]) == set()
    assert leading(via, [("an", "a")]) == {("an", "a"), ("an", "b")}
