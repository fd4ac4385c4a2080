"""On a Vietnamese page what explains is said in Vietnamese; in English codes are told as the JSON tells them."""

from __future__ import annotations

from typing import get_args

import pytest

from residency.audit.dossiers import State
from residency.cli.audit.report_codes import coded, meaning
from residency.model import Reason
from residency.model.filing import FilingResult
from residency.policy.replay import Gap
from residency.policy.words import Confidence, Event

CODES = [
    *(("gap", gap.value) for gap in Gap),
    *(("state", state.value) for state in (*State, *FilingResult)),
    *(("kind", kind) for kind in ("law", "filing", "key", "address_data")),
    *(("abroad", how) for how in ("region", "provider", "keys", "reader")),
    *(("event", event) for event in get_args(Event)),
    *(("category", category) for category in ("personal", "account", "log", "content")),
    *(("confidence", confidence) for confidence in get_args(Confidence)),
]


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_every_code_that_explains_has_a_vietnamese_word(kind: str, code: str) -> None:
    assert coded(kind, code, "vi") != code
    assert coded(kind, code, "en") == code


def test_a_code_of_a_later_version_is_told_as_it_is() -> None:
    for kind in ("state", "event", "category", "confidence", "gap"):
        assert coded(kind, "unheard", "vi") == "unheard"


def test_a_reason_is_explained_in_both_languages_and_an_unknown_one_in_none() -> None:
    assert meaning(Reason.NOT_HOME.value, "en") != meaning(Reason.NOT_HOME.value, "vi") != ""
    assert meaning("unheard", "vi") == ""
