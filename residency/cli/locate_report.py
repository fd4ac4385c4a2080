"""What `residency locate --info` and `--compare` tell: plain values in, text for a person out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

__all__ = ["show_comparison", "show_info"]

_COUNTRIES: Final = 15
_FAMILIES: Final = (("ipv4", "IPv4 addresses"), ("ipv6", "IPv6 /48s"))
_KINDS: Final = (
    ("same", "the same country"),
    ("other", "another country"),
    ("only_here", "a country only here"),
    ("only_there", "a country only there"),
)
_PLACED: Final = (("here", "here"), ("there", "there"), ("both", "both"))
_ONLY: Final = (("only_here", "only here"), ("only_there", "only there"))


def show_info(told: Mapping[str, Any]) -> None:
    """Print one `key: value` line for each thing known of a table."""
    for key, value in told.items():
        if key == "vietnam":
            text = f"{value['ipv4_addresses']:,} IPv4 addresses, {value['ipv6_64s']:,} IPv6 /64s"
        elif key == "sources":
            text = ", ".join(f"{source['file']} ({source['role']})" for source in value)
        else:
            text = "unknown" if value is None else str(value)
        print(f"{key + ':':<12}{text}")


def show_comparison(told: Mapping[str, Any], console: Console) -> None:
    """Print what `residency locate --compare` found: in general, or of `told["country"]`."""
    for side in ("here", "there"):
        file = told[side]
        built = f"built {file['date']}, {file['networks']:,} networks"
        console.print(f"{side + ':':<8}{file['file']} ({built})", markup=False, highlight=False, soft_wrap=True)
    country = told.get("country")
    if country is None:
        _generally(told, console)
    else:
        _of(country, told, console)


def _generally(told: Mapping[str, Any], console: Console) -> None:
    table = _table(console, "What they say of an address", "", *(title for _, title in _FAMILIES))
    for key, title in _KINDS:
        table.add_row(title, *(f"{told[family][key]:,}" for family, _ in _FAMILIES))
    _agreement(table, told)
    console.print(table)
    for family, title in _FAMILIES:
        _countries(told[family]["countries"], title, console)
        _pairs(told[family]["pairs"], f"{title}: where they differ most", console)


def _countries(countries: Mapping[str, Any], title: str, console: Console) -> None:
    if not countries:
        return
    table = _table(console, f"{title}: the {min(_COUNTRIES, len(countries))} largest countries", "")
    for name in ("here", "there", "both", "agreement"):
        table.add_column(name, justify="right")
    for code, of in list(countries.items())[:_COUNTRIES]:
        table.add_row(code, *(f"{of[key]:,}" for key, _ in _PLACED), _percent(of["agreement"]))
    console.print(table)


def _of(country: str, told: Mapping[str, Any], console: Console) -> None:
    table = _table(console, f"In {country}", "", *(title for _, title in _FAMILIES))
    for key, title in _PLACED + _ONLY:
        table.add_row(title, *(f"{told[family][key]:,}" for family, _ in _FAMILIES))
    _agreement(table, told)
    console.print(table)
    for family, title in _FAMILIES:
        _pairs(told[family]["pairs"], f"{title}: where the other one places them", console)


def _agreement(table: Table, told: Mapping[str, Any]) -> None:
    table.add_section()
    for key, title in (("agreement", "agreement"), ("agreement_where_both_know", "… where both know")):
        table.add_row(title, *(_percent(told[family][key]) for family, _ in _FAMILIES))


def _pairs(pairs: list[dict[str, Any]], title: str, console: Console) -> None:
    if not pairs:
        return
    examples = "networks" in pairs[0]
    table = _table(console, title, "here", "there", "count", *(("the largest",) if examples else ()))
    for pair in pairs:
        shown = (", ".join(pair["networks"]),) if examples else ()
        table.add_row(pair["here"] or "-", pair["there"] or "-", f"{pair['count']:,}", *shown)
    console.print(table)


def _table(console: Console, title: str, *columns: str) -> Table:
    console.print(f"\n{title}", style="bold", highlight=False, soft_wrap=True)
    table = Table()
    for name in columns:
        left = name in ("", "here", "there", "the largest")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
