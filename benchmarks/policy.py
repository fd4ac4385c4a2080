"""What a decision costs, beside Cedar, Casbin and Rego on the same policy: ratios from one interleaved run.

    python -m benchmarks.policy [--json] [--quick]

The policy says yes or no to ninety combinations of jurisdiction, category and operation, and every engine answers all
of them alike before anything is timed. Ours is asked with the objects that the pipeline keeps, and its answer also
judges two sinks and cites its rules. `table` is asked about one instant, as the peers are, which know no time; `decide`
looks each time whether the clock or the facts have moved on. The bars are on `table`. This thread's own CPU time
counts, garbage collection is off.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.policy_ours import NOW, activities_of, deployment, filled, law, person, wide_laws
from benchmarks.policy_peers import JURISDICTIONS, PEERS, VERDICTS, Ask, versions
from residency.adapters.policy_files import load
from residency.model import Activity, Effect, FactSet, Finding
from residency.policy.compiler import Policy, compile_policy

__all__ = ["BARS", "measure"]

PERMIT: Final = Effect.PERMIT
BARS: Final = {"fastest": 200.0, "cedarpy": 500.0, "flat": 1.15, "miss": 50.0, "compile": 2.0}
"""Times faster than the fastest peer and than Cedar; 1,000 rules to 10; microseconds a miss; seconds to compile."""
PEOPLE: Final = {place: person(place) for place in JURISDICTIONS}
LIMITS: Final = {"rules": 1_000, "activities": 500}
TIMES: Final = 100
TABLE: Final = "ours, table"
DECIDE: Final = "ours, decide"
FEW: Final = "ours, decide with 10 rules"
FIRST: Final = "the first question (no bar)"
MANY: Final = "ours, decide with 1,000 rules"
Batch = Callable[[], None]


def questions_of(policy: Policy) -> list[tuple[Activity, Finding, frozenset[str]]]:
    """All ninety questions in no order, as the pipeline has them at hand."""
    by = activities_of(policy)
    asked = [(by[c, o], PEOPLE[j], frozenset[str]()) for j, c, o in VERDICTS]
    random.Random(91).shuffle(asked)
    return asked


def deciding(policy: Policy) -> Batch:
    """All questions, to `decide` of a policy that has heard them before."""
    questions, decide, facts, now = questions_of(policy), policy.decide, policy.facts, NOW

    def ask() -> None:
        for _ in range(TIMES):  # as long as a peer takes for one time: what timing itself costs weighs the same
            for activity, finding, evidence in questions:
                if decide(activity, finding, evidence, facts, now).effect is PERMIT:
                    pass

    ask()
    return ask


def looking_up(policy: Policy) -> Batch:
    """All questions, to the table of one instant that has heard them before."""
    questions, decide = questions_of(policy), policy.table(policy.facts, NOW).decide

    def ask() -> None:
        for _ in range(TIMES):
            for activity, finding, evidence in questions:
                if decide(activity, finding, evidence).effect is PERMIT:
                    pass

    ask()
    return ask


def agreeing(policy: Policy) -> dict[str, Batch]:
    """All ninety questions of each peer, once their answers are seen to be ours.

    Raises:
        SystemExit: where one of them answers otherwise.
    """
    by = activities_of(policy)
    facts = policy.facts
    said = {
        (j, c, o): policy.decide(by[c, o], PEOPLE[j], frozenset(), facts, NOW).effect is PERMIT for j, c, o in VERDICTS
    }
    if said != VERDICTS:
        raise SystemExit("ours decides otherwise than the table")
    batches: dict[str, Batch] = {}
    for name, build in PEERS.items():
        peer = build()
        if any(peer(*combination) is not permitted for combination, permitted in VERDICTS.items()):
            raise SystemExit(f"{name} decides otherwise than the table")

        def batch(peer: Ask = peer) -> None:
            for jurisdiction, category, operation in VERDICTS:
                if peer(jurisdiction, category, operation):
                    pass

        batches[name] = batch
    return batches


def compare(rounds: int) -> dict[str, Any]:
    """Nanoseconds a decision: ours, with ten rules and with a thousand, and each peer."""
    same, few, many = filled(90), filled(10), filled(LIMITS["rules"])
    batches: dict[str, tuple[Batch, int]] = {name: (batch, 90) for name, batch in agreeing(same).items()}
    mine = {TABLE: looking_up(same), DECIDE: deciding(same), FEW: deciding(few), MANY: deciding(many)}
    batches |= {name: (batch, 90 * TIMES) for name, batch in mine.items()}
    chance = random.Random(116)
    spent: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(rounds):
        for name in chance.sample(list(batches), len(batches)):
            batch, asked = batches[name]
            spent[name].append(timed(batch) / asked)

    def ratio(a: str, b: str) -> float:
        return median(x / y for x, y in zip(spent[a], spent[b], strict=True))

    return {
        "ns": {name: round(median(each)) for name, each in spent.items()},
        "quietest ns": {name: round(min(each)) for name, each in spent.items()},
        "faster": {name: round(ratio(name, TABLE)) for name in PEERS},
        "faster, decide": {name: round(ratio(name, DECIDE)) for name in PEERS},
        "flat": round(ratio(MANY, FEW), 3),
    }


def timed(run: Batch) -> int:
    """Nanoseconds of this thread's CPU time."""
    gc.collect()
    gc.disable()
    began = time.thread_time_ns()
    run()
    took = time.thread_time_ns() - began
    gc.enable()
    return took


