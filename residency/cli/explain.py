"""`residency explain`: a policy and one imagined request in, the decision told as a person would, out.

Or a finding in words, as a counterexample of `residency check` tells it, or an entry of the log.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from residency.adapters.policy_files import load
from residency.audit.pairs import Pairs
from residency.audit.recall import Beside, Recall
from residency.audit.verify import read_checkpoint
from residency.cli.archive_folder import Archive
from residency.cli.asked import Argument
from residency.cli.explain_question import Asked, Person, activity_of, given, instant_of, seen_of, wrong
from residency.cli.log_folder import entries, reader, verifier_key
from residency.cli.replay import candidate_at
from residency.errors import IntegrityError, PathError, PolicyError, Refused, UnknownStore
from residency.model import Activity, Decision, Effect, Pin, Reason
from residency.model.place import is_place
from residency.policy.compiler import Policy
from residency.policy.explain import Explanation
from residency.policy.explain import explain as tell
from residency.policy.explain_page import moment
from residency.policy.explain_render import Page
from residency.policy.parsed_reading import reading
from residency.policy.recorded import Recorded, When
from residency.policy.replay import decide_again
from residency.policy.uncarried import undone
from residency.storage.routing import choose

__all__ = ["explain"]


class Form(StrEnum):
    """How an explanation is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class Tongue(StrEnum):
    """The language of an explanation."""

    EN = "en"
    VI = "vi"


def explain(
    file: Argument = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="The deployment file.", metavar="FILE")] = None,
    route: Annotated[
        str | None, typer.Option("--route", help='Method and path: "POST /v1/people".', metavar="ROUTE")
    ] = None,
    ip: Annotated[str | None, typer.Option("--ip", help="The client's address.", metavar="A")] = None,
    peer: Annotated[
        str | None, typer.Option("--peer", help="Instead of --ip: who connects, as the server sees it.", metavar="A")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", help='With --peer: "X-Forwarded-For: 203.0.113.7".', metavar="H")
    ] = None,
    claim: Annotated[
        list[str] | None, typer.Option("--claim", help="A claim of a verified identity.", metavar="K=V")
    ] = None,
    declared: Annotated[bool, typer.Option("--declared", help="The claims are not verified.")] = False,
    pin: Annotated[
        str | None,
        typer.Option("--pin", help="The subject's remembered home: VN, or VN,citizenship=VN.", metavar="P"),
    ] = None,
    read_from: Annotated[
        list[str] | None,
        typer.Option("--read-from", help="Where somebody else reads it: SG; ZZ = nobody knows.", metavar="PLACE"),
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help="The day, as 2026-09-01; else now.", metavar="DATE")] = None,
    activity: Annotated[
        str | None, typer.Option("--activity", help="Instead of --route: the activity's name.", metavar="NAME")
    ] = None,
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", help="Instead of a person: territory:VN:established:network.", metavar="WORDS"),
    ] = None,
    evidence: Annotated[
        list[str] | None, typer.Option("--evidence", help="With --finding: identity:phone.", metavar="TOKENS")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option("--audit", help="With --entry: the audit folder.", metavar="DIR")
    ] = None,
    entry: Annotated[
        int | None, typer.Option("--entry", help="A recorded decision, by its number in the log.", metavar="N", min=0)
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="With --audit: the verifier key you were given.", metavar="FILE")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="Text, json, or markdown: a page to mail.")] = Form.TEXT,
    lang: Annotated[Tongue, typer.Option("--lang", help="English or Vietnamese: en, vi.")] = Tongue.EN,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: --format json.")] = False,
) -> None:
    """Tell what would be decided for one request, and why; only rules in force at DATE are cited.

    Claims are named by our words (citizenship, residence, phone, sim, verified_by, age, guardian, consents) or as the
    token names them. With --audit and --entry a recorded decision is told, by the policy that made it, or by --policy.
    Exit 0 = permitted, 1 = refused, 2 = wrong use, a policy that does not hold included.

    Example: residency explain policies/deployments/social-api.yaml --route "POST /v1/people" --ip 14.160.0.1
    """
    form = Form.JSON if as_json else form
    if file is not None and policy is not None:
        wrong("name one deployment file")
    policy = policy if file is None else file
    person = Person(ip, peer, header or (), claim or (), not declared, pin)
    if (audit is None) != (entry is None):
        wrong("--audit and --entry go together")
    if audit is not None and entry is not None:
        if route or activity or finding is not None or evidence or at or read_from or person != Person():
            wrong("--entry tells the whole question: leave the request out")
        _say(_of_entry(audit, entry, key, policy), form, lang)
    if policy is None or (route is None) == (activity is None):
        wrong('a deployment file and --route are needed, as in: residency explain F --route "POST /v1/people"')
    if finding is None and (evidence or activity):
        wrong("--activity and --evidence go with --finding")
    if finding is not None and person != Person():
        wrong("--finding says what was found of the person: leave address, claims and pin out")
    try:
        loaded = load(policy) if finding is None else candidate_at(policy)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    now, shown = instant_of(at)
    if route is None:
        of: Activity | None = activity_of(loaded, activity or "")
        asked = given(loaded, finding or (), evidence or ())
    else:
        of, asked = _routed(loaded, route, person, finding, evidence, now if at is not None else None, form)
    for place in read_from or ():
        if place != "ZZ" and not is_place(place):
            wrong(f"--read-from: {place} is no country code such as SG, no part of one, not EU and not ZZ")
    shown_to = reading(asked.evidence, tuple(read_from or ()))
    decision = loaded.decide(of, asked.finding, shown_to, loaded.facts, now)
    goes = _goes(loaded, decision, asked.pin)
    told = tell(
        decision, asked.signals, pin=asked.pin, client=asked.client, route=route or "", at=shown, caller=asked.caller,
        goes_to=goes, undone=undone(loaded.deployment, decision),
    )  # fmt: skip
    _say(told, form, lang)


