"""What an entry tells of a decision is read back as it was; what tells of none is named for what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.audit.entry import Entry
from residency.audit.recall import Basis, Beside, Recall, Told
from residency.errors import EntryError, VerificationError
from residency.model import Anchor, AnchorFinding, Finding, Signal, Trust
from residency.policy.recorded import Recorded, When

SYSTEM = Entry(id="0.0", kind="system", at=1, policy="ab" * 32, facts="cd" * 32, note="start")
DECISION = Entry(
    id="0.1",
    kind="decision",
    at=2,
    decided=1,
    effect="permit",
    policy="ab" * 32,
    activity="GET /plain",
    finding=("territory:VN:established:network",),
    evidence=("identity:phone",),
)


def test_a_basis_tells_signals_and_evidence_in_words() -> None:
    basis = Basis(7, (Signal(Anchor.TERRITORY, "VN", Trust.NETWORK, "address"),), frozenset({"b:2", "a:1"}))
    assert basis.words() == {"signals": "territory:VN:network:address", "evidence": "a:1 b:2"}


def test_a_decision_is_recalled_with_the_facts_that_its_slot_named_last() -> None:
    recall = Recall()
    other = replace(SYSTEM, id="1.0", facts="ef" * 32)
    later = replace(SYSTEM, id="0.2", facts="01" * 32, note="facts")
    assert [recall.take(entry) for entry in (SYSTEM, other)] == [Beside.SYSTEM, Beside.SYSTEM]
    facts = []
    for entry in (DECISION, replace(DECISION, id="1.1"), later, replace(DECISION, id="0.3")):
        taken = recall.take(entry)
        if not isinstance(taken, Beside):
            facts.append(taken[0].facts)
    assert facts == ["cd" * 32, "ef" * 32, "01" * 32]


def test_a_decision_on_an_epoch_that_no_entry_named_has_no_facts() -> None:
    recall = Recall()
    recall.take(SYSTEM)
    taken = recall.take(replace(DECISION, epoch=1))
    assert isinstance(taken, tuple)
    assert taken[0].facts is None


def test_what_a_decision_was_made_on_is_recalled_and_alike_entries_share_it() -> None:
    recall = Recall({"0.1": Told("ab" * 32, "age:at_least_18 identity:phone")})
    taken = recall.take(replace(DECISION, detail="ab" * 32))
    assert isinstance(taken, tuple)
    recorded, when = taken
    assert isinstance(recorded, Recorded)
    assert (recorded.of, recorded.activity, recorded.evidence, when) == (
        "decision", "GET /plain", frozenset({"identity:phone"}), When(1)
    )  # fmt: skip
    assert recorded.all_evidence == frozenset({"age:at_least_18", "identity:phone"})
    assert recorded.finding == Finding(AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK))
    alike = [recall.take(replace(DECISION, id=f"0.{n}", at=n, decided=n, subject="ab" * 8)) for n in (2, 3)]
    assert [isinstance(each, tuple) and each[1] for each in alike] == [When(2), When(3)]
    assert isinstance(alike[0], tuple)
    assert isinstance(alike[1], tuple)
    assert alike[0][0] is alike[1][0]
    assert alike[0][0].all_evidence is None


def test_a_finding_in_other_words_is_refused() -> None:
    with pytest.raises(EntryError):
        Recall().take(replace(DECISION, finding=("territory:VN",)))


def test_a_detail_that_the_entry_does_not_commit_to_is_refused() -> None:
    recall = Recall({"0.1": Told("ab" * 32, "identity:phone")})
    for commitment in (None, "cd" * 32):
        with pytest.raises(VerificationError):
            recall.take(replace(DECISION, detail=commitment))


@pytest.mark.parametrize(
    ("entry", "beside"),
    [
        (replace(SYSTEM, facts=None), Beside.SYSTEM),
        (replace(DECISION, kind="outcome", act="committed", of="0.0", decided=None), Beside.OUTCOME),
        (replace(DECISION, decided=None, note="exempt"), Beside.EXEMPT),
        (replace(DECISION, decided=None, kind="intent", operation="pin"), Beside.PIN),
        (replace(DECISION, decided=None, kind="refusal", effect="deny", reason="path_ambiguous"), Beside.EARLY),
        (replace(DECISION, decided=None), Beside.UNDECIDED),
        (replace(DECISION, decided=None, note="exempt", sink="sg"), Beside.UNDECIDED),
        (replace(DECISION, decided=None, kind="intent", operation="write", sink="sg"), Beside.UNDECIDED),
        (
            replace(DECISION, decided=None, kind="intent", operation="erase", sink="sg", note="operator: erasure"),
            Beside.OPERATOR,
        ),
        (replace(DECISION, decided=None, operation="erase", sink="sg", note="operator: erasure"), Beside.UNDECIDED),
        (replace(DECISION, decided=None, kind="intent", operation="pin", sink="sg"), Beside.UNDECIDED),
        (replace(DECISION, decided=None, kind="refusal", effect="permit"), Beside.UNDECIDED),
    ],
)
def test_what_tells_of_no_decision_is_named_for_what_it_is(entry: Entry, beside: Beside) -> None:
    assert Recall().take(entry) is beside
