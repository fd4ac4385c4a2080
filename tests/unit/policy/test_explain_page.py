"""The page of a decision: what applied, was outranked, exempted or observed; what runs; what must happen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.jurisdiction.account import account
from residency.model import (
    Anchor,
    AnchorFinding,
    Bound,
    Clock,
    Deadline,
    Decision,
    Duty,
    Effect,
    Finding,
    Pin,
    Protection,
    Reason,
    Retention,
    RuleRef,
    Signal,
    Sink,
    SinkVerdict,
    Term,
    Trust,
)
from residency.policy.explain_page import Story, moment, page_of
from residency.policy.explain_render import Page, lines
from residency.policy.explain_words import LANGUAGES, Language

VN = Finding(AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK))


def rule(name: str, **more: str) -> RuleRef:
    """A rule as it is cited."""
    return RuleRef(
        f"test.{name}", "VN", "Law", f"art. {name}", "https://law.example/x", "high", "enforce",
        text=f"{name} in English", text_vi=f"{name} tiếng Việt", **more,
    )  # fmt: skip


SINK = Sink("people-vn", "vn-han", "VN", "VN", "VN", True)
DECISION = Decision(
    activity=None,
    effect=Effect.DENY,
    mode="enforce",
    reason=Reason.IDENTITY_MISSING,
    duty=Duty(
        copies=frozenset({"VN"}),
        only=frozenset({"VN", "LA"}),
        retain=frozenset(
            {
                Retention("account", Bound.AT_LEAST, 24, 0, "last_use"),
                Retention("log", Bound.AT_LEAST, 0, 0, "creation", lifetime=True, scope="backup"),
            }
        ),
        protect=frozenset({Protection("id_image", "in", "drop", "deidentified")}),
        log=frozenset({"ip", "account"}),
        label=frozenset({"notice"}),
        deadlines=frozenset(
            {
                Deadline("subject.reply", Term(days=2, working=True), "request", "VN"),
                Deadline("breach.notify_authority", Term(hours=72), "detection", "VN"),
            }
        ),
    ),
    sinks=(SinkVerdict(SINK, Effect.DENY, Reason.NOT_HOME, (rule("sink"),), (frozenset({"filing:vn.x"}),)),),
    rules=(rule("one", link="https://law.example/one", fine="2 %"),),
    observed=(rule("watched"),),
    jurisdictions=("VN",),
    presumed=(),
    finding=VN,
    evidence=frozenset(),
    policy="ab" * 32,
    epoch=0,
    unmet=(frozenset({"identity:phone", "identity:eid"}), frozenset()),
    outranked=(rule("outranked"),),
    exempted=(rule("exempted"),),
    exemptions=("X-7",),
    clocks=(
        Clock("clock:first_transfer.VN/60-days", "first_transfer", "VN", 1_800_000_000_000_000),
        Clock("clock:first_transfer.LA/60-days", "first_transfer", "LA", None),
    ),
)


def page(language: Language = "en", **more: object) -> Page:
    return page_of(Story(**{"decision": DECISION, "heard": (), **more}), language)  # type: ignore[arg-type]


def section(told: Page, title: str) -> list[str]:
    """The lines of one section."""
    found = next(s for s in told.sections if s.title == title)
    return [text.strip() for text in lines(Page("", (), (found,)))][2:]


def test_an_exemption_of_one_sink_is_told_with_the_sink() -> None:
    verdict = replace(DECISION.sinks[0], exemptions=("X-8",))
    told = page(decision=replace(DECISION, sinks=(verdict,), exemptions=()))
    assert section(told, "Rules that an exemption lifts")[2] == f"by exemption X-8, at {verdict.sink.name} alone"


def test_rules_stand_under_what_became_of_them_with_article_and_link() -> None:
    told = page()
    assert section(told, "Rules that refused") == [
        "test.one: Law art. one [https://law.example/x; confidence high]", "one in English", "Fine: 2 %",
        "https://law.example/one",
    ]  # fmt: skip
    assert section(told, "Rules that another overrides")[1] == "outranked in English"
    assert section(told, "Rules that an exemption lifts")[2] == "by exemption X-7"
    assert section(told, "Rules that only observed")[1] == "watched in English"
    permitted = page(decision=replace(DECISION, effect=Effect.PERMIT, reason=None))
    assert "Rules that applied" in [s.title for s in permitted.sections]


def test_what_is_missing_is_told_by_token_and_in_words() -> None:
    told = page()
    assert section(told, "What is missing") == [
        "identity:eid or identity:phone", "a verified e-ID account or a verified phone number",
        "nothing can satisfy this: it is forbidden",
    ]  # fmt: skip
    assert section(told, "What another sink would need") == [
        "people-vn: filing:vn.x", "a filing `vn.x` in the register"
    ]  # fmt: skip


def test_terms_are_told_with_their_end_and_those_not_begun_as_such() -> None:
    assert section(page(), "Terms that run") == [
        "Permitted without more until 2027-01-15 08:00 UTC: the term after `the first transfer` (VN) runs",
        "Permitted without more for now: the term after `the first transfer` (LA) begins with the first such act",
    ]


def test_what_must_happen_is_told_duty_by_duty() -> None:
    told = page()
    assert section(told, "What must happen") == [
        "a copy in VN (Vietnam)", "rest only in LA (Laos), VN (Vietnam)",
        "keep account at least 24 months from the last use",
        "keep log at least the life of the system (in each backup)",
        "drop `id_image` (in; deidentified)", "log account, ip", "label notice",
    ]  # fmt: skip
    assert section(told, "What is due when something happens") == [
        "notify the authority of a breach within 72 hours of detection (VN; breach.notify_authority)",
        "reply to the person within 2 working days of the person's request (VN; subject.reply)",
    ]


def test_duties_that_cannot_all_be_met_are_told() -> None:
    duty = Duty(only=frozenset({"DE"}), copies=frozenset({"VN"}))
    told = page(decision=replace(DECISION, duty=duty, reason=Reason.CONFLICT))
    assert "cannot all be met: a copy is required outside `only`" in section(told, "What must happen")


def test_the_vietnamese_page_has_the_same_sections_and_the_laws_own_words() -> None:
    english, vietnamese = page("en"), page("vi")
    assert [len(s.items) for s in english.sections] == [len(s.items) for s in vietnamese.sections]
    assert "one tiếng Việt" in section(vietnamese, "Quy định dẫn đến từ chối")
    shown = {text.strip() for text in lines(english)} & {text.strip() for text in lines(vietnamese)}
    # What both share is links, and words of the files themselves.
    assert {text for text in shown if not text.startswith("https://")} == {
        "drop `id_image` (in; deidentified)", "people-vn: filing:vn.x"
    }  # fmt: skip


SIGNALS = (
    Signal(Anchor.TERRITORY, "VN", Trust.NETWORK, "address"),
    Signal(Anchor.TERRITORY, "LA", Trust.HINT, "address"),
    Signal(Anchor.CITIZENSHIP, "DE", Trust.VERIFIED, "jwt"),
    Signal(Anchor.CITIZENSHIP, "US", Trust.VERIFIED, "jwt"),
    Signal(Anchor.CITIZENSHIP, "VN", Trust.NETWORK, "address"),
)
PIN = Pin("00", "VN", ((Anchor.TERRITORY, "VN", Trust.NETWORK),), "00", "first_write", "", 0, 3)


def test_what_became_of_each_signal_is_told_as_it_is_accounted_for() -> None:
    heard = account(SIGNALS, PIN)
    told = page(heard=heard, pin=PIN)
    seen = [*section(told, "What we saw"), *section(told, "What was discarded, and why")]
    for each in heard:
        name = f"{each.signal.anchor}: {each.signal.place} ({each.signal.trust.name.lower()}, by {each.signal.source})"
        assert f"{name}: {each.because}" in seen
    assert "pin: home VN, set by first_write, version 3" in seen


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"heard": None}, "A finding as it was given; its signals are not known."),
        ({"heard": ()}, "No signal speaks; presumptions decide."),
        ({"caller": "another"}, "The caller is another than the subject: what is seen says nothing of the subject."),
        ({"entry": 7, "at": "now"}, "Entry 7 of the log, decided at now."),
        ({"goes_to": "people-vn", "pin": PIN}, "The subject's pin sends this to people-vn"),
        ({"decision": replace(DECISION, mode="observe")}, "The deployment only observes: this is recorded"),
        ({"decision": replace(DECISION, jurisdictions=())}, "No law of this deployment covers the person."),
        ({}, "The person must first show something, such as a verified identity."),
        ({"client": {"address": None, "strategy": "peer", "network": "vpn"}}, "undetermined (strategy peer, a vpn"),
    ],
)
def test_what_must_be_known_is_told(more: dict[str, object], told: str) -> None:
    assert told in "\n".join(lines(page(**more)))  # type: ignore[arg-type]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_bare_decision_makes_a_page_too(language: Language) -> None:
    bare = replace(
        DECISION, effect=Effect.PERMIT, reason=None, duty=Duty(), sinks=(), rules=(), observed=(), jurisdictions=(),
        finding=Finding(), unmet=(), outranked=(), exempted=(), exemptions=(), clocks=(),
    )  # fmt: skip
    assert len(page(language, decision=bare).sections) == 3


def test_an_instant_past_the_calendar_is_told_as_what_it_is() -> None:
    assert moment(0) == "1970-01-01 00:00 UTC"
    assert moment(1 << 62) == f"{1 << 62} us"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_could_go_only_treated_is_told_with_what_to_do_instead(language: Language) -> None:
    duty = Duty(
        protect=frozenset({Protection("phone", "out", "mask", "pseudonym"), Protection("id_image", "in", "drop", "x")})
    )
    verdict = SinkVerdict(replace(SINK, name="sg", place="SG"), Effect.DENY, Reason.CANNOT_BE_TREATED, duty=duty)
    sent = page(language, decision=replace(DECISION, reason=Reason.CANNOT_BE_TREATED, sinks=(verdict,)))
    read = page(language, decision=replace(DECISION, reason=Reason.CANNOT_BE_TREATED, sinks=(), duty=duty))
    for told, word in ((sent, "`copies:`"), (read, "`hand_over:`")):
        (lead, *_), text = told.lead, "\n".join(lines(told))
        assert lead.startswith({"en": "Fields of the data must be treated first", "vi": "Một số trường"}[language])
        assert "mask `phone`" in text
        assert "id_image" not in "\n".join(section_of(told, language))
        assert word in text
    title = {"en": "What to do instead", "vi": "Có thể làm gì thay thế"}[language]
    assert title not in [each.title for each in page(language).sections]


def section_of(told: Page, language: Language) -> list[str]:
    """What is to be done instead."""
    return section(told, {"en": "What to do instead", "vi": "Có thể làm gì thay thế"}[language])
