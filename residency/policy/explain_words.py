"""The fixed sentences of an explanation, in English and Vietnamese: a name and a language in, the words out.

What laws say stands in the law packs in both languages; here is what the program says itself. A test holds that every
sentence is there in both and takes the same values.
"""

from __future__ import annotations

from typing import Final, Literal

from residency.model import Reason

__all__ = ["LANGUAGES", "SENTENCES", "Language", "because", "category", "place", "say", "trust"]

Language = Literal["en", "vi"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "vi")

SENTENCES: Final[dict[str, tuple[str, str]]] = {
    # The heading and what stands under it.
    "title": ("{name}: {effect}{why}{at}", "{name}: {effect}{why}{at}"),
    "at": (", at {at}", ", ngày {at}"),
    "the_request": ("the request", "yêu cầu này"),
    "permit": ("permitted", "được phép"),
    "hold": ("held", "tạm giữ"),
    "deny": ("refused", "bị từ chối"),
    "observes": (
        "The deployment only observes: this is recorded and does not bind.",
        "Hệ thống chỉ theo dõi: kết quả được ghi lại và không ràng buộc.",
    ),
    "no_activity": ("No activity names this route.", "Không có hoạt động nào khai báo đường dẫn này."),
    "caller": ("The caller {who}.", "Người gọi {who}."),
    "unknown_pinned": (
        "is not known, and the subject has a pin: the pin speaks, the address does not",
        "chưa rõ là ai, và chủ thể đã có ghim: ghim quyết định, địa chỉ thì không",
    ),
    "unknown": (
        "is not known, and may be the subject or not: what is seen is a hint",
        "chưa rõ là ai, có thể là chủ thể hoặc không: những gì thấy chỉ là gợi ý",
    ),
    "subject": ("is the subject", "chính là chủ thể"),
    "another": (
        "is another than the subject: what is seen says nothing of the subject",
        "là người khác với chủ thể: những gì thấy không nói gì về chủ thể",
    ),
    "entry": ("Entry {index} of the log, decided at {at}.", "Bản ghi số {index} của nhật ký, quyết định lúc {at}."),
    # Sections.
    "seen": ("What we saw", "Những gì hệ thống thấy"),
    "discarded": ("What was discarded, and why", "Những gì bị bỏ qua, và vì sao"),
    "anchors": ("Anchors", "Căn cứ áp dụng"),
    "whose": ("Whose law, and why", "Luật của nước nào, và vì sao"),
    "refused": ("Rules that refused", "Quy định dẫn đến từ chối"),
    "applied": ("Rules that applied", "Quy định được áp dụng"),
    "outranked": ("Rules that another overrides", "Quy định bị quy định khác thay thế"),
    "exempted": ("Rules that an exemption lifts", "Quy định được miễn áp dụng"),
    "observed": ("Rules that only observed", "Quy định chỉ theo dõi, chưa ràng buộc"),
    "goes": ("Where data goes", "Dữ liệu đi đâu"),
    "missing": ("What is missing", "Còn thiếu gì"),
    "elsewhere": ("What another sink would need", "Nơi lưu trữ khác còn cần gì"),
    "instead": ("What to do instead", "Có thể làm gì thay thế"),
    "terms": ("Terms that run", "Thời hạn đang chạy"),
    "must": ("What must happen", "Những việc phải làm"),
    "undone": ("What of it nothing here carries out", "Những việc chưa được thực hiện ở đây"),
    "due": ("What is due when something happens", "Việc phải làm đúng hạn khi có sự kiện"),
    "evidence": ("What has been shown", "Những gì đã được chứng minh"),
    # What was seen.
    "address": (
        "client address: {address} (strategy {strategy}{network})",
        "địa chỉ người dùng: {address} (cách xác định: {strategy}{network})",
    ),
    "undetermined": ("undetermined", "chưa xác định"),
    "network": (", a {network} network", ", mạng loại {network}"),
    "pin": (
        "pin: home {home}, set by {by}, version {version}",
        "ghim: nơi gốc {home}, đặt bởi {by}, phiên bản {version}",
    ),
    "given": ("A finding as it was given; its signals are not known.", "Kết luận được cho sẵn; không rõ tín hiệu gốc."),
    "silence": ("No signal speaks; presumptions decide.", "Không có tín hiệu nào; giả định quyết định."),
    "signal": (
        "{anchor}: {place} ({trust}, by {source}): {because}",
        "{anchor}: {place} ({trust}, theo {source}): {because}",
    ),
    "beside": ("a pinned place stands beside what is seen today", "nơi đã ghim đứng cạnh những gì thấy hôm nay"),
    "spoke": ("nothing outranks `{trust}` here", "không có gì mạnh hơn `{trust}` ở đây"),
    "conflicts": (
        "as much trusted as what says {others}: the laws of each cover",
        "đáng tin ngang với tín hiệu nói {others}: luật của mỗi nơi đều áp dụng",
    ),
    "hints": (
        "a hint lets its place's law cover, and excludes no other",
        "chỉ là gợi ý: luật nơi đó áp dụng, và không loại trừ luật nào khác",
    ),
    "weaker": ("`{top}` outranks `{trust}`", "`{top}` mạnh hơn `{trust}`"),
    "mute": ("a signal of trust `{trust}` says nothing of {anchor}", "tín hiệu mức `{trust}` không nói lên {anchor}"),
    # Anchors and whose law.
    "territory": ("territory", "nơi sử dụng dịch vụ"),
    "citizenship": ("citizenship", "quốc tịch"),
    "residence": ("residence", "nơi cư trú"),
    "collection": ("collection", "nơi thu thập"),
    "anchor": ("{anchor}: {state}", "{anchor}: {state}"),
    "is_silent": ("silent, presumed {presume}", "không có tín hiệu, giả định {presume}"),
    "is_established": ("{places} established", "{places} được xác lập"),
    "is_contested": ("{places} undetermined", "{places} chưa rõ"),
    "covered": ("covered", "thuộc phạm vi"),
    "not_covered": ("not covered", "không thuộc phạm vi"),
    "as_residence": ("as residence", "theo nơi cư trú"),
    "as_territory": ("as territory", "theo nơi sử dụng dịch vụ"),
    "established": ("established", "được xác lập"),
    "contested": ("undetermined", "chưa rõ"),
    "presumed": ("presumed", "được giả định"),
    "no_law": (
        "No law of this deployment covers the person.",
        "Không có luật nào trong cấu hình này áp dụng cho người này.",
    ),
    # Rules.
    "rule": ("{id}: {citation}{source}", "{id}: {citation}{source}"),
    "source": (" [{source}; confidence {confidence}]", " [{source}; độ tin cậy {confidence}]"),
    "high": ("high", "cao"),
    "medium": ("medium", "trung bình"),
    "low": ("low", "thấp"),
    "fine": ("Fine: {fine}", "Mức phạt: {fine}"),
    "exemption": ("by exemption {numbers}", "theo quyết định miễn trừ {numbers}"),
    "exemption_at": ("by exemption {numbers}, at {sink} alone", "theo quyết định miễn trừ {numbers}, chỉ tại {sink}"),
    # Sinks.
    "sink": ("{sink} in {place}: {effect}{why}{by}", "{sink} tại {place}: {effect}{why}{by}"),
    "by": (" by {citations}", " theo {citations}"),
    "goes_to": ("The subject's pin sends this to {sink}", "Ghim của chủ thể đưa dữ liệu này đến {sink}"),
    "of_sink": ("{sink}: {what}", "{sink}: {what}"),
    "untreated": (
        "{sink}: only with fields treated ({fields}); what an app itself writes or sends is not",
        "{sink}: chỉ sau khi xử lý một số trường ({fields}); những gì ứng dụng tự ghi hoặc gửi thì không được xử lý",
    ),
    "copied": (
        "write it at home and let a copy go there: copies are treated (`copies:` in the deployment file); ask a "
        "service at home",
        "ghi tại nước sở tại rồi để bản sao được gửi đi: bản sao được xử lý (`copies:` trong tệp cấu hình); gọi dịch "
        "vụ ở trong nước",
    ),
    "unread": (
        "what is read abroad would need fields treated ({fields}), and is not",
        "những gì đọc ở nước ngoài cần được xử lý một số trường ({fields}), nhưng không được xử lý",
    ),
    "answered": (
        "have the instance at home answer (`hand_over:`), or ask there for a copy that was treated (`copies:`)",
        "để máy chủ trong nước trả lời (`hand_over:`), hoặc dùng bản sao đã xử lý ở đó (`copies:`)",
    ),
    "kept": (
        "{where}: fields must be treated where they come in or rest ({fields}), and nothing here does it",
        "{where}: một số trường phải được xử lý khi tiếp nhận hoặc lưu trữ ({fields}), và không có gì ở đây thực hiện",
    ),
    "lifted": (
        "an activity that takes in other fields alone says so (`fields:`); a sink that encrypts is `encrypted: true`; "
        "else an exemption in a register lifts the rule",
        "hoạt động chỉ nhận các trường khác thì khai báo (`fields:`); nơi lưu trữ có mã hóa thì ghi `encrypted: true`; "
        "nếu không, miễn trừ trong sổ đăng ký gỡ bỏ quy định",
    ),
    "some_fields": ("some", "một số"),
    # What is missing, and what meets it.
    "or": (" or ", " hoặc "),
    "forbidden": (
        "nothing can satisfy this: it is forbidden",
        "không có gì đáp ứng được: việc này bị cấm",
    ),
    "token.identity:phone": ("a verified phone number", "số điện thoại đã xác thực"),
    "token.identity:national_id": ("a verified national ID", "căn cước đã xác thực"),
    "token.identity:eid": ("a verified e-ID account", "tài khoản định danh điện tử đã xác thực"),
    "token.identity": ("an identity verified by {name}", "danh tính được xác thực bằng {name}"),
    "token.age": ("{name} years of age or more, proven", "từ {name} tuổi trở lên, có chứng minh"),
    "token.consent:guardian": ("the consent of a guardian", "sự đồng ý của người đại diện"),
    "token.consent": ("the person's consent `{name}`", "sự đồng ý `{name}` của chủ thể dữ liệu"),
    "token.filing": ("a filing `{name}` in the register", "hồ sơ `{name}` trong sổ đăng ký"),
    "token.contract": ("a contract `{name}` in the register", "hợp đồng `{name}` trong sổ đăng ký"),
    "token.portal": ("the portal's number `{name}` in the register", "mã cổng thông tin `{name}` trong sổ đăng ký"),
    "token.basis": ("the legal basis `{name}`", "căn cứ pháp lý `{name}`"),
    "token.ai": ("of the AI system: `{name}`", "về hệ thống trí tuệ nhân tạo: `{name}`"),
    "token.sink": ("of the sink: `{name}`", "về nơi lưu trữ: `{name}`"),
    "token.subject": ("of the person: `{name}`", "về chủ thể: `{name}`"),
    "token.known": ("that it is known, not presumed: `{name}`", "điều được biết chắc, không phải giả định: `{name}`"),
    "token.clock": ("a term that still runs: `{name}`", "thời hạn chưa hết: `{name}`"),
    # Terms that run.
    "clock": (
        "Permitted without more until {at}: the term after `{event}` ({place}) runs",
        "Được phép đến {at} mà chưa cần gì thêm: thời hạn sau `{event}` ({place}) đang chạy",
    ),
    "clock_ended": (
        "The term after `{event}` ({place}) ended at {at}",
        "Thời hạn sau `{event}` ({place}) đã hết lúc {at}",
    ),
    "clock_unstarted": (
        "Permitted without more for now: the term after `{event}` ({place}) begins with the first such act",
        "Tạm thời được phép: thời hạn sau `{event}` ({place}) bắt đầu từ lần đầu thực hiện",
    ),
    # What must happen.
    "copy": ("a copy in {place}", "một bản sao tại {place}"),
    "first_write": ("first recorded in {place}", "ghi lần đầu tại {place}"),
    "only": ("rest only in {places}", "chỉ được lưu tại {places}"),
    "nowhere": ("no place at all", "không nơi nào"),
    "keep": ("keep {what} {bound} {time} from {event}", "giữ {what} {bound} {time} kể từ {event}"),
    "keep_lifetime": ("keep {what} {bound} the life of the system", "giữ {what} {bound} suốt vòng đời hệ thống"),
    "at_least": ("at least", "ít nhất"),
    "at_most": ("at most", "nhiều nhất"),
    "of_scope": (" (in each {scope})", " (trong mỗi {scope})"),
    "log": ("log {fields}", "ghi nhật ký {fields}"),
    "label": ("label {labels}", "gắn nhãn {labels}"),
    "protect": ("{transform} `{field}` ({direction}; {effect})", "{transform} `{field}` ({direction}; {effect})"),
    "deadline": (
        "{task} within {term} of {event} ({place}; {name})",
        "{task} trong {term} kể từ {event} ({place}; {name})",
    ),
    "conflict": ("cannot all be met: {conflict}", "không thể cùng đáp ứng: {conflict}"),
    "months": ("{n} months", "{n} tháng"),
    "days": ("{n} days", "{n} ngày"),
    "working_days": ("{n} working days", "{n} ngày làm việc"),
    "hours": ("{n} hours", "{n} giờ"),
    "policy": ("Policy {policy}", "Chính sách {policy}"),
}

