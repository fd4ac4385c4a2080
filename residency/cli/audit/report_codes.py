"""A code of the report's document and a language in; the word that explains it on the page out.

The page in English tells codes as the JSON does. In Vietnamese, what explains is said in Vietnamese; names (of routes,
rules, sinks, people's own words) stay what they are.
"""

from __future__ import annotations

from typing import Final

from residency.audit.dossiers import State
from residency.model import Reason
from residency.policy.explain_tasks import event
from residency.policy.explain_words import SENTENCES, Language, because, category
from residency.policy.replay import Gap

__all__ = ["coded", "meaning"]

_VIETNAMESE: Final[dict[str, dict[str, str]]] = {
    "gap": {
        Gap.POLICY_MISSING: "chính sách của nó không được lưu trữ",
        Gap.POLICY_UNREADABLE: "chính sách đã lưu trữ của nó không đọc được",
        Gap.FACTS_UNKNOWN: "dữ kiện tại thời điểm đó không được lưu trữ",
        Gap.ACTIVITY_TWICE: "chính sách của nó khai báo hai hoạt động cùng tên đó",
        Gap.ROUTE_NOT_RECORDED: "không hoạt động nào khai báo tuyến này, và tuyến như vậy không được ghi lại",
        Gap.EVIDENCE_NOT_RECORDED: "chính sách dự kiến cần bằng chứng không được ghi lại",
        Gap.COLLECTION_NOT_RECORDED: "chính sách dự kiến cần thời điểm thu thập chính xác hơn mức được ghi lại",
    },
    "state": {
        State.NOT_NEEDED: "không cần",
        State.CLOCK_RUNNING: "thời hạn đang chạy",
        State.OVERDUE: "quá hạn",
        State.FILED: "đã nộp",
        State.PASSED: "đạt",
        State.FAILED: "không đạt",
        State.SUSPENDED: "bị đình chỉ",
        State.EXPIRED: "hết hiệu lực",
    },
    "kind": {"law": "luật", "filing": "hồ sơ", "key": "khóa", "address_data": "dữ liệu địa chỉ"},
    "abroad": {"region": "nơi lưu trữ", "provider": "nhà cung cấp", "keys": "khóa mã hóa", "reader": "người đọc"},
}


def coded(kind: str, code: str, language: Language) -> str:
    """The word for a code of one kind: `gap`, `state` (of a dossier or a filing), `kind` (of what ages), `abroad`,
    `event`, `category`, `confidence`. One that is not known is told as it is."""
    if language == "en":
        return code
    if kind == "event":
        return event(code, language)
    if kind == "category":
        return category(code, language)
    if kind == "confidence":
        return SENTENCES[code][1] if code in SENTENCES else code
    return _VIETNAMESE[kind].get(code, code)


def meaning(reason: str, language: Language) -> str:
    """What a reason for a refusal means, in a sentence; "" for one that is not known."""
    return because(Reason(reason), language) if reason in set(Reason) else ""
