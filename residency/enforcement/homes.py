"""Remembered homes in the pipeline: a subject's digest in, its pin out; and every way in which a pin is set or moved.

A first pin is part of the act that sets it, whose outcome commits to it. Any other change is an act of its own, with an
intent before and an outcome after. The pin itself goes into the regional detail, so that pins which a shared store lost
can be put back from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from residency.enforcement.ports import Clock, Entropy, Pins
from residency.enforcement.recorder import Recorder
from residency.errors import PinsUnavailable, ResidencyError, StaleVersion
from residency.jurisdiction.pins import first_pin, may_move, moved, strengthened
from residency.model import Decision, Pin, Sink

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["Homes"]


class Homes:
    """The `Pins` port as the pipeline uses it. `policy` is the digest of the policy in force."""

    def __init__(self, pins: Pins, recorder: Recorder, clock: Clock, entropy: Entropy, policy: str) -> None:
        self.pins = pins
        self.peek = pins.peek
        self.is_stale = pins.is_stale
        self._recorder = recorder
        self._clock = clock
        self._entropy = entropy
        self._policy = policy

    async def fetch(self, digest: str | None) -> Pin | None:
        """The newest pin of a subject (keyed digest, hex), None where there is none. Raises: PinsUnavailable."""
        if digest is None:
            return None
        pin, known = self.pins.peek(digest)
        return pin if known else await self.pins.get(digest)

    def new_alias(self) -> str:
        """A random stand-in for a subject, 16 bytes in hex."""
        return self._entropy.token(16).hex()

    async def pin_home(self, here: Current, sink: Sink) -> Pin | None:
        """Remember where the subject's data lies, at its first write to `sink`; the pin if it is ours.

        Where another request did so in between, theirs stands. Raises: PinsUnavailable.
        """
        digest = here.subject_digest
        if digest is None:
            return None
        pin = first_pin(
            subject=digest,
            home=sink.place,
            finding=here.decision.finding,
            alias=here.alias or self.new_alias(),
            set_by="first_write",
            policy=self._policy,
            at=self._clock.now(),
        )
        try:
            await self.pins.put(pin)
        except StaleVersion:
            theirs = await self.pins.get(digest)
            if theirs is None:
                raise PinsUnavailable("the subject's pin was set and forgotten at the same time") from None
            here.pin = theirs
            return None
        here.pin = pin
        return pin

    async def strengthen(self, here: Current) -> bool:
        """Let stronger signals move what the subject's pin remembers; whether signals contradict it instead.

        Raises: PinsUnavailable, JournalFull, JournalFailed.
        """
        old = here.pin
        if old is None:
            return False
        new = strengthened(old, here.signals, policy=self._policy, at=self._clock.now())
        if new is None:
            return may_move(old, here.signals)
        try:
            await self._change(new, "stronger_signal", here.decision)
            here.pin = new
        except StaleVersion:
            theirs = await self.pins.get(new.subject)
            if theirs is None:  # without a home nobody would find what is about to be written
                raise PinsUnavailable("the subject's pin was forgotten at the same time") from None
            here.pin = theirs  # another request was first, and nothing hangs on who was
        return False

    async def move(self, subject: str, home: str, reason: str) -> Pin:
        """Move the pin of a subject (keyed digest, hex) to the place `home`: an operator's act. One that lies there
        already is answered as it is, and nothing is done.

        `reason` stays in the log for ever and names nobody. Raises: StaleVersion (it was changed meanwhile, or there is
        none), PinsUnavailable, JournalFull, JournalFailed.
        """
        old = await self.pins.get(subject)
        if old is None:
            raise StaleVersion("the subject has no pin to move")
        if old.home == home:
            return old
        pin = moved(old, home, operator="operator", policy=self._policy, at=max(self._clock.now(), old.at))
        await self._change(pin, f"operator: {reason}", None)
        return pin

    async def _change(self, pin: Pin, why: str, decision: Decision | None) -> None:
        seq, intent = self._recorder.pin_intent(pin, why)
        await self._recorder.durable(seq)
        try:
            await self.pins.put(pin)
        except StaleVersion:
            self._recorder.pin_outcome(intent, "failed", None)
            raise
        except ResidencyError:
            # A store that did not answer may have written it all the same.
            self._recorder.pin_outcome(intent, "unknown", None)
            raise
        await self._recorder.durable(self._recorder.pin_outcome(intent, "committed", pin, decision))