_REASONS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.LAW_FORBIDS: ("A law that covers the person forbids it.", "Luật áp dụng cho người này cấm việc đó."),
    Reason.NOT_HOME: (
        "The data must first be kept in the person's own country.",
        "Dữ liệu phải được lưu tại quốc gia của người đó trước.",
    ),
    Reason.ONLY_IN_COUNTRY: (
        "The data may rest only in the country whose law covers it.",
        "Dữ liệu chỉ được lưu tại quốc gia có luật điều chỉnh.",
    ),
    Reason.FILING_MISSING: (
        "A filing that the law asks for does not stand in the register.",
        "Sổ đăng ký chưa có hồ sơ mà pháp luật yêu cầu.",
    ),
    Reason.STOP_ORDER: ("An authority's stop order stands.", "Đang có lệnh ngừng của cơ quan có thẩm quyền."),
    Reason.IDENTITY_MISSING: (
        "The person must first show something, such as a verified identity.",
        "Người dùng phải chứng minh trước, chẳng hạn danh tính đã xác thực.",
    ),
    Reason.CONSENT_MISSING: ("The person's consent is missing.", "Chưa có sự đồng ý của chủ thể dữ liệu."),
    Reason.SINK_UNFIT: (
        "The storage lacks a protection that the law asks for.",
        "Nơi lưu trữ thiếu biện pháp bảo vệ mà pháp luật yêu cầu.",
    ),
    Reason.CANNOT_BE_TREATED: (
        "Fields of the data must be treated first, and what an app takes in, reads, writes or sends is not.",
        "Một số trường của dữ liệu phải được xử lý trước, và những gì ứng dụng nhận, đọc, ghi hoặc gửi thì không được "
        "xử lý.",
    ),
    Reason.CONFLICT: (
        "The laws that cover the person cannot all be met.",
        "Không thể đồng thời tuân thủ mọi luật áp dụng cho người này.",
    ),
    Reason.HOLD: ("A person must look at it first.", "Phải có người xem xét trước."),
    Reason.NO_SINK: ("No storage may take the data now.", "Hiện không nơi lưu trữ nào được nhận dữ liệu."),
    Reason.UNCLASSIFIED_ROUTE: (
        "A route that the policy does not describe is refused.",
        "Đường dẫn chưa khai báo trong chính sách bị từ chối.",
    ),
}

