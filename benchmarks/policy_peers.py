"""A table of verdicts in; the same policy in each engine's own form, ready to be asked, out.

One rule for each combination, as a law's articles stand one by one and an answer names the one that decided. Every peer
gets its rules parsed, indexed or compiled beforehand; it is handed three words, makes its request of them, and its
verdict is read, as a caller must. Of the ways to write and to ask it that were tried, the fastest stands here. Rules
merged by hand into one for each jurisdiction and operation cost Cedar half, and name no article.

Vakt is not among the peers: its distribution installs a package `tests`, which would hide this repository's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Final

__all__ = ["CATEGORIES", "JURISDICTIONS", "OPERATIONS", "PEERS", "VERDICTS", "Ask", "Combination", "versions"]

JURISDICTIONS: Final = ("VN", "CN", "IN", "BR", "DE")
CATEGORIES: Final = ("personal", "account", "relationship", "content", "transaction", "log")
OPERATIONS: Final = ("read", "write", "erase")

Combination = tuple[str, str, str]
"""Jurisdiction, category, operation."""
Ask = Callable[[str, str, str], bool]
"""Whether a combination is permitted."""

VERDICTS: Final[Mapping[Combination, bool]] = {
    (jurisdiction, category, operation): (3 * j + 5 * c + 7 * o + j * c * o) % 5 < 3
    for j, jurisdiction in enumerate(JURISDICTIONS)
    for c, category in enumerate(CATEGORIES)
    for o, operation in enumerate(OPERATIONS)
}


def _cedar() -> Ask:
    from cedarpy import Decision, Entities, PolicySet, is_authorized

    rule = '{}(principal == Jurisdiction::"{}", action == Action::"{}", resource == Category::"{}");'
    policies = PolicySet.from_str(
        "\n".join(
            rule.format("permit" if permitted else "forbid", j, o, c) for (j, c, o), permitted in VERDICTS.items()
        )
    )
    entities = Entities.from_json_str("[]")

    def ask(jurisdiction: str, category: str, operation: str) -> bool:
        request = {
            "principal": f'Jurisdiction::"{jurisdiction}"',
            "action": f'Action::"{operation}"',
            "resource": f'Category::"{category}"',
        }
        return is_authorized(request, policies, entities).decision is Decision.Allow

    return ask


def _casbin() -> Ask:
    from casbin import FastEnforcer, FastModel, StringAdapter

    model = FastModel([0, 1, 2])  # rules are found by all three words
    model.load_model_from_text(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n"
        "[policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n"
        "[matchers]\nm = r.sub == p.sub && r.obj == p.obj && r.act == p.act"
    )
    rules = "\n".join(
        f"p, {j}, {c}, {o}, {'allow' if permitted else 'deny'}" for (j, c, o), permitted in VERDICTS.items()
    )
    enforcer = FastEnforcer(model, StringAdapter(rules), cache_key_order=[0, 1, 2])
    enforcer.logger.setLevel("CRITICAL")  # it would warn of each refusal

    return enforcer.enforce  # type: ignore[no-any-return]


def _rego() -> Ask:
    from regopy import Input, Interpreter

    # What a module builds is built anew at each question; as data it is there.
    table: dict[str, dict[str, dict[str, bool]]] = {}
    for (jurisdiction, category, operation), permitted in VERDICTS.items():
        table.setdefault(jurisdiction, {}).setdefault(category, {})[operation] = permitted
    builder = Interpreter()
    builder.add_data({"table": table})
    builder.add_module(
        "policy.rego", "package policy\n\ndefault allow := false\n\nallow if data.table[input.j][input.c][input.o]\n"
    )
    bundle = builder.build(None, ["policy/allow"])
    interpreter = Interpreter()
    interpreter.add_data({"table": table})

    def ask(jurisdiction: str, category: str, operation: str) -> bool:
        interpreter.set_input(Input({"j": jurisdiction, "c": category, "o": operation}))
        # The answer's text is read five times faster than its nodes.
        return str(interpreter.query_bundle_entrypoint(bundle, "policy/allow")) == '{"expressions":[true]}'

    return ask


PEERS: Final[Mapping[str, Callable[[], Ask]]] = {
    "cedarpy": _cedar,
    "casbin": _casbin,
    "regopy": _rego,
}


def versions() -> dict[str, str]:
    """The peers' versions."""
    return {name: version(name) for name in PEERS}
