"""Names of tasks and events, as duties with a deadline write them, in; what a person would call them out.

A name that is not here is shown as it is written, with spaces: law packs may add their own.
"""

from __future__ import annotations

from typing import Final

from residency.policy.explain_words import LANGUAGES, Language

__all__ = ["event", "task"]

_TASKS: Final[dict[str, tuple[str, str]]] = {
    "account.verify": ("verify the accounts in use", "xác thực các tài khoản đang hoạt động"),
    "ai.notify_class": ("notify the class of the AI system", "thông báo mức rủi ro của hệ thống trí tuệ nhân tạo"),
    "ai.review": ("review the AI system again", "rà soát lại hệ thống trí tuệ nhân tạo"),
    "authority.deliver": ("deliver what an authority asks for", "cung cấp thông tin theo yêu cầu của cơ quan nhà nước"),
    "authority.deliver_urgent": (
        "deliver what an authority urgently asks for",
        "cung cấp thông tin trong trường hợp khẩn",
    ),
    "breach.notify": ("notify a breach", "thông báo vi phạm dữ liệu"),
    "breach.notify_authority": ("notify the authority of a breach", "thông báo vi phạm cho cơ quan có thẩm quyền"),
    "breach.notify_subject": ("notify the persons of a breach", "thông báo vi phạm cho chủ thể dữ liệu"),
    "content.take_down": ("take content down on request", "gỡ nội dung theo yêu cầu"),
    "content.take_down_urgent": ("take content down on urgent request", "gỡ nội dung theo yêu cầu khẩn"),
    "data.extract": ("extract the data that an authority asks for", "trích xuất dữ liệu theo yêu cầu"),
    "data.report_urgent_transfer": ("report an urgent transfer", "báo cáo việc chuyển dữ liệu khẩn cấp"),
    "data.risk_assessment": ("assess the risks again", "đánh giá lại rủi ro"),
    "filing.processing_dossier": ("file the processing dossier", "nộp hồ sơ đánh giá tác động xử lý dữ liệu"),
    "filing.update": ("update the filing", "cập nhật hồ sơ"),
    "filing.update_after_change": ("update the filing after a change", "cập nhật hồ sơ khi có thay đổi"),
    "force_majeure.notify": ("notify force majeure", "thông báo sự kiện bất khả kháng"),
    "force_majeure.remedy": ("remedy after force majeure", "khắc phục sau sự kiện bất khả kháng"),
    "incident.first_notice": ("give first notice of an incident", "thông báo ban đầu về sự cố"),
    "incident.first_report": ("make the first report of an incident", "báo cáo ban đầu về sự cố"),
    "incident.report": ("report an incident in full", "báo cáo đầy đủ về sự cố"),
    "localisation.comply": ("bring the data into the country", "thực hiện lưu trữ dữ liệu trong nước"),
    "platform.tell_contact": ("name a contact to the authority", "cung cấp đầu mối liên hệ"),
    "subject.access": ("give the person access", "cho chủ thể xem dữ liệu"),
    "subject.access_by_processor": ("give access through the processor", "cho xem dữ liệu qua bên xử lý"),
    "subject.access_extension": ("give access after an extension", "cho xem dữ liệu khi đã gia hạn"),
    "subject.complete": ("complete what the person asks for", "hoàn thành yêu cầu của chủ thể"),
    "subject.erase": ("erase what the person asks to erase", "xóa dữ liệu theo yêu cầu của chủ thể"),
    "subject.erase_by_processor": ("erase through the processor", "xóa dữ liệu qua bên xử lý"),
    "subject.erase_extension": ("erase after an extension", "xóa dữ liệu khi đã gia hạn"),
    "subject.protect": ("take the measures the person asks for", "áp dụng biện pháp bảo vệ theo yêu cầu"),
    "subject.protect_extension": ("take the measures after an extension", "áp dụng biện pháp khi đã gia hạn"),
    "subject.reply": ("reply to the person", "phản hồi chủ thể dữ liệu"),
    "subject.withdraw": ("stop after consent is withdrawn", "ngừng xử lý khi rút lại đồng ý"),
    "subject.withdraw_by_processor": ("stop through the processor", "ngừng xử lý qua bên xử lý"),
    "subject.withdraw_extension": ("stop after an extension", "ngừng xử lý khi đã gia hạn"),
}
_EVENTS: Final[dict[str, tuple[str, str]]] = {
    "account_end": ("the end of the account", "khi đóng tài khoản"),
    "authority_request": ("the authority's request", "khi có yêu cầu của cơ quan nhà nước"),
    "class_found": ("the finding of the class", "khi xác định mức rủi ro"),
    "collection": ("collection", "khi thu thập"),
    "commencement": ("commencement of the law", "khi luật có hiệu lực"),
    "confirmation": ("confirmation", "khi xác nhận"),
    "creation": ("creation", "khi tạo"),
    "detection": ("detection", "khi phát hiện"),
    "erasure_request": ("the request to erase", "khi có yêu cầu xóa"),
    "extension": ("the extension", "khi gia hạn"),
    "first_processing": ("the first processing", "lần xử lý đầu tiên"),
    "first_transfer": ("the first transfer", "lần chuyển đầu tiên"),
    "force_majeure": ("the end of force majeure", "khi hết bất khả kháng"),
    "in_scope": ("coming into scope", "khi thuộc phạm vi áp dụng"),
    "last_filing": ("the last filing", "lần nộp hồ sơ gần nhất"),
    "last_review": ("the last review", "lần rà soát gần nhất"),
    "last_risk_assessment": ("the last assessment", "lần đánh giá gần nhất"),
    "last_use": ("the last use", "lần dùng cuối"),
    "order": ("the authority's order", "khi có yêu cầu bằng văn bản"),
    "purpose_end": ("the end of the purpose", "khi hết mục đích"),
    "reorganisation": ("a reorganisation", "khi tổ chức lại"),
    "request": ("the person's request", "khi có yêu cầu của chủ thể"),
    "urgent_confirmation": ("urgent confirmation", "khi xác nhận khẩn cấp"),
    "urgent_transfer": ("the urgent transfer", "khi chuyển khẩn cấp"),
}


def task(name: str, language: Language) -> str:
    """What is to be done."""
    return _told(_TASKS, name, language)


def event(name: str, language: Language) -> str:
    """What a time is counted from."""
    return _told(_EVENTS, name, language)


def _told(table: dict[str, tuple[str, str]], name: str, language: Language) -> str:
    known = table.get(name)
    return name.replace("_", " ").replace(".", " ") if known is None else known[LANGUAGES.index(language)]
