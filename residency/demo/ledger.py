"""What the demo sent and what came back, in; `claims.json` out: the statement that the independent checker tests.

Nothing is taken back: a request is claimed before it is sent, and what is known of its end is added when it is known.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from residency.demo.traffic import Person

__all__ = ["Ledger"]

Claim = dict[str, Any]


class Ledger:
    """All claims of one run. `folder` is the demo's; places within are said relative to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.people: dict[str, Claim] = {}
        self.requests: list[Claim] = []
        self.scenes: list[Claim] = []
        self.kill: Claim | None = None
        self._answers = 0

    def know(self, person: Person) -> None:
        """Take a person in: place by the table, citizenship as they will declare it."""
        self.people[person.key] = {**asdict(person), "id": None, "alias": None}

    def signed_up(self, person: Person, record: str, alias: str) -> None:
        """The id the app gave, and the alias under which the log knows the person."""
        self.people[person.key].update(id=record, alias=alias)

    def send(
        self,
        kind: str,
        activity: str,
        person: Person,
        *,
        table: str,
        mark: str,
        forged: str | None = None,
        twin: int | None = None,
    ) -> Claim:
        """Claim a request that is about to be sent. `mark` is text that only this request's row can hold."""
        claim: Claim = {
            "n": len(self.requests) + 1,
            "kind": kind,
            "activity": activity,
            "person": person.key,
            "table": table,
            "mark": mark,
            "forged": forged,
            "twin": twin,
            "outcome": "unknown",
            "answered": None,
            "status": None,
            "record": self.people[person.key]["id"] if table in ("people", "subscriptions") else None,
            "alias": self.people[person.key]["alias"],
            "reason": None,
            "rules": [],
        }
        self.requests.append(claim)
        return claim

    def acknowledged(self, claim: Claim, status: int, record: str, alias: str) -> None:
        """The server said that it is done."""
        claim.update(outcome="acknowledged", answered=self._answer(), status=status, record=record, alias=alias)

    def refused(self, claim: Claim, status: int, reason: str, rules: list[str]) -> None:
        """Residency refused it, with a reason and rules."""
        claim.update(outcome="refused", answered=self._answer(), status=status, reason=reason, rules=rules)

    def rejected(self, claim: Claim, status: int) -> None:
        """The app itself said no, for reasons of its own."""
        claim.update(outcome="rejected", answered=self._answer(), status=status)

    def killed(self) -> int:
        """The server is about to be killed; how many answers had come by now."""
        self.kill = {"answers_before": self._answers}
        return self._answers

    def count(self, outcome: str) -> int:
        """How many requests ended so."""
        return sum(claim["outcome"] == outcome for claim in self.requests)

    def write(self, databases: dict[str, str], sinks: dict[str, str], log: Path) -> Path:
        """Write `claims.json`, whole or not at all; its path."""
        document = {
            "version": 1,
            "places": {"log": str(log.relative_to(self.folder)), "databases": databases, "sinks": sinks},
            "people": self.people,
            "requests": self.requests,
            "kill": self.kill,
            "scenes": self.scenes,
        }
        path = self.folder / "claims.json"
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)  # it names people and where they were
        temporary.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
        temporary.replace(path)
        return path

    def _answer(self) -> int:
        self._answers += 1
        return self._answers
