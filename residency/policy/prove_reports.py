"""A policy and its registers in; what is worth a look before it goes to production, with its place in the files, out.

Nothing here says that the policy does not hold: refusals are safe. What is told is likely not meant, or soon no longer
so: an activity that nobody under a law can use, a filing that runs out, a rule that never has a say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from residency.errors import Problem
from residency.model.filing import ATTESTATION
from residency.policy.compiler import Policy
from residency.policy.parsed import RegisterDoc, Source
from residency.policy.problems import nearest
from residency.policy.terms import moment

__all__ = ["NEAR", "Report", "register_reports", "report"]

NEAR: Final = 60 * 86_400_000_000
"""How long before its end (microseconds) something in the register is told of."""
_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Something worth a look: `level` is `error`, `warning` or `note`, `kind` a word for programs.

    `rules` and `activities` are all that it is about, where the message names only the first.
    """

    level: str
    kind: str
    problem: Problem
    rules: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()


def report(
    source: Source, path: _Path, level: str, kind: str, message: str, *, rules: Sequence[str] = (),
    activities: Sequence[str] = (),
) -> Report:  # fmt: skip
    """A Report at a place of a file."""
    return Report(level, kind, source.problem(path, message), tuple(rules), tuple(activities))


def register_reports(policy: Policy, registers: Sequence[RegisterDoc], now: int) -> Iterator[Report]:
    """What of the registers has run out, does so within `NEAR` of `now` (microseconds), or stands as an order."""
    asked = {token for law in policy.laws for rule in law.rules for clause in rule.duty.require for token in clause} | {
        token for law in policy.laws for rule in law.rules for token in rule.unless
    }
    asked.add(f"filing:{ATTESTATION}")  # by who looks where sinks lie
    triggers = {rule.trigger.order for law in policy.laws for rule in law.rules if rule.trigger is not None}
    for register in registers:
        for told in _of_register(register, asked, triggers):
            found = told(now)
            if found is not None:
                path, level, kind, message = found
                yield report(register.source, path, level, kind, message)


_Told = tuple[_Path, str, str, str]


def _of_register(register: RegisterDoc, asked: set[str], triggers: set[str]) -> Iterator[Callable[[int], _Told | None]]:
    for number, filing in enumerate(register.filings):
        name = f"filing {filing.number} ({filing.kind})"
        at: _Path = ("filings", number)
        kind, _, rest = filing.kind.partition(".")
        tokens = {f"filing:{filing.kind}", f"{kind}:{rest}"}
        if filing.kind == ATTESTATION and (filing.sinks is None or filing.expires is None):
            what = f"{name}: it attests nothing without `sinks` and `expires`"
            yield _always(((*at, "kind"), "warning", "filing", what))
        elif tokens.isdisjoint(asked):
            hint = nearest(filing.kind, _kinds(asked))
            level = "warning" if hint else "note"
            yield _always(((*at, "kind"), level, "filing", f"{name}: no rule in use asks for it{hint}"))
        elif filing.expires is not None:
            yield _ending((*at, "expires"), name, filing.expires, "filing")
        if filing.next_update is not None:
            yield _ending((*at, "next_update"), f"{name}: its next update", filing.next_update, "filing", verb="is due")
    for number, exemption in enumerate(register.exemptions):
        yield _ending(("exemptions", number, "expires"), f"exemption {exemption.number}", exemption.end, "exemption")
    for number, order in enumerate(register.orders):
        if order.kind not in triggers:
            hint = nearest(order.kind, triggers)
            what = f"order {order.number}: no rule in use has the trigger `{order.kind}`{hint}"
            yield _always((("orders", number, "kind"), "warning" if hint else "note", "order", what))
    for number, stop in enumerate(register.stop_orders):
        if stop.lifted is None:
            where = "every sink abroad" if stop.sink == "*" else f"sink `{stop.sink}`"
            since = moment(stop.since)[:10]
            yield _always(
                (("stop_orders", number), "note", "order", f"stop order {stop.number} on {where} since {since}")
            )


def _kinds(asked: set[str]) -> set[str]:
    """The kinds of filings that meet one of the tokens, as registers name them."""
    parts = [token.partition(":") for token in asked if token.startswith(("filing:", "contract:", "portal:"))]
    return {rest if kind == "filing" else f"{kind}.{rest}" for kind, _, rest in parts}


def _always(told: _Told) -> Callable[[int], _Told | None]:
    return lambda now: told


def _ending(path: _Path, name: str, end: int, kind: str, verb: str = "ends") -> Callable[[int], _Told | None]:
    past = "was due" if verb == "is due" else "ended"

    def told(now: int) -> _Told | None:
        if now >= end + NEAR * 6 or now < end - NEAR:
            return None
        day = moment(end)
        days = abs(end - now) // 86_400_000_000
        if now >= end:
            return path, "warning", kind, f"{name} {past} {day}, {days} days ago"
        return path, "warning", kind, f"{name} {verb} {day}, in {days} days"

    return told
