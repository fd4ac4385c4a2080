"""Numbers in; charts as inline SVG out: no script, no font, no colour that a printer needs to tell parts apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from typing import Final

__all__ = ["bars", "days", "shares"]

_WIDTH: Final = 680
_COLOURS: Final = {"permit": "#8fbf9f", "hold": "#e3b23c", "deny": "#a4243b"}
_SHADES: Final = ("#2f4858", "#33658a", "#86bbd8", "#c9d6df", "#e9ecef")
_INK: Final = "#222"
_COLUMNS: Final = 93
_BROADEST: Final = 48
_NAMED: Final = 66  # what the name of a day needs
_TEXT: Final = f'font-family="sans-serif" font-size="11" fill="{_INK}"'


def _svg(height: float, label: str, parts: Iterator[str]) -> str:
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" width="100%" role="img" aria-label="{escape(label)}"'
        f' xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def days(rows: Sequence[Mapping[str, object]], label: str, words: Mapping[str, str]) -> str:
    """Stacked columns, one a day (a week or a month where there are many), of rows with `day` and the effects."""
    grouped = _grouped(rows)
    tallest = max((sum(counts.values()) for _, counts in grouped), default=0)
    if not tallest:
        return ""
    left, top, high = 44.0, 22.0, 120.0
    step = (_WIDTH - left - 4) / len(grouped)

    def parts() -> Iterator[str]:
        x = left
        for effect, colour in _COLOURS.items():
            yield f'<rect x="{x:g}" y="4" width="10" height="10" fill="{colour}" stroke="{_INK}" stroke-width=".4"/>'
            yield f'<text x="{x + 14:g}" y="13" {_TEXT}>{escape(words[effect])}</text>'
            x += 30 + 7 * len(words[effect])
        for share in (0, 0.5, 1):
            y = top + high * (1 - share)
            yield f'<line x1="{left:g}" x2="{_WIDTH}" y1="{y:g}" y2="{y:g}" stroke="#ccc" stroke-width=".6"/>'
            yield f'<text x="{left - 5:g}" y="{y + 4:g}" text-anchor="end" {_TEXT}>{_short(tallest * share)}</text>'
        broad = min(step * 0.8, _BROADEST)
        for number, (name, counts) in enumerate(grouped):
            x, y = left + (number + 0.5) * step - broad / 2, top + high
            told = ", ".join(f"{words[effect]} {counts[effect]:,}" for effect in _COLOURS)
            yield f"<g><title>{escape(f'{name}: {told}')}</title>"
            for effect, colour in _COLOURS.items():
                tall = high * counts[effect] / tallest
                y -= tall
                if tall:
                    yield (
                        f'<rect x="{x:.2f}" y="{y:.2f}" width="{broad:.2f}" height="{tall:.2f}"'
                        f' fill="{colour}" stroke="{_INK}" stroke-width=".3"/>'
                    )
            yield "</g>"
        for number in sorted({0, len(grouped) // 2, len(grouped) - 1}):
            x, anchor = left + (number + 0.5) * step, "middle"
            if step < _NAMED:  # a name below a narrow column at an end would stand out of the picture
                x, anchor = {0: (left, "start"), len(grouped) - 1: (_WIDTH - 4.0, "end")}.get(number, (x, anchor))
            name = escape(grouped[number][0])
            yield f'<text x="{x:.2f}" y="{top + high + 15:g}" text-anchor="{anchor}" {_TEXT}>{name}</text>'

    return _svg(top + high + 22, label, parts())


def bars(rows: Mapping[str, int], label: str, most: int = 12) -> str:
    """Bars of the largest, with their numbers; what lies beyond `most` is one bar, named by its number of rows."""
    shown = sorted(rows.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(shown) > most:
        rest = shown[most - 1 :]
        shown = [*shown[: most - 1], (f"+ {len(rest)}", sum(count for _, count in rest))]
    largest = max((count for _, count in shown), default=0)
    if not largest:
        return ""
    left = 12 + 6.3 * min(38, max(len(name) for name, _ in shown))
    room = _WIDTH - left - 70

    def parts() -> Iterator[str]:
        for number, (name, count) in enumerate(shown):
            y, wide = 4 + number * 20, room * count / largest
            cut = name if len(name) <= 38 else name[:37] + "…"
            yield f'<text x="{left - 6:g}" y="{y + 12}" text-anchor="end" {_TEXT}>{escape(cut)}</text>'
            yield (
                f'<rect x="{left:g}" y="{y}" width="{max(wide, 0.5):.2f}" height="15" fill="{_SHADES[1]}">'
                f"<title>{escape(f'{name}: {count:,}')}</title></rect>"
            )
            yield f'<text x="{left + wide + 6:.2f}" y="{y + 12}" {_TEXT}>{count:,}</text>'

    return _svg(8 + 20 * len(shown), label, parts())


def shares(parts_of: Sequence[tuple[str, int]], label: str) -> str:
    """One bar of the whole, cut into its parts, with a line for each part below."""
    whole = sum(count for _, count in parts_of)
    if not whole:
        return ""

    def parts() -> Iterator[str]:
        x = 0.0
        for number, (name, count) in enumerate(parts_of):
            wide = _WIDTH * count / whole
            colour = _SHADES[number % len(_SHADES)]
            yield (
                f'<rect x="{x:.2f}" y="2" width="{wide:.2f}" height="22" fill="{colour}" stroke="#fff">'
                f"<title>{escape(f'{name}: {count:,}')}</title></rect>"
            )
            y = 34 + number * 18
            yield f'<rect x="0" y="{y}" width="11" height="11" fill="{colour}" stroke="{_INK}" stroke-width=".4"/>'
            yield f'<text x="18" y="{y + 10}" {_TEXT}>{escape(name)}: {count:,} ({count / whole:.1%})</text>'
            x += wide

    return _svg(38 + 18 * len(parts_of), label, parts())


def _grouped(rows: Sequence[Mapping[str, object]]) -> list[tuple[str, dict[str, int]]]:
    """Days without a gap between them; weeks by their Monday, or months, where there would be too many columns."""
    known = {str(row["day"]): {effect: int(str(row[effect])) for effect in _COLOURS} for row in rows}
    try:
        first, last = (date.fromisoformat(day) for day in (min(known), max(known)))
    except ValueError:
        return sorted(known.items())[:_COLUMNS]  # none at all, or a clock that was beyond the calendar
    span = (last - first).days + 1

    def column(day: date) -> str:
        if span <= _COLUMNS:
            return day.isoformat()
        if span <= 7 * _COLUMNS:
            return (day - timedelta(days=day.weekday())).isoformat()
        return day.isoformat()[:7] if span <= 30 * _COLUMNS else day.isoformat()[:4]

    grouped: dict[str, dict[str, int]] = {}
    day = first
    while day <= last:
        counts = grouped.setdefault(column(day), dict.fromkeys(_COLOURS, 0))
        for effect, count in known.get(day.isoformat(), {}).items():
            counts[effect] += count
        day += timedelta(days=1)
    return list(grouped.items())


def _short(number: float) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"