# Places that the law packs speak of, and where sinks often lie; of any other the code is shown.
_PLACES: Final[dict[str, tuple[str, str]]] = {
    "AU": ("Australia", "Úc"),
    "BR": ("Brazil", "Bra-xin"),
    "CA": ("Canada", "Ca-na-đa"),
    "CA-QC": ("Quebec", "Quebec"),
    "CN": ("China", "Trung Quốc"),
    "DE": ("Germany", "Đức"),
    "EU": ("European Union", "Liên minh châu Âu"),
    "FR": ("France", "Pháp"),
    "GB": ("United Kingdom", "Vương quốc Anh"),
    "HK": ("Hong Kong", "Hồng Kông"),
    "ID": ("Indonesia", "In-đô-nê-xi-a"),
    "IE": ("Ireland", "Ai-len"),
    "IN": ("India", "Ấn Độ"),
    "JP": ("Japan", "Nhật Bản"),
    "KH": ("Cambodia", "Cam-pu-chia"),
    "KR": ("South Korea", "Hàn Quốc"),
    "LA": ("Laos", "Lào"),
    "MY": ("Malaysia", "Ma-lai-xi-a"),
    "NG": ("Nigeria", "Ni-giê-ri-a"),
    "NL": ("Netherlands", "Hà Lan"),
    "PH": ("Philippines", "Phi-líp-pin"),
    "RU": ("Russia", "Nga"),
    "SG": ("Singapore", "Xin-ga-po"),
    "TH": ("Thailand", "Thái Lan"),
    "TW": ("Taiwan", "Đài Loan"),
    "US": ("United States", "Hoa Kỳ"),
    "VN": ("Vietnam", "Việt Nam"),
}
_CATEGORIES: Final[dict[str, str]] = {
    "personal": "dữ liệu cá nhân",
    "sensitive": "dữ liệu cá nhân nhạy cảm",
    "health": "dữ liệu sức khỏe",
    "biometric": "dữ liệu sinh trắc học",
    "location": "dữ liệu vị trí",
    "financial": "dữ liệu tài chính",
    "political": "quan điểm chính trị, tôn giáo",
    "criminal": "dữ liệu về tội phạm",
    "tracking": "dữ liệu theo dõi hành vi",
    "identity_document": "giấy tờ tùy thân",
    "child": "dữ liệu trẻ em",
    "account": "dữ liệu tài khoản",
    "relationship": "dữ liệu mối quan hệ",
    "content": "nội dung",
    "transaction": "dữ liệu giao dịch",
    "log": "nhật ký",
    "state": "bí mật nhà nước",
    "important": "dữ liệu quan trọng",
    "core": "dữ liệu cốt lõi",
}
_TRUSTS: Final = {
    "hint": "gợi ý",
    "network": "mạng",
    "declared": "tự khai",
    "pinned": "đã ghim",
    "verified": "đã xác thực",
}


def say(name: str, language: Language, /, **values: object) -> str:
    """The sentence `name` with its values put in. Raises: KeyError for a name that is none."""
    return SENTENCES[name][LANGUAGES.index(language)].format(**values)


def because(reason: Reason, language: Language) -> str:
    """What a reason means in a sentence; "" for those that no policy gives."""
    return _REASONS.get(reason, ("", ""))[LANGUAGES.index(language)]


def place(code: str, language: Language) -> str:
    """A place by code and name, as "VN (Vietnam)"; the code alone where we have no name."""
    names = _PLACES.get(code)
    return code if names is None else f"{code} ({names[LANGUAGES.index(language)]})"


def category(word: str, language: Language) -> str:
    """A category of data; "any" and a law's own names as they are."""
    plain = word.replace("_", " ")
    return plain if language == "en" else _CATEGORIES.get(word, plain)


def trust(word: str, language: Language) -> str:
    """How far an observation is trusted."""
    return word if language == "en" else _TRUSTS.get(word, word)
