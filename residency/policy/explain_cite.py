"""A citation as the packs write it, in English, and a language in; the citation as that language writes it, out.

Vietnamese names the smallest part first: "art. 23(3)(e)" is "điểm e khoản 3 Điều 23". What is not understood stays.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["cite"]

_INSTRUMENT: Final = re.compile(r"\b(Law|Decree|Decision|Directive) (?=\d)")
_INSTRUMENTS: Final = {"Law": "Luật", "Decree": "Nghị định", "Decision": "Quyết định", "Directive": "Chỉ thị"}
_ARTICLE: Final = r"\d+(?:-\d+)?(?:\(\w{1,3}\)){0,2}"
_ARTICLES: Final = re.compile(rf"\bart\. ({_ARTICLE}(?:, {_ARTICLE})*)")
_PARTS: Final = re.compile(r"\((\w+)\)")


def cite(citation: str, language: str) -> str:
    """`citation` in `language`: "en" as it is, "vi" with instrument and article as Vietnamese texts name them."""
    if language != "vi":
        return citation
    told = _INSTRUMENT.sub(lambda found: f"{_INSTRUMENTS[found[1]]} ", citation).replace("/ND-CP", "/NĐ-CP")
    return _ARTICLES.sub(lambda found: ", ".join(map(_article, found[1].split(", "))), told)


def _article(text: str) -> str:
    number, _, _ = text.partition("(")
    parts = [f"{'khoản' if part.isdigit() else 'điểm'} {part}" for part in _PARTS.findall(text)]
    return " ".join((*reversed(parts), f"Điều {number}"))
