"""The shipped deployments: their own tests hold and leave little out, and an app runs under each as it stands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from typer.testing import CliRunner

from residency import ResidencyMiddleware, current, identify, sql
from residency.cli.test import run_tests
from residency.testing import Kit, person

POLICIES = Path(__file__).resolve().parents[2] / "policies"
TESTED = ("ai-chat", "social-network")
command = typer.Typer()
command.command()(run_tests)


def ran(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(command, [*arguments, "--json"])
    told: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, told


def test_the_tests_beside_the_policies_hold_and_nine_rules_of_ten_decide_one() -> None:
    code, told = ran(str(POLICIES), "--coverage", "--min-coverage", "90%")
    assert [test["name"] for test in told["tests"] if not test["holds"]] == []
    assert (told["problems"], told["too_low"], code) == ([], [], 0)
    assert {Path(name).stem for name in told["coverage"]} >= set(TESTED)


@pytest.mark.parametrize("name", TESTED)
def test_a_rule_that_no_test_met_is_one_that_another_always_outranks_or_that_waits(name: str) -> None:
    # Written down, so that a new gap shows: each has its reason in the tests beside the policy.
    known = {
        "social-network": {"vn.d165.12", "vn.d165.12.core", "vn.d165.erase"},
        "ai-chat": {"vn.reported.registration"},
    }
    _, told = ran(str(POLICIES / "deployments" / f"{name}_test.yaml"), "--coverage")
    (found,) = told["coverage"].values()
    assert {rule["id"] for rule in found["never"]} <= known[name]


@pytest.mark.parametrize(
    ("old", "new", "fails"),
    [
        # What these tests are there for: each of these changes of the policy must not pass unseen.
        ("clocks: strict", "clocks: run", "reading a copy in Laos waits for the transfer dossier"),
        ("modes: {la.edp.transfer: enforce}", "", "a Lao account stays in Laos"),
        ("vn.user_in_vietnam: habitual", "vn.user_in_vietnam: present", "a Vietnamese on holiday stays a user"),
        ("vn.child_consent: all_processing", "vn.child_consent: publishing", "a child's profile waits"),
        ("vn.relationship_data: law", "vn.relationship_data: decree", "relationships are kept in Vietnam first"),
        ("operation: post, action: commercial", "operation: read, action: none_commercial", "selling live needs"),
        ("unclassified: deny", "unclassified: permit", "a route that nobody described"),
        ("laws: [vn/*, la/*]", "laws: [vn/*]", "a Lao account stays in Laos"),
    ],
)
def test_a_careless_change_of_the_social_network_is_caught(tmp_path: Path, old: str, new: str, fails: str) -> None:
    shutil.copytree(POLICIES, tmp_path / "policies", ignore=shutil.ignore_patterns("laws", "residency-data"))
    file = tmp_path / "policies" / "deployments" / "social-network.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    code, told = ran(str(file.with_name("social-network_test.yaml")))
    assert code == 1
    failed = [test["name"] for test in told["tests"] if not test["holds"]]
    assert told["problems"] or any(name.startswith(fails) for name in failed), failed


def test_the_example_of_the_how_to_holds(tmp_path: Path) -> None:
    page = (POLICIES.parent / "docs" / "how-to" / "test-your-policy.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    deployment = POLICIES / "deployments" / "social-network.yaml"
    text = example.replace("deployment: social-network.yaml", f"deployment: {deployment}")
    (tmp_path / "example_test.yaml").write_text(text, encoding="utf-8")
    code, told = ran(str(tmp_path))
    assert (code, [test["holds"] for test in told["tests"]]) == (0, [True, True])


class Base(DeclarativeBase):
    """The apps' models."""


class Row(Base):
    """Whatever somebody sent."""

    __tablename__ = "rows"
    id: Mapped[str] = mapped_column(primary_key=True, default=sql.uuid7_key)
    text: Mapped[str]


def network() -> FastAPI:
    app = FastAPI()
    session = sql.async_sessionmaker("people")

    @app.post("/v1/posts")
    async def post(body: dict[str, Any]) -> dict[str, str]:
        await identify(f"somebody from {body['citizenship']}", verified=True, **body)
        async with session() as opened:
            opened.add(Row(text="xin chào"))
            await opened.commit()
        return {"sink": current().store("people").sink_name}

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {}

    return app


def chat() -> FastAPI:
    app = FastAPI()
    session = sql.async_sessionmaker("chats")

    @app.post("/v1/applications/rank")
    async def rank(body: dict[str, Any]) -> dict[str, Any]:
        await identify(f"somebody from {body['citizenship']}", verified=True, **body)
        async with session() as opened:
            opened.add(Row(text="CV"))
            await opened.commit()
        return {"log": sorted(current().decision.duty.log)}

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {}

    return app


def test_the_social_network_serves_lan_at_home_and_kham_in_laos(tmp_path: Path) -> None:
    with Kit(network(), POLICIES / "deployments" / "social-network.yaml", tmp_path) as kit:
        kit.run(sql.create_all, Base.metadata, kit.runtime.stores, "people")
        lan, kham = kit.client(person("VN")), kit.client(person("LA"))
        assert lan.post("/v1/posts", json={"citizenship": "VN"}).status_code == 403
        assert lan.post("/v1/posts", json={"citizenship": "VN", "verified_by": "phone"}).status_code == 200
        agreed = {"citizenship": "LA", "residence": "LA", "consents": ["publishing"]}
        assert kham.post("/v1/posts", json=agreed).status_code == 200
        assert kit.went("people") == ["people-vn", "people-la"]
        assert lan.get("/v1/unheard-of").status_code == 403


def test_the_chat_ranks_applications_in_singapore_and_logs_what_the_ai_law_asks(tmp_path: Path) -> None:
    with Kit(chat(), POLICIES / "deployments" / "ai-chat.yaml", tmp_path) as kit:
        kit.run(sql.create_all, Base.metadata, kit.runtime.stores, "chats")
        answer = kit.client(person("VN")).post("/v1/applications/rank", json={"citizenship": "VN"})
        assert answer.status_code == 200
        assert {"ai.operation", "ai.human_intervention", "source_port"} <= set(answer.json()["log"])
        assert kit.went("chats") == ["chats-sg"]


@pytest.mark.parametrize(("name", "app"), [("social-network", network), ("ai-chat", chat)])
def test_each_starts_from_its_file_as_it_stands(tmp_path: Path, name: str, app: Callable[[], FastAPI]) -> None:
    shutil.copytree(POLICIES, tmp_path / "policies", ignore=shutil.ignore_patterns("laws", "residency-data"))
    served = app()
    served.add_middleware(ResidencyMiddleware, policy=tmp_path / "policies" / "deployments" / f"{name}.yaml")
    with TestClient(served, client=("127.0.0.1", 50_000)) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/unheard-of").status_code == 403
    assert any((tmp_path / "policies" / "deployments" / "residency-data").iterdir())
