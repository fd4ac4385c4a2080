"""What happens without a request's decision behind it in; its journal entries out.

A request that is exempt or refused before it is decided, facts and an instance's own news, an operator's acts: their
entries say little, and all of it is filled in here. Entries that a decision is behind are `enforcement.recorder`'s.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from residency.audit.entry import Entry, EntryTemplate, entry_id, format_entry
from residency.audit.fleet import FIRST_ENTRY, format_begins
from residency.enforcement.plans import PLACEHOLDER_ID
from residency.enforcement.ports import Clock
from residency.enforcement.slot import Slot
from residency.model import FactSet, Reason
from residency.policy.archive import facts_digest

__all__ = ["BareRecorder"]

_BOUND: Final = 4096  # templates kept at most; cleared when full


class BareRecorder:
    """Writes entries into one worker slot's journal. Safe to call from several threads of one process."""

    def __init__(self, slot: Slot, clock: Clock, policy: str, version: int) -> None:
        """`policy` is the digest (hex) of what its entries are decided by, `version` that of its bundle."""
        self._slot = slot
        self._lock = slot.lock
        self._journal = slot.journal
        self._number = slot.journal.slot
        self._clock = clock
        self._now = clock.now
        self._policy = policy
        self._version = version
        self._templates: dict[tuple[str | None, ...], EntryTemplate] = {}

    @property
    def open_intents(self) -> int:
        """Acts of this process whose outcome is not recorded yet, under whichever policy."""
        return len(self._slot.opened)

    @property
    def oldest_intent(self) -> int | None:
        """When the oldest of these was recorded (microseconds, UTC); None where there is none."""
        return next(iter(tuple(self._slot.opened.values())), None)

    def id_of(self, seq: int) -> str:
        """The id of the slot's entry number `seq`."""
        return entry_id(self._number, seq)

    def refused_request(self, activity: str | None, mode: str, reason: Reason) -> int:
        """Record a request refused before it could be decided (an ambiguous path, a rewritten peer)."""
        return self._plain("refusal", "deny", activity, mode, reason.value, None)

    def unread_request(self, mode: str, reason: Reason) -> int:
        """Record a request that an observing deployment lets pass undecided, though enforcing would refuse it."""
        return self._plain("decision", "deny", None, mode, reason.value, None)

    def exempt(self, activity: str, mode: str) -> int:
        """Record a request to an exempt route, named `activity` as the deployment writes it."""
        return self._plain("decision", "permit", activity, mode, None, "exempt")

    def begins(self, predecessor: str | None) -> None:
        """Record, where this is the instance's first entry, the log it goes on from (`none` = none, None = not said).

        A power cut that takes it leaves an instance that has not begun: the next start records it anew.
        """
        if entry_id(self._number, self._journal.next_seq) == FIRST_ENTRY:
            self.system(format_begins(predecessor))

    def system(self, note: str) -> int:
        """Record something about the instance itself."""
        return self._plain("system", None, None, "enforce", None, note)

    def facts(self, facts: FactSet, note: str = "facts") -> int:
        """Record what `facts.epoch` stands for from here on; before the first decision on them. Its sequence number.

        A decision whose epoch no entry of its slot named before cannot be recomputed from the log.
        """
        digest = facts_digest(facts)
        with self._lock:
            entry = self.entry("system", entry_id(self._number, self._journal.next_seq), self._now(), epoch=facts.epoch,
                               facts=digest, note=note)  # fmt: skip
            return self._journal.append(format_entry(entry))

    def entry(self, kind: str, own: str = PLACEHOLDER_ID, at: int = 0, **said: Any) -> Entry:
        """An entry of `kind` under this recorder's policy, with what is `said` in its other fields."""
        of = PLACEHOLDER_ID if kind == "outcome" else None
        return Entry(id=own, kind=kind, at=at, policy=self._policy, policy_version=self._version, of=of, **said)

    def act(self, entry: Entry, alias: str | None, of: str | None) -> tuple[int, str]:
        """Record an intent, or the outcome of intent `of`, as `entry` tells of it; (sequence number, entry id). `alias`
        = the subject's stand-in, where it is one person's data."""
        template = EntryTemplate(entry)
        with self._lock:
            own, now = entry_id(self._number, self._journal.next_seq), self._now()
            seq = self._journal.append(template.fill(id=own, at=now, subject=alias, of=of))
            if of is None:
                self._slot.opened[seq] = now
            else:
                self._slot.closed(of)
        return seq, own

    def is_durable(self, seq: int) -> bool:
        """Whether entry `seq` is known to survive a power cut, told without waiting. Raises JournalFailed."""
        return self._slot.is_durable(seq)

    def soon(self) -> None:
        """Begin to make all that is recorded by now durable: whoever waits for it later waits less."""
        self._slot.soon()

    def durable(self, seq: int) -> Coroutine[Any, Any, None]:
        """To be awaited: done once entry `seq` survives a power cut. Raises JournalFailed."""
        return self._slot.durable(seq)  # no coroutine of its own: hundreds may wait at once

    async def caught_up(self) -> None:
        """Wait until all that is recorded by now survives a power cut. Raises: JournalFailed."""
        await self._slot.durable(self._journal.next_seq - 1)

    def _plain(
        self, kind: str, effect: str | None, activity: str | None, mode: str, reason: str | None, note: str | None
    ) -> int:
        key = (kind, effect, activity, mode, reason, note)
        template = self._templates.get(key) or self._kept(
            key, self.entry(kind, effect=effect, activity=activity, mode=mode, reason=reason, note=note)
        )
        with self._lock:
            own = entry_id(self._number, self._journal.next_seq)
            return self._journal.append(template.fill(id=own, at=self._now()))

    def _kept(self, key: tuple[str | None, ...], entry: Entry) -> EntryTemplate:
        """The template of `entry`, to be found under `key` from now on."""
        if len(self._templates) >= _BOUND:
            self._templates.clear()
        template = self._templates[key] = EntryTemplate(entry)
        return template
