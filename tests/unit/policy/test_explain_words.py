"""Every sentence is there in both languages and takes the same values; what has no name is shown as it is."""

from __future__ import annotations

from string import Formatter

import pytest

from residency.model import Reason
from residency.model.data import CATEGORIES
from residency.policy.explain_words import LANGUAGES, SENTENCES, because, category, place, say, trust

UNSPOKEN = {"at", "contested"}  # the same in both, or not words


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_is_in_both_languages_and_takes_the_same_values(name: str) -> None:
    english, vietnamese = SENTENCES[name]
    values = [{field for _, field, _, _ in Formatter().parse(text) if field is not None} for text in SENTENCES[name]]
    assert values[0] == values[1]
    assert english
    assert vietnamese
    letters = "".join(text for text, _, _, _ in Formatter().parse(english)).strip(" :;,.()[]`")
    if letters:
        assert english != vietnamese


def test_values_are_put_in_and_never_read_as_sentences() -> None:
    assert say("caller", "en", who="{x}") == "The caller {x}."
    with pytest.raises(KeyError):
        say("no_such_sentence", "en")


def test_each_reason_that_a_policy_gives_has_a_sentence() -> None:
    of_policy = {
        "law_forbids", "not_home", "only_in_country", "filing_missing", "stop_order", "identity_missing",
        "consent_missing", "sink_unfit", "cannot_be_treated", "conflict", "hold", "no_sink", "unclassified_route",
    }  # fmt: skip
    for language in LANGUAGES:
        assert {reason.value for reason in Reason if because(reason, language)} == of_policy


def test_places_and_categories_have_names_and_others_their_code() -> None:
    assert place("VN", "en") == "VN (Vietnam)"
    assert place("VN", "vi") == "VN (Việt Nam)"
    assert place("ZW", "vi") == "ZW"
    assert all(category(word, "vi") != word for word in CATEGORIES)
    assert category("vn.basic_x", "vi") == "vn.basic x"
    assert trust("verified", "vi") == "đã xác thực"
    assert trust("verified", "en") == "verified"
