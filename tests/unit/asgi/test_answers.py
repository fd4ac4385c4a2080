"""Errors to refusals: which are ours, which reason they carry, and what an operator may read of the others."""

from __future__ import annotations

from residency.asgi.answers import mend, ours, unready
from residency.errors import JournalFull, PolicyError, Problem, Refused, SubjectUnknown
from residency.model import Reason


def test_a_group_is_ours_only_if_all_of_it_is() -> None:
    refused, bug = Refused("not_home", "no"), LookupError("a bug")
    assert ours(refused) is refused
    assert ours(ExceptionGroup("", [ExceptionGroup("", [refused]), SubjectUnknown("no")])) is refused
    assert ours(ExceptionGroup("", [refused, bug])) is None
    assert ours(bug) is None
    assert ours(None) is None


def test_a_set_up_tells_what_to_mend_and_of_a_strangers_error_only_its_kind() -> None:
    policy = PolicyError((Problem("/home/somebody/a.yaml", 3, 4, "unknown key"),))
    assert (unready(policy).reason, unready(policy).message) == (Reason.SETUP, "residency: a.yaml:3:4: unknown key")
    assert mend(policy) == "residency: /home/somebody/a.yaml:3:4: unknown key"
    assert unready(JournalFull("full")).reason is Reason.JOURNAL_FULL
    assert mend(OSError("/home/somebody/secret")) == "residency: the set-up failed with OSError"
    assert mend(None) == "residency: not set up"
