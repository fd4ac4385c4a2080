"""What options ask of entries in; whether one answers, out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

import typer

from residency.adapters.log_index import Shape, shape_of
from residency.audit.entry import KINDS, Entry
from residency.cli.audit.period import instant

__all__ = ["Filter", "FromOption", "ToOption", "filter_of", "filtered"]

_EFFECTS: Final = ("permit", "hold", "deny")
_ALIAS: Final = re.compile(r"(?:[0-9a-f]{2}){8,64}")

FromOption = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="From that day or time on, in UTC: 2026-09-01.")
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Before that day or time, in UTC.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is asked of an entry; None asks nothing. Instants in microseconds: since <= at < until."""

    since: int | None = None
    until: int | None = None
    alias: str | None = None
    rule: str | None = None
    sink: str | None = None
    effect: str | None = None
    kind: str | None = None
    activity: str | None = None
    reason: str | None = None
    jurisdiction: str | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether an entry answers."""
        return (
            (self.since is None or self.since <= entry.at)
            and (self.until is None or entry.at < self.until)
            and (self.alias is None or self.alias == entry.subject)
            and self.wants(shape_of(entry))
        )

    def wants(self, shape: Shape) -> bool:
        """Whether entries of a shape answer, as far as that is known by it."""
        return (
            (self.kind is None or self.kind == shape.kind)
            and (self.effect is None or self.effect == shape.effect)
            and (self.reason is None or self.reason == shape.reason)
            and _any(self.sink, (shape.sink,))
            and _any(self.activity, (shape.activity,))
            and _any(self.rule, shape.rules)
            and (self.jurisdiction is None or self.jurisdiction in shape.jurisdictions)
        )


def _any(pattern: str | None, names: Iterable[str | None]) -> bool:
    return pattern is None or any(name is not None and fnmatchcase(name, pattern) for name in names)


def filter_of(
    *,
    since: FromOption = None,
    until: ToOption = None,
    alias: Annotated[
        str | None, typer.Option("--alias", metavar="HEX", help="Of the subject under that alias.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="ID", help="That name the rule; vn.l91.* is all of a law.")
    ] = None,
    sink: Annotated[str | None, typer.Option("--sink", metavar="NAME", help="On that sink; * as above.")] = None,
    effect: Annotated[
        str | None, typer.Option("--effect", metavar="EFFECT", help=f"Only one of: {', '.join(_EFFECTS)}.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help=f"Only one of: {', '.join(sorted(KINDS))}.")
    ] = None,
    activity: Annotated[
        str | None, typer.Option("--activity", metavar="ROUTE", help='Of that route: "POST /v1/people"; * as above.')
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="CODE", help="With that reason: stop_order.")
    ] = None,
    jurisdiction: Annotated[
        str | None, typer.Option("--jurisdiction", metavar="CODE", help="Under the law of that place: VN.")
    ] = None,
) -> Filter:
    """The filter that options ask for. Raises: BadParameter."""
    for value, words, option in ((effect, _EFFECTS, "--effect"), (kind, sorted(KINDS), "--kind")):
        if value is not None and value not in words:
            raise typer.BadParameter(f"one of {', '.join(words)}", param_hint=option)
    if alias is not None and _ALIAS.fullmatch(alias) is None:
        raise typer.BadParameter("16 to 128 hex digits, as entries write them", param_hint="--alias")
    return Filter(
        since=instant(since, "--from"),
        until=instant(until, "--to"),
        alias=alias,
        rule=rule,
        sink=sink,
        effect=effect,
        kind=kind,
        activity=activity,
        reason=reason,
        jurisdiction=jurisdiction,
    )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `filter_of` in the place of its parameter `asked`, which is given the filter."""
    options = inspect.signature(filter_of, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True)

    def run(**given: Any) -> None:
        command(asked=filter_of(**{name: given.pop(name) for name in options}), **given)

    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.parameters.items()
        for each in (options.values() if name == "asked" else (parameter,))
    ]
    # What typer reads of a command.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # as inspect documents it
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run
