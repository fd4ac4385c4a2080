"""Remembered homes in the pipeline: a subject's digest in, its pin out; and every way in which a pin is set or moved.

A first pin is part of the act that sets it, whose outcome commits to it. Any other change is an act of its own, with an
intent before and an outcome after. The pin itself goes into the regional detail, so that pins which a shared store lost
can be put back from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import anyio

from residency.enforcement.ports import Clock, Entropy, Pins
from residency.enforcement.recorder import Recorder
from residency.errors import PinsUnavailable, StaleVersion, Unavailable
from residency.jurisdiction.pins import (
    Remembered,
    arrived,
    first_pin,
    leaving,
    may_move,
    moved,
    strengthened,
    widened,
)
from residency.model import Decision, Finding, Pin, Sink

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["ALSO_COVERED", "Homes"]

ALSO_COVERED: Final = "also_covered:"
"""The note of an entry on a pin that tells of more places from then on: those where somebody is about to write."""

_AT_ONCE: Final = 32  # pins asked for at the same time
_BOUND: Final = 4096  # findings and pins of which it is known that nothing follows, kept at most; cleared when full


@runtime_checkable
class ManyPins(Protocol):
    """A store of pins that takes many in one go."""

    async def put_all(self, pins: Sequence[Pin]) -> frozenset[str]:
        """As `Pins.put`, of many; the subjects whose pin was stale. Raises: PinsUnavailable."""


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
        # By the identity of the finding, which is held so that no other gets it; beside it what the pin remembers.
        self._settled: dict[int, tuple[Finding, Remembered]] = {}

    async def fetch(self, digest: str | None) -> Pin | None:
        """The newest pin of a subject (keyed digest, hex), None where there is none. Raises: PinsUnavailable."""
        if digest is None:
            return None
        pin, known = self.pins.peek(digest)
        return pin if known else await self.pins.get(digest)

    async def fetch_all(self, digests: Sequence[str | None]) -> list[Pin | None]:
        """As `fetch`, of several, in their order; some are asked for at the same time. Raises: PinsUnavailable."""
        pins: list[Pin | None] = [None] * len(digests)
        left = iter(range(len(digests)))
        failed: list[Unavailable] = []

        async def fetch() -> None:
            for number in left:
                if failed:
                    return
                try:
                    pins[number] = await self.fetch(digests[number])
                except Unavailable as error:
                    failed.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_ONCE, len(digests))):
                tasks.start_soon(fetch)
        if failed:  # as itself, and not in a group
            raise failed[0]
        return pins

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

    def is_settled(self, here: Current) -> bool:
        """Whether `strengthen` would do nothing and contradict nothing, told without waiting; False = ask it.

        What was asked before of the same finding and pin is known: one look-up.
        """
        pin = here.pin
        if pin is None:
            return False
        # One object for the same signals and pin, so that its identity stands for both.
        finding = here.point.perception.finding(here.signals, pin)
        held = self._settled.get(id(finding))
        if held is not None and held[0] is finding and (held[1] is pin.anchors or held[1] == pin.anchors):
            return True
        if may_move(pin, here.signals) or self._taught(here, pin, finding) is not None:
            return False
        if len(self._settled) >= _BOUND:
            self._settled.clear()
        self._settled[id(finding)] = finding, pin.anchors
        return True

    def _taught(self, here: Current, old: Pin, finding: Finding) -> tuple[Pin, str] | None:
        """What `old` is to be before somebody writes under `here`, and why; None = it stays."""
        now = self._clock.now()
        stronger = strengthened(old, here.signals, policy=self._policy, at=now)
        wider = widened(stronger or old, finding, policy=self._policy, at=now)
        if stronger is not None:
            return replace(stronger, anchors=(wider or stronger).anchors), "stronger_signal"
        if wider is None:
            return None
        more = dict.fromkeys(
            place for anchor, place, trust in wider.anchors if (anchor, place, trust) not in old.anchors
        )
        return wider, f"{ALSO_COVERED}{','.join(more)}"

    async def strengthen(self, here: Current) -> bool:
        """Let stronger signals move what the subject's pin remembers, and have it tell of every place under whose law
        something is about to be written; whether signals contradict it instead.

        Raises: PinsUnavailable, JournalFull, JournalFailed; then nothing may be written.
        """
        contradicted = False
        while (old := here.pin) is not None:
            taught = self._taught(here, old, here.point.perception.finding(here.signals, old))
            stronger = taught is not None and taught[1] == "stronger_signal"
            contradicted = contradicted or (not stronger and may_move(old, here.signals))
            if taught is None:
                break
            new, why = taught
            try:
                await self._change(new, why, here.decision)
                here.pin = new
            except StaleVersion:
                theirs = await self.pins.get(new.subject)
                # Without a home nobody would find what is about to be written.
                if theirs is None or theirs.version <= old.version:
                    raise PinsUnavailable("the subject's pin was forgotten at the same time") from None
                here.pin = theirs  # another request was first: what theirs does not tell of is told after it
        return contradicted

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

    def unpinned(self, subject: str, home: str, remembered: Remembered) -> Pin:
        """What the first pin of a subject (keyed digest, hex) is made from that a move finds: a pin of version 0, which
        `leave` and `arrive` put in force as version 1. It remembers what `remember` tells of the subject's finding."""
        return Pin(subject, home, remembered, self.new_alias(), "move", self._policy, self._clock.now(), 0)

    async def leave(self, pins: Sequence[Pin], target: str, source: str, why: str) -> Mapping[str, Pin]:
        """Say of each that its data is moved from place `source` to `target`: pins by subject, less those that somebody
        else has changed meanwhile. One entry tells of all: each gets its own when it arrives.

        `why` stays in the log for ever. Raises: PinsUnavailable, JournalFull, JournalFailed; some may be changed then.
        """
        if not pins:
            return {}
        self._recorder.ready()
        told = f"move: {why}, {len(pins)} subjects from {source} to {target}"
        await self._recorder.durable(self._recorder.system(told))
        now = self._clock.now()
        new = [leaving(pin, target, source, policy=self._policy, at=now) for pin in pins]
        put: dict[str, bool] = {}
        await self._put_all(new, put)
        return {pin.subject: pin for pin in new if put[pin.subject]}

    async def arrive(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """Say of each that all of its data lies at its home. Answers and raises: as `leave`."""
        now = self._clock.now()
        return await self._change_all([arrived(pin, policy=self._policy, at=now) for pin in pins], why)

    async def stay(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """Say of each that its data lies where it lay before it was to be moved. Answers and raises: as `leave`."""
        return await self.arrive([replace(pin, home=pin.moving or pin.home) for pin in pins], why)

    async def _change_all(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """As `_change`, of many, which waits for the disk twice in all."""
        if not pins:
            return {}
        await self._recorder.caught_up()
        self._recorder.ready()
        intents = [self._recorder.pin_intent(pin, f"move: {why}") for pin in pins]
        await self._recorder.durable(intents[-1][0])
        put: dict[str, bool] = {}
        try:
            await self._put_all(pins, put)
        finally:
            last = 0
            for pin, (_, intent) in zip(pins, intents, strict=True):
                known = put.get(pin.subject)  # a store that did not answer may have written it all the same
                word = "unknown" if known is None else "committed" if known else "failed"
                last = self._recorder.pin_outcome(intent, word, pin if known else None)
        await self._recorder.durable(last)
        return {pin.subject: pin for pin in pins if put[pin.subject]}

    async def _put_all(self, pins: Sequence[Pin], put: dict[str, bool]) -> None:
        """Note in `put` of whom the pin is in force now, and of whom it was stale."""
        if isinstance(self.pins, ManyPins):
            stale = await self.pins.put_all(pins)
            put |= {pin.subject: pin.subject not in stale for pin in pins}
            return
        for pin in pins:
            try:
                await self.pins.put(pin)
                put[pin.subject] = True
            except StaleVersion:
                put[pin.subject] = False

    async def _change(self, pin: Pin, why: str, decision: Decision | None) -> None:
        seq, intent = self._recorder.pin_intent(pin, why)
        word = "failed"
        try:
            await self._recorder.durable(seq)
            word = "unknown"  # a store that did not answer, or was not waited for, may have written it all the same
            await self.pins.put(pin)
        except BaseException as error:
            with suppress(Unavailable):  # the intent then stays open, and the first error is the one to tell
                self._recorder.pin_outcome(intent, "failed" if isinstance(error, StaleVersion) else word, None)
            raise
        await self._recorder.durable(self._recorder.pin_outcome(intent, "committed", pin, decision))