def misses(policy: Policy, place: str, rounds: int) -> dict[str, float]:
    """Microseconds of a decision that was not heard before, by what of it is new; the median of the quietest round."""
    who, fresh = person(place), count(1)
    activities = policy.deployment.activities
    known = frozenset({"identity:phone"})
    filings = sorted(t for law_ in policy.laws for r in law_.rules for c in r.duty.require for t in c if "filing" in t)
    epoch = count(1)
    facts = [policy.facts]

    def finding(activity: Activity) -> None:
        another = replace(who, strategy=f"s{next(fresh)}")
        began = time.thread_time_ns()
        policy.decide(activity, another, known, facts[0], NOW)
        took.append(time.thread_time_ns() - began)

    def evidence(activity: Activity) -> None:
        more = frozenset(chance.sample(filings, min(3, len(filings)))) | {"identity:phone"}
        forget()
        policy.decide(activity, who, known, facts[0], NOW)
        began = time.thread_time_ns()
        policy.decide(activity, who, more, facts[0], NOW)
        took.append(time.thread_time_ns() - began)

    def slice_(activity: Activity) -> None:
        forget()
        began = time.thread_time_ns()
        policy.decide(activity, who, known, facts[0], NOW)
        took.append(time.thread_time_ns() - began)

    def forget() -> None:
        facts[0] = FactSet(next(epoch), policy.facts.filings, policy.facts.stop_orders)

    chance = random.Random(333)
    found = {}
    for name, ask in (("a new finding", finding), ("new evidence", evidence), ("new facts, or a new day", slice_)):
        quietest = float("inf")
        for _ in range(rounds):
            took: list[int] = []
            gc.collect()
            gc.disable()
            for activity in activities[:18] * 5:
                ask(activity)
            gc.enable()
            quietest = min(quietest, median(took))
        found[name] = round(quietest / 1000, 1)
    return found


def first(build: Callable[[], Policy], place: str, rounds: int) -> float:
    """Microseconds of the first question that a policy is asked at all; the quickest."""
    took = []
    for _ in range(rounds):
        policy, who = build(), person(place)
        began = time.thread_time_ns()
        policy.decide(policy.deployment.activities[0], who, frozenset(), policy.facts, NOW)
        took.append(time.thread_time_ns() - began)
    return round(min(took) / 1000, 1)


def compiling() -> dict[str, float]:
    """Seconds to parse and to compile a policy of the limits' size; the better of three."""
    texts = wide_laws(LIMITS["rules"])
    parsed, compiled = [], []
    for _ in range(3):
        began = time.thread_time()
        document, laws = deployment(LIMITS["activities"]), [law(name, text) for name, text in texts]
        parsed.append(time.thread_time() - began)
        began = time.thread_time()
        compile_policy(document, laws, [], "bench")
        compiled.append(time.thread_time() - began)
    return {"parsing": round(min(parsed), 3), "compiling": round(min(compiled), 3)}


