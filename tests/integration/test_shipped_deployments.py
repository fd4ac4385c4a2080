"""The deployments that are shipped, as they stand, over tables as their `records:` tell: move, export, keep, erase."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from residency.cli.app import app_for
from residency.policy.parsed import DeploymentDoc, SinkDoc
from residency.policy.parsed_storage import RecordDoc
from tests.world import load_policy

POLICIES = Path(__file__).resolve().parents[2] / "policies"
# Where somebody who lives in Vietnam is at home, as each deployment stands, and where all data lies today.
SHIPPED = {
    "social-api": ("people-vn", "people-sg"),
    "whose-law": ("people-vn", "people-sg"),
    "social-network": ("people-vn", "people-la"),
    "ai-chat": ("chats-sg", "chats-vn"),
}


# What a law has kept of somebody whose account has not ended.
HELD = {
    "social-api": {"person", "post"},
    "whose-law": {"person", "post"},
    "social-network": {"person", "post", "child"},
    "ai-chat": set[str](),
}


class Shipped:
    """A copy of a deployment, with a table for each of its records in each sink, and one row of `an` in each abroad."""

    def __init__(self, folder: Path, name: str) -> None:
        for part in ("deployments", "registers", "networks"):
            if (POLICIES / part).is_dir():
                shutil.copytree(POLICIES / part, folder / part, ignore=shutil.ignore_patterns("residency-data"))
        self.file = folder / "deployments" / f"{name}.yaml"
        self.document: DeploymentDoc = load_policy(self.file).deployment
        (self.store,) = self.document.records
        self.records = self.document.records[self.store]
        (self.file.parent / "residency-data").mkdir()
        for sink in self.document.stores[self.store]:
            with closing(sqlite3.connect(self.path(sink))) as database:
                for record in self.records:
                    database.execute(f"CREATE TABLE {record.name} ({', '.join(columns(record))})")
                database.commit()

    def path(self, sink: str) -> Path:
        """The file of a sink's database."""
        found: SinkDoc = self.document.sinks[sink]
        return self.file.parent / found.url.reveal().removeprefix("sqlite:///./")

    def put(self, sink: str, who: str) -> None:
        """One row of `who` in each table of `sink`."""
        old = (datetime.now(UTC) - timedelta(days=5)).isoformat()
        with closing(sqlite3.connect(self.path(sink))) as database:
            for record in self.records:
                row = {"id": f"{who}-{record.name}", "said": f"canary {who}"}
                if record.subject is not None:
                    row[record.subject] = who
                if record.via is not None:
                    of = next(each for each in self.records if each.name == record.via[1])
                    row[record.via[0]] = who if of.subject == "id" else f"{who}-{of.name}"
                row |= dict.fromkeys((c for event, c in record.times.items() if event != "account_end"), old)
                words = ", ".join(row)
                marks = ", ".join("?" for _ in row)
                text = f"INSERT INTO {record.name} ({words}) VALUES ({marks})"  # noqa: S608 - names of our own files
                database.execute(text, tuple(row.values()))
            database.commit()

    def rows(self, sink: str) -> dict[str, int]:
        """How many rows each table of `sink` has."""
        with closing(sqlite3.connect(self.path(sink))) as database:
            asked = {r.name: f"SELECT count(*) FROM {r.name}" for r in self.records}  # noqa: S608 - as above
            counted = {name: database.execute(text).fetchone()[0] for name, text in asked.items()}
        return {name: number for name, number in counted.items() if number}


def columns(record: RecordDoc) -> list[str]:
    """The columns of a table that a record tells of."""
    names = {"said": "TEXT"}
    names |= {record.subject: "TEXT"} if record.subject not in (None, "id") else {}
    names |= {record.via[0]: "TEXT"} if record.via is not None else {}
    return [
        "id TEXT PRIMARY KEY",
        *(f"{n} {kind}" for n, kind in names.items()),
        *(f"{c} TEXT" for c in record.times.values()),
    ]


def run(*words: object) -> str:
    """What a command says; it must succeed."""
    done = CliRunner().invoke(app_for([str(words[0])]), [str(word) for word in words])
    assert done.exit_code == 0, f"{words}: {done.output} {done.exception!r}"
    return done.output


@pytest.mark.parametrize("name", SHIPPED)
def test_what_lies_in_the_wrong_place_is_moved_and_what_lies_there_is_exported_kept_and_erased(
    tmp_path: Path, name: str
) -> None:
    shipped = Shipped(tmp_path, name)
    home, abroad = SHIPPED[name]
    shipped.put(abroad, "an")
    every = {record.name: 1 for record in shipped.records}
    known = tmp_path / "known.jsonl"
    known.write_text(json.dumps({"subject": "an", "residence": "VN", "citizenship": "VN"}) + "\n")

    move = ("move", shipped.file, "--store", shipped.store, "--to-home", "--known", known)
    found = CliRunner().invoke(app_for(["move"]), [*map(str, move), "--find", "--json"])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.output
    run(*move, "--go", "--drain", "0", "--linger", "0")
    assert (shipped.rows(home), shipped.rows(abroad)) == (every, {})

    run("retention", "run", shipped.file, "--store", shipped.store)
    run("export", shipped.file, "--subject", "an", "--out", tmp_path / "export")
    told = b"".join(file.read_bytes() for file in (tmp_path / "export").rglob("*.jsonl"))
    assert told.count(b"canary an") == len(every)

    done = CliRunner().invoke(app_for(["erase"]), ["erase", str(shipped.file), "--subject", "an", "--go", "--json"])
    erased: dict[str, Any] = json.loads(done.output)
    held = {part["record"] for part in erased["kept"]}
    assert (erased["done"], done.exit_code, erased["not_covered"]) == (True, int(bool(held)), [])
    assert held == HELD[name]
    assert {part["record"] for part in erased["erased"]} == set(every) - held
    assert set(shipped.rows(home)) == held
