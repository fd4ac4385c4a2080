"""Refusals as RFC 9457 problem details: a reason and its rules in, status, headers and body out.

In English or Vietnamese by Accept-Language. Rules and articles are named; no personal data ever is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from residency.model import STATUS, Reason, RuleRef
from residency.policy.explain_cite import cite

__all__ = ["problem", "wants_vietnamese"]

# (English, Vietnamese). The titles say what happened; the detail is built from the rules.
_TITLES: Final[dict[Reason, tuple[str, str]]] = {
    Reason.LAW_FORBIDS: (
        "The law that covers this person forbids it",
        "Pháp luật áp dụng cho người này không cho phép",
    ),
    Reason.NOT_HOME: (
        "This data must be stored in the person's own country first",
        "Dữ liệu này phải được lưu trữ tại quốc gia của người dùng trước",
    ),
    Reason.DETAIL_ABROAD: (
        "What the law asks to be recorded of this may not be kept where the request came in",
        "Thông tin mà pháp luật yêu cầu ghi lại không được lưu tại nơi tiếp nhận yêu cầu này",
    ),
    Reason.CANNOT_BE_TREATED: (
        "Fields of this data must be treated first, which cannot be done here",
        "Một số trường của dữ liệu này phải được xử lý trước, việc này không thực hiện được ở đây",
    ),
    Reason.ONLY_IN_COUNTRY: (
        "This data may not leave the country whose law covers it",
        "Dữ liệu này không được đưa ra khỏi quốc gia có luật điều chỉnh",
    ),
    Reason.FILING_MISSING: (
        "A filing that the law asks for before this transfer is missing",
        "Thiếu hồ sơ mà pháp luật yêu cầu cho việc chuyển dữ liệu này",
    ),
    Reason.STOP_ORDER: (
        "An authority has ordered this transfer to stop",
        "Cơ quan có thẩm quyền đã yêu cầu ngừng việc chuyển dữ liệu này",
    ),
    Reason.IDENTITY_MISSING: (
        "The account must be verified first",
        "Tài khoản phải được xác thực trước",
    ),
    Reason.CONSENT_MISSING: (
        "The person's consent is needed first",
        "Cần có sự đồng ý của chủ thể dữ liệu trước",
    ),
    Reason.SINK_UNFIT: (
        "The storage does not have the protection that the law asks for",
        "Nơi lưu trữ không đáp ứng biện pháp bảo vệ mà pháp luật yêu cầu",
    ),
    Reason.CONFLICT: (
        "The laws that cover this person cannot all be met",
        "Không thể đồng thời tuân thủ mọi luật áp dụng cho người này",
    ),
    Reason.HOLD: ("This waits for a human review", "Yêu cầu này đang chờ người xem xét"),
    Reason.NO_SINK: ("No storage may take this data now", "Hiện không có nơi lưu trữ nào được phép nhận dữ liệu này"),
    Reason.UNCLASSIFIED_ROUTE: (
        "This route is not described in the residency policy",
        "Đường dẫn này chưa được khai báo trong chính sách lưu trú dữ liệu",
    ),
    Reason.PATH_AMBIGUOUS: ("The path can be read in more than one way", "Đường dẫn có thể được hiểu theo nhiều cách"),
    Reason.SUBJECT_UNKNOWN: (
        "It is not known whose data this is",
        "Chưa xác định được dữ liệu này là của ai",
    ),
    Reason.IDENTITY_UNAVAILABLE: (
        "Who asks cannot be established now",
        "Hiện không thể xác định người gửi yêu cầu",
    ),
    Reason.SINK_MISPLACED: (
        "A storage does not lie where it should; nothing is stored in it",
        "Một nơi lưu trữ không nằm ở nơi phải ở; không có gì được lưu vào đó",
    ),
    Reason.SUBJECT_MOVING: (
        "This person's data is being moved home at this moment; try again soon",
        "Dữ liệu của người này đang được chuyển về; vui lòng thử lại sau ít giây",
    ),
    Reason.FACTS_MOVED: ("The facts changed in between; try again", "Dữ kiện đã thay đổi; vui lòng thử lại"),
}
_UNAVAILABLE: Final = (
    "A promise about this data cannot be kept now",
    "Hiện không thể bảo đảm cam kết đối với dữ liệu này",
)


def wants_vietnamese(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether Accept-Language ranks Vietnamese above English (RFC 9110 section 12.5.4); unreadable = English."""
    best: dict[str, float] = {}
    for name, value in headers:
        if name != b"accept-language":
            continue
        for part in value[:1024].decode("latin-1").lower().split(","):
            tag, _, weight = part.strip().partition(";")
            language = tag.strip().split("-")[0]
            if language in ("vi", "en", "*"):
                try:
                    quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
                except ValueError:
                    continue
                best[language] = max(best.get(language, 0.0), quality)
    vi = best.get("vi", 0.0)
    return vi > 0 and vi >= best.get("en", best.get("*", 0.0))


def problem(
    reason: Reason, rules: Sequence[RuleRef] = (), *, vietnamese: bool = False, detail: str = ""
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """(status, headers, body) of a refusal. `detail` is text of ours without personal data, such as a line to mend."""
    status = STATUS[reason]
    title = _TITLES.get(reason, _UNAVAILABLE)[1 if vietnamese else 0]
    document: dict[str, object] = {
        "type": f"urn:residency:refusal:{reason.value}",
        "title": title,
        "status": status,
        "reason": reason.value,
    }
    if rules:
        texts = [(rule.text_vi or rule.text if vietnamese else rule.text) for rule in rules]
        cited = [cite(rule.citation, "vi" if vietnamese else "en") for rule in rules]
        document["detail"] = " ".join(f"{c}: {text}" if text else c for c, text in zip(cited, texts, strict=True))
        document["rules"] = [
            {"id": rule.id, "jurisdiction": rule.jurisdiction, "instrument": rule.instrument, "article": rule.article}
            for rule in rules
        ]
    elif detail:
        document["detail"] = detail
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-language", b"vi" if vietnamese else b"en"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    return status, headers, body
