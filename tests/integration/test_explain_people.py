"""`residency explain` tells six people apart: anchors, signals with their trust, what was discarded and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from residency.cli.explain import explain

POLICIES = Path(__file__).resolve().parents[2] / "policies"
BERLIN, DA_NANG, VPN_IN_VIETNAM, US_DATA_CENTRE = "80.187.0.1", "113.176.0.1", "103.53.168.1", "3.208.0.1"
app = typer.Typer()
app.command()(explain)
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Asks about one person under the shipped example; the JSON that comes back."""
    folder = tmp_path_factory.mktemp("policies")
    for name in ("deployments", "networks", "registers"):
        shutil.copytree(POLICIES / name, folder / name, ignore=shutil.ignore_patterns("residency-data"))

    def run(*args: str, route: str = "POST /v1/people") -> dict[str, Any]:
        options = ("--policy", str(folder / "deployments" / "whose-law.yaml"), "--at", "2026-11-22", "--json")
        result = CliRunner().invoke(app, [*options, "--route", route, *args])
        assert result.exit_code in (0, 1), result.output
        told: dict[str, Any] = json.loads(result.output)
        return told

    return run


def heard(told: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    return {(h["anchor"], h["place"], h["trust"], h["voice"]) for h in told["heard"]}


def covering(told: dict[str, Any]) -> dict[str, dict[str, str]]:
    """By covering jurisdiction: each anchor under which it covers, and how that is known."""
    return {
        law["place"]: {a["anchor"]: "presumed" if a["presumed"] else a["state"] for a in law["anchors"]}
        for law in told["jurisdictions"]
    }


def test_a_vietnamese_citizen_in_berlin_is_covered_by_citizenship_alone(ask: Ask) -> None:
    told = ask("--ip", BERLIN, "--claim", "citizenship=VN")
    assert covering(told) == {"VN": {"citizenship": "established"}}
    assert told["anchors"]["territory"]["established"] == ["DE"]
    assert not any(rule["id"].startswith("vn.d333.19") for rule in told["rules"])  # localisation looks at territory


def test_a_german_tourist_in_hanoi_is_covered_by_territory_and_not_by_citizenship(ask: Ask) -> None:
    told = ask("--ip", "113.160.0.1", "--claim", "citizenship=DE", "--claim", "residence=DE")
    assert covering(told) == {"VN": {"territory": "established", "collection": "established"}}
    assert told["goes_to"] == "people-vn"


def test_the_vietnamese_egress_of_a_vpn_is_no_evidence_of_vietnam_for_a_resident_of_laos(ask: Ask) -> None:
    told = ask("--ip", VPN_IN_VIETNAM, "--claim", "residence=LA")
    assert told["client"]["network"] == "vpn"
    assert ("territory", "VN", "hint", "hints") in heard(told)
    assert told["anchors"]["territory"] == {
        "established": [], "contested": ["VN"], "trust": "hint", "presume": "covered",
    }  # fmt: skip
    assert covering(told) == {"VN": {"territory": "undetermined", "collection": "undetermined"}}  # not excluded either
    assert told["anchors"]["residence"]["established"] == ["LA"]


def test_an_unknown_address_with_a_vietnamese_phone_is_covered_by_what_the_phone_says(ask: Ask) -> None:
    told = ask("--claim", "phone=+84912345678")
    assert told["client"]["address"] is None
    assert covering(told)["VN"]["residence"] == "established"
    assert covering(told)["VN"]["territory"] == "presumed"
    assert "912345678" not in json.dumps(told)
    unverified = ask("--claim", "phone=+84912345678", "--declared")
    assert ("residence", "VN", "hint", "hints") in heard(unverified)


def test_a_pinned_vietnamese_subject_from_a_hosting_network_abroad_keeps_the_home(ask: Ask) -> None:
    told = ask("--ip", US_DATA_CENTRE, "--pin", "VN,citizenship=VN", "--claim", "residence=VN", route="POST /v1/people")
    assert told["client"]["network"] == "hosting"
    assert ("territory", "VN", "pinned", "spoke") in heard(told)
    assert ("territory", "US", "hint", "hints") in heard(told)
    assert covering(told)["VN"]["territory"] == "established"
    assert told["goes_to"] == "people-vn"


def test_a_company_account_used_in_da_nang_is_a_user_in_vietnam(ask: Ask) -> None:
    told = ask("--ip", DA_NANG)  # a company has no citizenship to claim: use on the territory counts (D333 3.1)
    assert covering(told)["VN"]["territory"] == "established"
    assert any(rule["id"] == "vn.d333.19.2" for rule in told["rules"])


def test_what_was_discarded_is_told_with_its_reason(ask: Ask) -> None:
    told = ask("--ip", BERLIN, "--claim", "residence=VN", "--claim", "phone=+4915112345678", "--pin", "SG")
    (lost,) = [h for h in told["heard"] if h["voice"] == "outranked"]
    assert (lost["place"], lost["source"]) == ("DE", "claim.phone")
    assert lost["because"] == "`verified` outranks `declared`"


def test_a_conflict_at_equal_trust_shows_both_sides_and_both_laws_apply(ask: Ask) -> None:
    told = ask("--ip", BERLIN, "--claim", "sim=VN")
    sides = {h["place"]: h["because"] for h in told["heard"] if h["voice"] == "conflicts"}
    assert sides["DE"].endswith("what says VN: the laws of each cover")
    assert sides["VN"].endswith("what says DE: the laws of each cover")
    assert covering(told)["VN"]["territory"] == "undetermined"


def test_of_somebody_elses_data_the_callers_address_says_what_the_pipeline_lets_it_say(ask: Ask) -> None:
    route = "GET /v1/people/42"
    own = ask("--ip", DA_NANG, "--claim", "sub=42", route=route)
    assert own["anchors"]["territory"]["trust"] == "network"
    unknown = ask("--ip", DA_NANG, route=route)
    assert unknown["anchors"]["territory"] == {
        "established": [], "contested": ["VN"], "trust": "hint", "presume": "covered",
    }  # fmt: skip
    for args in (("--claim", "sub=7"), ("--pin", "SG")):
        told = ask("--ip", DA_NANG, *args, route=route)
        assert told["caller"] is not None
        assert "VN" not in told["anchors"]["territory"]["established"]
    assert ask("--ip", DA_NANG)["caller"] is None


def test_a_forged_header_is_no_signal_and_the_strategy_is_named(ask: Ask) -> None:
    told = ask("--peer", "10.0.0.9", "--header", f"X-Forwarded-For: {BERLIN}, {DA_NANG}, 10.0.0.5")
    assert told["client"]["address"] == DA_NANG
    assert told["client"]["strategy"] == "rightmost_trusted_range"
    direct = ask("--peer", DA_NANG, "--header", f"X-Forwarded-For: {BERLIN}")
    assert direct["client"]["address"] == DA_NANG
