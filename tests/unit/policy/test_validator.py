"""What shows only where documents meet: told with the line to mend and the nearest name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import load
from residency.errors import PolicyError
from residency.model import Exemption, Filing, FilingResult, StopOrder
from residency.policy.compiler import Policy, compile_policy
from residency.policy.parsed import Reading, RegisterDoc

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(ROOT / "policies" / "deployments" / "social-api.yaml", {})


def problems(policy: Policy, register: RegisterDoc | None = None, **changes: object) -> list[str]:
    deployment = replace(policy.deployment, **changes)  # type: ignore[arg-type]
    with pytest.raises(PolicyError) as caught:
        compile_policy(deployment, policy.laws, [] if register is None else [register], "d")
    return [problem.message for problem in caught.value.problems]


def test_a_mode_by_date_for_an_unknown_rule_is_told(policy: Policy) -> None:
    told = problems(policy, modes_from={"vn.d333.19.9": ((0, "observe"),)})
    assert len(told) == 1
    assert told[0].startswith("unknown rule `vn.d333.19.9`; did you mean")


def test_readings_that_no_law_asks_and_answers_that_none_offers_are_told(policy: Policy) -> None:
    law = replace(policy.laws[0], readings={"reach": Reading("how far?", ("broad", "narrow"), "broad")})
    deployment = replace(policy.deployment, readings={"reach": "narow", "rich": "broad"})
    with pytest.raises(PolicyError) as caught:
        compile_policy(deployment, (law, *policy.laws[1:]), [], "d")
    assert sorted(p.message for p in caught.value.problems) == [
        "reach: unknown answer `narow`; did you mean `narrow`?",
        "unknown reading `rich`; did you mean `reach`?",
    ]


def test_a_law_that_is_not_the_one_pinned_is_told(policy: Policy) -> None:
    pinned = {law.name: law.sha256 for law in policy.laws}
    compile_policy(replace(policy.deployment, law_digests=pinned), policy.laws, [], "d")
    name = policy.laws[0].name
    assert problems(policy, law_digests=pinned | {name: "0" * 64}) == [
        f"law `{name}` is not the file that is pinned here: its SHA-256 is {policy.laws[0].sha256}"
    ]
    assert problems(policy, law_digests={"vn/none": "0" * 64})[0].startswith("unknown law `vn/none`")


def test_a_register_that_names_what_is_not_there_is_told_name_by_name(policy: Policy) -> None:
    register = RegisterDoc(
        "r",
        filings=(Filing("a.b", "1", 0, FilingResult.FILED, sinks=frozenset({"people-vn", "people-xx"})),),
        stop_orders=(StopOrder("2", "people-yy", 0),),
        exemptions=(
            Exemption(
                "3", frozenset({"vn.l116.25.9"}), "A", "g", 0, 9, frozenset({"POST /v1/peeple"}), frozenset({"zz"})
            ),
        ),
    )
    assert sorted(told.partition(";")[0] for told in problems(policy, register)) == [
        "unknown activity `POST /v1/peeple`",
        "unknown rule `vn.l116.25.9`",
        "unknown sink `people-xx`",
        "unknown sink `people-yy`",
        "unknown sink `zz`",
    ]