def _routed(
    policy: Policy,
    route: str,
    person: Person,
    finding: list[str] | None,
    evidence: list[str] | None,
    at: int | None,
    form: Form,
) -> tuple[Activity | None, Asked]:
    """The activity that takes the route, and what is asked of it. Ends the command where no decision is to be made."""
    method, _, path = route.partition(" ")
    if not method or not path.startswith("/"):
        wrong('--route is a method and a path, as in "POST /v1/people"')
    if "?" in path or "#" in path:
        wrong("--route is a path without a query")
    try:
        match = policy.activities.match(method, path)
    except PathError as error:
        if form is Form.JSON:
            typer.echo(json.dumps({"route": route, "effect": "deny", "reason": Reason.PATH_AMBIGUOUS.value}))
        else:
            typer.echo(f"{route}: refused ({Reason.PATH_AMBIGUOUS.value}): {error}")
        raise typer.Exit(1) from None
    if match.exempt:
        exempt = {"route": route, "effect": "permit", "exempt": True}
        typer.echo(json.dumps(exempt) if form is Form.JSON else f"{route}: exempt")
        raise typer.Exit(0)
    if finding is not None:
        return match.activity, given(policy, finding, evidence or ())
    return match.activity, seen_of(policy, match, person, at)


def _of_entry(audit: Path, number: int, key: Path | None, candidate: Path | None) -> Explanation:
    """What the decision of entry `number` is, by its own policy or by another."""
    log = audit / "log"
    read_log = reader(log, "--audit")
    other = None if candidate is None else candidate_at(candidate)
    archive = Archive(reader(audit, "--audit"), other)
    try:
        checkpoint = read_checkpoint(read_log, verifier_key(log, key))
        taken: tuple[Recorded, When] | Beside | None = None
        recall = Recall()
        # To the end, for what comes before the entry says on which facts it was decided, and all of it must hold.
        for index, entry in enumerate(entries(read_log, checkpoint, Pairs(), progress=True, what="reading the log")):
            found = recall.take(entry)
            if index == number:
                taken = found
    except IntegrityError as error:
        typer.echo(f"residency explain: {error}", err=True)
        raise typer.Exit(1) from None
    if taken is None:
        wrong(f"--entry: the log has {checkpoint.size} entries, numbered from 0")
    if isinstance(taken, Beside):
        wrong(f"--entry: that one tells of no decision: it is of the {taken.value}")
    recorded, when = taken
    policy = other if other is not None else archive.policy(recorded.policy)
    facts = None if recorded.facts is None else archive.facts(recorded.facts)
    if not isinstance(policy, Policy) or facts is None:
        missing = "policy" if not isinstance(policy, Policy) else "facts"
        why = "; ".join(archive.unreadable.values()) or f"the {missing} that it names lies not in the audit folder"
        wrong(f"--entry: it cannot be decided again: {why}")
    decision = decide_again(policy, recorded, facts, when)
    if decision is None:
        wrong(f"--entry: the policy names no activity {recorded.activity}")
    left = undone(policy.deployment, decision)
    return tell(decision, None, at=moment(when.now), entry=number, undone=left)


def _say(told: Explanation, form: Form, lang: Tongue) -> NoReturn:
    """Print an explanation and end the command by its effect."""
    match form:
        case Form.JSON:
            typer.echo(json.dumps(told.data, ensure_ascii=False))
        case Form.MARKDOWN:
            typer.echo(told.markdown(lang.value), nl=False)
        case Form.TEXT:
            _print(told.page(lang.value), told.story.decision.effect)
    raise typer.Exit(0 if told.story.decision.effect is Effect.PERMIT else 1)


def _print(page: Page, effect: Effect) -> None:
    """A page on the terminal: titles stand out, links can be followed; piped, it is plain lines."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(page.title, style="bold green" if effect is Effect.PERMIT else "bold red"))
    for text in page.lead:
        console.print(Text(f"  {text}"))
    for section in page.sections:
        console.print(Text(section.title, style="bold"))
        for item in section.items:
            console.print(Text(f"  {item.text}"))
            for note in item.notes:
                console.print(Text(f"    {note}", style="dim"))
            if item.link:
                console.print(Text(f"    {item.link}", style=f"dim link {item.link}"))


def _goes(policy: Policy, decision: Decision, pin: Pin | None) -> str | None:
    """The sink that the first act would use; None where none would be."""
    if decision.activity is None or not decision.activity.stores or not decision.sinks:
        return None
    try:
        verdict = choose(decision, pin, None, order=policy.deployment.stores[decision.activity.stores[0]])
    except (Refused, UnknownStore):
        return None
    return verdict.sink.name if verdict.effect is Effect.PERMIT else None
