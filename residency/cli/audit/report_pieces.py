"""Values in; tables and figures of the report's page, escaped, out; and the page's style."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

__all__ = ["STYLE", "Below", "Span", "breakable", "figure", "table"]

_WITHIN: Final = re.compile(r"(?<=\w)([./:_])(?=\w)")

STYLE: Final = """
:root{color-scheme:light}
body{font:.9rem/1.45 "Segoe UI","Noto Sans",Arial,sans-serif;color:#222;background:#fff;
max-width:52rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin:0 0 .3rem}
h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:2px solid #2f4858;padding-bottom:.2rem;break-after:avoid}
h3{font-size:.95rem;margin:1.1rem 0 .3rem;break-after:avoid}
table{border-collapse:collapse;width:100%;margin:.4rem 0 .8rem;font-size:.82rem}
th,td{text-align:left;vertical-align:top;padding:.22rem .45rem;border-bottom:1px solid #ddd;overflow-wrap:break-word}
th{background:#eef2f5;border-bottom:1px solid #2f4858;overflow-wrap:normal}
thead{display:table-header-group}
tr{break-inside:avoid}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.n{white-space:nowrap}
td.w{white-space:nowrap}
td.s{background:#f7f9fa;font-weight:600;break-after:avoid}
td.g{padding-left:1.4rem;color:#444}
.small{color:#555;font-size:.82rem}
.find{border-left:4px solid #a4243b;background:#fbeff1;padding:.4rem .8rem;margin:.8rem 0;break-inside:avoid}
.find ul{margin:.2rem 0;padding-left:1.1rem}
.figures{display:flex;gap:2rem;flex-wrap:wrap;margin:.8rem 0}
.figures b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}
pre,code{font:.78rem/1.4 "Cascadia Mono","DejaVu Sans Mono",Consolas,monospace}
pre{background:#f4f4f4;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere;break-inside:avoid}
figure{margin:.6rem 0;break-inside:avoid}
ul.grounds{margin:0;padding-left:1rem}
@media screen and (max-width:48rem){.wide,figure{overflow-x:auto}figure svg{min-width:34rem}th{white-space:nowrap}
.wide table{width:max-content;min-width:100%}td{max-width:10rem}}
@page{size:A4;margin:16mm 14mm}
@media print{:root{font-size:11.5px}body{margin:0;padding:0;max-width:none}h2{margin-top:1.4rem}}
"""


class Span(str):
    """A row of its own: text, or markup of ours, over the whole width. `kind` is its style: s = a head, g = below."""

    kind = "s"


class Below(Span):
    """Markup that tells more of the row above."""

    kind = "g"


def table(heads: Sequence[str], rows: Iterable[Sequence[object] | Span], kinds: str, *, head: bool = True) -> str:
    """A table; `kinds` has a letter for each column: n = a number, w = not to be broken."""
    classes = [f' class="{kind}"' if kind.strip() else "" for kind in kinds]
    top = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(heads, classes, strict=True))
    body = "".join(_row(row, classes) for row in rows)
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'


def _row(row: Sequence[object] | Span, classes: Sequence[str]) -> str:
    if isinstance(row, Span):
        text = str(row) if isinstance(row, Below) else escape(row)
        return f'<tr><td class="{row.kind}" colspan="{len(classes)}">{text}</td></tr>'
    cells = zip(row, classes, strict=True)
    return "<tr>" + "".join(f"<td{kind}>{_cell(value, whole=bool(kind))}</td>" for value, kind in cells) + "</tr>"


def _cell(value: object, *, whole: bool) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return escape(str(value)) if whole else breakable(str(value))  # a <wbr> would break what is not to be broken, too


def breakable(text: str) -> str:
    """Escaped, and free to go on in the next line after a dot, slash, colon or underscore within a word."""
    return _WITHIN.sub(r"\1<wbr>", escape(text))


def figure(chart: str) -> str:
    """A chart, where there is one."""
    return f"<figure>{chart}</figure>" if chart else ""
