"""Citations in Vietnamese: smallest part first, instruments by their names, the rest as it is."""

from __future__ import annotations

import pytest

from residency.policy.explain_cite import cite


@pytest.mark.parametrize(
    ("english", "vietnamese"),
    [
        ("Law 116/2025/QH15 art. 25(3)", "Luật 116/2025/QH15 khoản 3 Điều 25"),
        ("Decree 147/2024/ND-CP art. 23(3)(e)", "Nghị định 147/2024/NĐ-CP điểm e khoản 3 Điều 23"),
        ("Decree 333/2026/ND-CP art. 19(1), 19(2)", "Nghị định 333/2026/NĐ-CP khoản 1 Điều 19, khoản 2 Điều 19"),
        ("Law 91/2025/QH15 art. 14; Decree 356/2025 art. 5", "Luật 91/2025/QH15 Điều 14; Nghị định 356/2025 Điều 5"),
        ("Decision 20/2025 list of core data", "Quyết định 20/2025 list of core data"),
        ("Directive 57-CT/TW on identity", "Chỉ thị 57-CT/TW on identity"),
        ("Regulation (EU) 2016/679 art. 44-49", "Regulation (EU) 2016/679 Điều 44-49"),
        ("AI law as reported by the press as reported", "AI law as reported by the press as reported"),
    ],
)
def test_a_citation_reads_as_a_vietnamese_text_writes_it(english: str, vietnamese: str) -> None:
    assert cite(english, "vi") == vietnamese
    assert cite(english, "en") == english
