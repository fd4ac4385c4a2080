"""Both languages have every word, and no two sections are called alike."""

from __future__ import annotations

from residency.audit.dossiers import SENTENCES as OF_DOSSIERS
from residency.cli.audit.page import page_with
from residency.cli.audit.report_words import LANGUAGES, WORDS
from residency.policy.explain_words import SENTENCES


def test_every_word_is_there_in_both_languages() -> None:
    english, vietnamese = (WORDS[language] for language in LANGUAGES)
    assert english.keys() == vietnamese.keys()
    assert all((*english.values(), *vietnamese.values()))
    assert not {name for name, word in english.items() if len(word) > 12 and vietnamese[name] == word}


def test_what_is_told_elsewhere_in_vietnamese_is_called_the_same_here() -> None:
    words, page = WORDS["vi"], page_with(None)
    for name, called in (("acts", "thao tác"), ("checkpoint", "điểm kiểm tra"), ("key", "khóa kiểm tra")):
        assert called in words[name]
        assert called in page.lower()
    assert SENTENCES["presumed"][1] == words["anchor"]


def test_sections_are_numbered_in_the_order_of_the_page() -> None:
    names = ("coverage", "policies", "decisions", "refusals", "transfers", "retention", "open", "ages", "verification")
    for words in WORDS.values():
        assert [words[name].partition(".")[0] for name in names] == [str(number) for number in range(1, 10)]


def test_every_code_of_a_finding_about_a_dossier_has_its_words() -> None:
    told = {name.removeprefix("f_") for name in WORDS["vi"] if name.startswith("f_dossier")}
    assert told == set(OF_DOSSIERS)