def measure(rounds: int) -> dict[str, Any]:
    """All figures, and whether each bar holds."""
    shipped = Path(__file__).resolve().parents[1] / "policies" / "deployments" / "social-api.yaml"
    wide = [law(name, text) for name, text in wide_laws(LIMITS["rules"])]
    document = deployment(18)

    def thousand() -> Policy:
        return compile_policy(document, wide, [], "bench")

    found = compare(rounds)
    found["misses µs"] = {
        "the shipped laws": misses(load(shipped, {}), "VN", rounds)
        | {FIRST: first(lambda: load(shipped, {}), "VN", max(3, rounds // 10))},
        "1,000 rules": misses(thousand(), "VN", rounds) | {FIRST: first(thousand, "VN", max(3, rounds // 10))},
    }
    found["seconds"] = compiling()
    # The first question of a process also loads what it touches; it comes once, so no bar stands on it.
    worst = max(value for of in found["misses µs"].values() for name, value in of.items() if name != FIRST)
    holds = {
        "fastest": min(found["faster"].values()) >= BARS["fastest"],
        "cedarpy": found["faster"]["cedarpy"] >= BARS["cedarpy"],
        "flat": found["flat"] <= BARS["flat"],
        "miss": worst <= BARS["miss"],
        "compile": sum(found["seconds"].values()) <= BARS["compile"],
    }
    about = {"python": platform.python_version(), "peers": versions(), "rounds": rounds}
    return {**about, **found, "bars": BARS, "holds": holds}


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as tables, with the bars."""
    table = Table(title="One decision, ninety questions that were asked before")
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("median", justify="right")
    table.add_column("quietest", justify="right")
    table.add_column("table is faster", justify="right")
    table.add_column("decide is faster", justify="right")
    for name, spent in sorted(result["ns"].items(), key=lambda item: item[1]):
        ratio = result["faster"].get(name)
        label = name if ratio is None else f"{name} {result['peers'][name]}"
        quiet = result["quietest ns"][name]
        ratios = ("", "") if ratio is None else (f"{ratio}x", f"{result['faster, decide'][name]}x")
        table.add_row(label, _span(spent), _span(quiet), *ratios, style=None if ratio else "cyan")
    console.print(table)
    table = Table(title="A decision not asked before: microseconds")
    table.add_column("", style="bold", no_wrap=True)
    for name in result["misses µs"]:
        table.add_column(name, justify="right")
    for kind in next(iter(result["misses µs"].values())):
        table.add_row(kind, *(f"{of[kind]:g}" for of in result["misses µs"].values()))
    console.print(table)
    seconds = result["seconds"]
    console.print(
        f"1,000 rules and 500 activities: parsed in {seconds['parsing']:g} s, compiled in {seconds['compiling']:g} s; "
        f"1,000 rules cost {result['flat']:g} of what 10 do",
        highlight=False,
    )
    said = {
        "fastest": f"{BARS['fastest']:g}x faster than the fastest peer",
        "cedarpy": f"{BARS['cedarpy']:g}x faster than Cedar with its policies parsed",
        "flat": f"1,000 rules at most {BARS['flat']:g} of 10",
        "miss": f"every miss within {BARS['miss']:g} µs",
        "compile": f"parsed and compiled within {BARS['compile']:g} s",
    }
    for name, holds in result["holds"].items():
        console.print(f"bar: {said[name]}: {'[green]holds[/]' if holds else '[red]missed[/]'}", highlight=False)


def _span(ns: float) -> str:
    return f"{ns:.0f} ns" if ns < 1_000 else f"{ns / 1000:.1f} µs"


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that it works")
    options = parser.parse_args()
    result = measure(5 if options.quick else 60)
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        show(Console(), result)


if __name__ == "__main__":
    main()
