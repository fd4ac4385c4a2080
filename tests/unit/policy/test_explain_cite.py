"""Citations in Vietnamese: smallest part first, instruments and matters by their names, the rest as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from residency.policy.explain_cite import cite


@pytest.mark.parametrize(
    ("english", "vietnamese"),
    [
        ("Law 116/2025/QH15 art. 25(3)", "Luật 116/2025/QH15 khoản 3 Điều 25"),
        ("Decree 147/2024/ND-CP art. 23(3)(e)", "Nghị định 147/2024/NĐ-CP điểm e khoản 3 Điều 23"),
        ("Decree 333/2026/ND-CP art. 19(1), 19(2)", "Nghị định 333/2026/NĐ-CP khoản 1 Điều 19, khoản 2 Điều 19"),
        ("Law 91/2025/QH15 art. 14; Decree 356/2025 art. 5", "Luật 91/2025/QH15 Điều 14; Nghị định 356/2025 Điều 5"),
        ("Decision 20/2025 list of core data", "Quyết định 20/2025 danh mục dữ liệu cốt lõi"),
        ("Decision 33/2026 list", "Quyết định 33/2026 danh mục"),
        ("Directive 57-CT/TW on identity", "Chỉ thị 57-CT/TW về định danh"),
        ("Decree 147/2024/ND-CP on children's accounts", "Nghị định 147/2024/NĐ-CP về tài khoản của trẻ em"),
        (
            "art. 42(3), which changes Decree 165/2025 art. 16(2)",
            "khoản 3 Điều 42, sửa đổi Nghị định 165/2025 khoản 2 Điều 16",
        ),
        ("Act on children's toys, on lists", "Act on children's toys, on lists"),
        ("Regulation (EU) 2016/679 art. 44-49", "Regulation (EU) 2016/679 Điều 44-49"),
        ("AI law as reported by the press as reported", "Luật AI theo báo chí (theo tin đã đưa)"),
    ],
)
def test_a_citation_reads_as_a_vietnamese_text_writes_it(english: str, vietnamese: str) -> None:
    assert cite(english, "vi") == vietnamese
    assert cite(english, "en") == english


def test_no_citation_of_vietnam_s_packs_stays_half_english() -> None:
    told = []
    for file in sorted((Path(__file__).resolve().parents[3] / "policies" / "laws" / "vn").glob("*.yaml")):
        law = yaml.safe_load(file.read_text())
        if law.get("kind") == "law":
            told += [cite(f"{law['instrument']} {rule['article']}", "vi") for rule in law["rules"]]
    assert len(told) > 100
    english = re.compile(r"\b(?:and|art|as|by|for|in|law|list|of|on|the|to|which)\b", re.IGNORECASE)
    assert [each for each in told if english.search(each)] == []
