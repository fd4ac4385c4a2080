"""An audit folder in; the policies and facts that are archived in it, by digest, out."""

from __future__ import annotations

import os
from collections.abc import Mapping

from residency.cli.log_folder import Read
from residency.errors import IntegrityError, PolicyError
from residency.model import FactSet, RuleRef
from residency.policy.archive import facts_path, parse_archive, parse_facts, policy_path
from residency.policy.compiler import Policy

__all__ = ["Archive"]


class Archive:
    """Policies and facts below an audit folder. `candidate` answers for its own digest, wherever its files lie."""

    def __init__(self, read: Read, candidate: Policy | None = None) -> None:
        self._read = read
        self._candidate = candidate
        self._policies: dict[str, Policy] = {}
        self.unreadable: dict[str, str] = {}

    def policy(self, digest: str) -> Policy | str | None:
        """The answer that `Replayer` asks for; what is not as it was kept is in `unreadable`."""
        if self._candidate is not None and digest == self._candidate.digest:
            return self._candidate
        data = self._read(policy_path(digest))
        if data is None:
            return None
        try:
            self._policies[digest] = parse_archive(data, digest, os.environ)
        except (PolicyError, IntegrityError) as error:
            self.unreadable[digest] = str(error)
            return str(error)
        return self._policies[digest]

    def facts(self, digest: str) -> FactSet | None:
        """The answer that `Replayer` asks for; what is not as it was kept is in `unreadable`."""
        data = self._read(facts_path(digest))
        try:
            return None if data is None else parse_facts(data, digest)
        except IntegrityError as error:
            self.unreadable[digest] = str(error)
            return None

    def rules(self) -> Mapping[str, RuleRef]:
        """Every rule of the policies that were read, by its id; the candidate's word for it stands."""
        policies = [*self._policies.values(), *([self._candidate] if self._candidate is not None else [])]
        found = {}
        for policy in policies:
            for law in policy.laws:
                for rule in law.rules:
                    ref = policy.rule(rule.id)
                    if ref is not None:
                        found[rule.id] = ref
        return found
