"""A citation as the packs write it, in English, and a language in; the citation as that language writes it, out.

Vietnamese names the smallest part first: "art. 23(3)(e)" is "điểm e khoản 3 Điều 23". Where a pack of Vietnam's names a
matter and no article, that is put into Vietnamese too. What is not understood stays.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["cite"]

_INSTRUMENT: Final = re.compile(r"\b(Law|Decree|Decision|Directive) (?=\d)")
_INSTRUMENTS: Final = {"Law": "Luật", "Decree": "Nghị định", "Decision": "Quyết định", "Directive": "Chỉ thị"}
_ARTICLE: Final = r"\d+(?:-\d+)?(?:\(\w{1,3}\)){0,2}"
_ARTICLES: Final = re.compile(rf"\bart\. ({_ARTICLE}(?:, {_ARTICLE})*)")
_MATTERS: Final = {
    "AI law as reported by the press": "Luật AI theo báo chí",
    "Guidance CV 365 (health)": "Công văn hướng dẫn 365 (y tế)",
    "as reported": "(theo tin đã đưa)",
    "list": "danh mục",
    "list of core data": "danh mục dữ liệu cốt lõi",
    "list of important data": "danh mục dữ liệu quan trọng",
    "on AI development": "về phát triển trí tuệ nhân tạo",
    "on children": "về trẻ em",
    "on children's accounts": "về tài khoản của trẻ em",
    "on cross-border platforms": "về nền tảng xuyên biên giới",
    "on data of concluded contracts": "về dữ liệu của hợp đồng đã giao kết",
    "on deletion": "về xóa dữ liệu",
    "on identity": "về định danh",
    "on licensed social networks": "về mạng xã hội được cấp phép",
    "on records on the cloud": "về hồ sơ trên điện toán đám mây",
    "on requests of the person": "về yêu cầu của chủ thể dữ liệu",
    "on state secrets": "về bí mật nhà nước",
    "on transfers abroad": "về chuyển dữ liệu ra nước ngoài",
    "which changes": "sửa đổi",
}
_LONGEST_FIRST: Final = "|".join(map(re.escape, sorted(_MATTERS, key=len, reverse=True)))
_MATTER: Final = re.compile(rf"(?<![^ ])({_LONGEST_FIRST})(?![^ ;])")
_PARTS: Final = re.compile(r"\((\w+)\)")


def cite(citation: str, language: str) -> str:
    """`citation` in `language`: "en" as it is, "vi" with instrument and article as Vietnamese texts name them."""
    if language != "vi":
        return citation
    told = _INSTRUMENT.sub(lambda found: f"{_INSTRUMENTS[found[1]]} ", citation).replace("/ND-CP", "/NĐ-CP")
    told = _MATTER.sub(lambda found: _MATTERS[found[1]], told)
    return _ARTICLES.sub(lambda found: ", ".join(map(_article, found[1].split(", "))), told)


def _article(text: str) -> str:
    number, _, _ = text.partition("(")
    parts = [f"{'khoản' if part.isdigit() else 'điểm'} {part}" for part in _PARTS.findall(text)]
    return " ".join((*reversed(parts), f"Điều {number}"))
