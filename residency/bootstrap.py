"""The composition root: a deployment file in, a `Residency` runtime out. Things are built and joined only here."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from residency import wiring
from residency.adapters import prometheus
from residency.adapters.clock_system import SystemClock
from residency.adapters.entropy_system import SystemEntropy
from residency.adapters.facts_memory import FactsMemory
from residency.adapters.keys_files import KeysFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.policy_files import Loaded, PolicyFiles
from residency.adapters.policy_watch import PolicyWatch
from residency.enforcement.facts import FactKeeper
from residency.enforcement.looplock import LoopLock
from residency.enforcement.point import EnforcementPoint
from residency.enforcement.ports import Clock, Entropy, Pins
from residency.enforcement.recorder import Recorder
from residency.errors import Unavailable
from residency.model import FactSet, Finding
from residency.observe.cells import Metrics
from residency.observe.meter import DecisionMeter
from residency.policy.changes import carried_over, needs_restart, register_changes
from residency.policy.compiler import Policy
from residency.policy.parsed import DeploymentDoc
from residency.storage.stores import Stores
from residency.vault.subjects import subject_digest
from residency.wiring.copies import Copying, noting
from residency.wiring.last_good import LastGood
from residency.wiring.lifetimes import watch_over
from residency.wiring.lying import watch_places
from residency.wiring.records import stores_over
from residency.wiring.requests import meter_requests, requests_of
from residency.wiring.trail import open_trail

__all__ = ["Residency", "build"]

_log = logging.getLogger("residency")
_KEY_MARK: Final = "\0residency: which key the pins' subjects are digested with"


def build(
    policy: str | Path | Policy,
    *,
    env: Mapping[str, str] | None = None,
    keys: str | Path | None = None,
    reload: bool = True,
) -> Residency:
    """A runtime for one deployment, checked but not yet open: no file is made and no thread started.

    `policy` is the path of a deployment or of a bundle; while open, it is read anew whenever it changes if `reload`.
    Then, too, what was kept stands in where it does not hold now (`RESIDENCY_POLICY_LAST_GOOD`).
    `env` answers `${VAR}` in the file (default: the process's environment). `keys` is the file of the keys that a
    bundle must be signed by (default: what this process's `RESIDENCY_POLICY_KEYS` names).

    Raises: PolicyError with every problem, AddressDataUnavailable, KeysUnavailable.
    """
    if isinstance(policy, Policy):
        return Residency(policy)
    files, last = PolicyFiles(policy, env, keys=keys), LastGood(None if reload else {})
    return Residency(last.read(files), files=files if reload else None, last=last)


class Residency:
    """Everything one process runs for one deployment. `start` makes it work, `aclose` lets it go; both are idempotent,
    and what was let go can be started again.

    A forked child finds its copy closed and opens its own: slots, threads and connections do not survive a fork.
    """

    point: EnforcementPoint
    """The pipeline under the policy in force; there from the first `open` on. A request reads it once: each policy that
    comes into force has a point of its own, and who began under one ends under it."""

    def __init__(
        self,
        policy: Policy | Loaded,
        *,
        deployment: DeploymentDoc | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        files: PolicyFiles | None = None,
        last: LastGood | None = None,
    ) -> None:
        """`deployment` = the policy's own with other places (sinks' URLs, folders), for tests of an app. `files` are
        watched while this is open, and must just have been read; `last` keeps what comes into force."""
        self.loaded = policy if isinstance(policy, Loaded) else Loaded(policy)
        self.policy = policy = self.loaded.policy
        self._base = Path(policy.base)  # where folders of what is open lie, wherever the file moves meanwhile
        self.deployment = deployment or policy.deployment
        self.metrics = Metrics()
        self.metrics_path = self.deployment.metrics
        self.clock: Clock = clock or SystemClock()
        self.entropy: Entropy = entropy or SystemEntropy()
        self.facts = FactsMemory(policy.facts)
        self.is_open = False
        """Whether the pipeline is joined."""
        self.is_ready = False
        """Whether the sinks are started too, so that requests can be served."""
        self._lock = threading.Lock()
        self._starting = LoopLock()
        self._stack = ExitStack()
        self._pins: Pins | None = None
        self.watch = None if files is None else PolicyWatch(files, self._take, behind=self.loaded.stands_in)
        self._last = last or LastGood({})
        # What can be wrong without touching anything is found now, so that a bad set-up never begins to serve.
        wiring.check_pins(self.deployment)
        wiring.check_mirror(self.deployment)
        self.strategy = wiring.strategy_of(self.deployment.signals.client_address)
        with self._at("signals", "geoip"):
            self.network = wiring.address_data(self.deployment, self.path, self.clock.now)
        jwt = self.deployment.signals.identity.jwt
        with self._at("signals", "identity", "jwt", "jwks"):
            self.identity_keys = None if jwt is None else wiring.identity_keys(jwt, self.path, self.clock.monotonic)
        self._who = wiring.who(self.deployment)
        self.judging = wiring.judging(self.deployment, self.network, self._binds)
        """What judges where each new connection leads, by place; None where the deployment does not ask for it."""
        self.pins_elsewhere = wiring.pins_elsewhere(self.deployment, self.judging)
        """Whether an address is none that pins may lie at; None where that is not asked."""
        sinks = wiring.sinks(self.deployment, self.path, self._base, self.judging)
        self._sinks = noting(self.deployment, sinks, self.clock, self.entropy)
        self.copies = Copying(self)
        self.stores = stores_over(self._sinks, self.deployment.stores)
        watch_over(self)

    # -- life --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Claim a journal slot, start the sequencer, join the pipeline. Blocks on the disk; safe from any thread.

        Raises: Unavailable of any kind, JournalCorrupt, VerificationError, PolicyError for a policy that is older than
        what was in force here before; then nothing is left open.
        """
        with self._lock:
            if self.is_open:
                return
            with ExitStack() as stack:
                self._open(stack)
                self._stack = stack.pop_all()
            self.is_open = True

    async def start(self) -> None:
        """Open, and start every sink, so that a sink that is away is known before the server serves.

        Raises: as `open`, SinkUnavailable; the next call tries again what is missing.
        """
        if self.is_ready:
            return
        async with self._starting:  # of requests that come at once on a cold start one starts, the others wait
            if not self.is_ready:
                await anyio.to_thread.run_sync(self.open)
                await self.stores.start()
                await self.copies.check()
                # Not when opened: what is opened may be forked, while this thread imports what it needs.
                await anyio.to_thread.run_sync(self._location.start)
                self.copies.start()
                self.is_ready = self.is_open

    async def aclose(self) -> None:
        """Stop serving: integrate and publish what is recorded, release slot, threads and connections.

        A request that still runs finds its journal closed, and its acts are refused.
        """
        self.is_ready = False
        with self._lock:
            if not self.is_open:
                return
            self.is_open = False
            stack, self._stack = self._stack, ExitStack()
            pins, self._pins = self._pins, None
        # A server that is told to hurry cancels us; what is recorded is to be published all the same.
        with anyio.CancelScope(shield=True):
            await self.copies.stop()
            await self.stores.aclose()
            if pins is not None:
                await pins.aclose()
            await anyio.to_thread.run_sync(stack.close)

    def after_fork(self) -> None:
        """Hold nothing of the parent's: this is a forked child's copy."""
        self.is_open = self.is_ready = False
        self._lock = threading.Lock()
        self._starting = LoopLock()
        self._stack = ExitStack()
        # Both hold the parent's pins file. SQLite takes locks by process and file, so a connection that came with the
        # fork must be gone before this process opens the file itself.
        self._pins = None
        self.copies = Copying(self)
        self.__dict__.pop("point", None)

    def at_exit(self) -> None:
        """Publish what is recorded, where the interpreter ends in good order; after a kill the next start does it."""
        if self.is_open:
            self.is_open = self.is_ready = False
            self._stack.close()

    def render_metrics(self) -> tuple[bytes, str]:
        """The metrics page and its content type. Takes milliseconds: call it off the event loop."""
        return prometheus.render(self.metrics)

    def path(self, written: str) -> Path:
        """A path as the deployment file means it: relative to the file's own folder."""
        return self._base / written

    @asynccontextmanager
    async def reading_pins(self) -> AsyncIterator[tuple[Pins, Callable[[str], str]]]:
        """The pins and the digest that they know a subject's id by, for who only reads: nothing is opened but them, no
        key is made, and the trail does not hear of it. Raises: PinsUnavailable, KeysUnavailable."""
        keys = KeysFiles(self.path(self.deployment.keys_folder))
        subject_key = keys.secret("subjects")
        with self._at("pins", "url"):
            pins = await anyio.to_thread.run_sync(self._open_pins, keys, subject_key)
        try:
            yield pins, lambda subject: subject_digest(subject_key, subject)
        finally:
            with anyio.CancelScope(shield=True):
                await pins.aclose()

    # -- joining -----------------------------------------------------------------------------------------------

    def _open(self, stack: ExitStack) -> None:
        deployment = self.deployment
        keys = KeysFiles(self.path(deployment.keys_folder), create=True)
        self._versions = versions = wiring.Versions(self.path(deployment.audit.folder))
        versions.check(self.loaded)
        trail = open_trail(stack, deployment, self.policy, self.path, keys, self.clock, self.entropy)
        recorder = trail.recorder
        subject_key = keys.secret("subjects")
        noted = wiring.open_noted(deployment, self.path, elsewhere=self.pins_elsewhere)
        stack.callback(noted.close)
        keeper = FactKeeper(self.facts, noted, self.clock, self.policy, stale_for=deployment.pins.stale_for)
        with self._at("pins", "url"):
            keeper.load()
        self._archive(self.policy, self.facts.current())
        if (older := versions.older(self.loaded)) is not None:
            _log.warning("policy: %s; it is taken all the same, as %s says", older, wiring.ALLOW_OLDER)
        versions.note(self.loaded)
        recorder.begins(deployment.audit.predecessor)
        self._last.keep(self.loaded)
        recorder.facts(self.facts.current(), wiring.told("start", self.loaded))
        if self.strategy.warning is not None:
            _log.warning("%s", self.strategy.warning)
        # Last of all that can fail: pins are closed with an await, which is not to be had here.
        with self._at("pins", "url"):
            self._pins = pins = self._open_pins(keys, subject_key)
        trusted = wiring.trusted_ranges(deployment.signals.client_address)
        with self._at("signals", "geoip"):
            self.network.start()
        stack.callback(self.network.close)
        if self.identity_keys is not None:
            with self._at("signals", "identity", "jwt", "jwks"):
                self.identity_keys.start()
            stack.callback(self.identity_keys.stop)
        identifying = wiring.identifying(deployment, self.identity_keys, self.clock)

        def join(policy: Policy, recorder: Recorder, stores: Stores) -> EnforcementPoint:
            return EnforcementPoint(
                policy=policy,
                strategy=self.strategy,
                network=self.network,
                identifying=identifying,
                pins=pins,
                facts=self.facts,
                keeper=keeper,
                recorder=recorder,
                stores=stores,
                metrics=DecisionMeter(self.metrics),
                clock=self.clock,
                entropy=self.entropy,
                digest=lambda subject: subject_digest(subject_key, subject),
                trusted_peer=lambda host: trusted is not None and trusted.contains(host),
                who=self._who,
            )

        self._join = join
        self.point = join(self.policy, recorder, self.stores)
        trail.start(stack, self.metrics)
        keeper.told_by(self._facts_moved)
        self._location = watch_places(
            self, tell=self._tell, digest=lambda who: subject_digest(subject_key, who), judging=self.judging
        )
        stack.callback(self._location.stop)
        meter_requests(self.metrics, requests_of(deployment, self.path), self.clock.now)
        stack.enter_context(wiring.beating(keeper, deployment))
        wiring.meter_facts(self.metrics, keeper, self.facts, self.clock.now)
        wiring.meter_runtime(
            self.metrics,
            info=lambda: (self.policy.digest, self.deployment.name, str(self.loaded.version)),
            point=lambda: self.point,
            watch=self.watch,
            network=self.network,
            keys=self.identity_keys,
            journal=trail.journal,
            sequencer=trail.sequencer,
            now=self.clock.now,
        )
        if self.watch is not None:
            self.watch.start()
            stack.callback(self.watch.stop)

    def _archive(self, policy: Policy, facts: FactSet) -> None:
        """Keep what decisions are made by, so that each can be decided again. Raises: JournalFailed."""
        # Private: who approved what on which ground is for the auditor, not for everybody on the machine.
        wiring.archive(LogFiles(self.path(self.deployment.audit.folder), mode=0o600), policy, facts)

    def _tell(self, note: str) -> int:
        """Record something about this instance itself; the entry's number. Raises: JournalFull, JournalFailed."""
        return self.point.recorder.system(note)

    def _facts_moved(self, facts: FactSet, note: str) -> int:
        """Archive and record facts that are about to be in force; the entry's number. Raises: Unavailable."""
        self._archive(self.policy, facts)
        return self.point.recorder.facts(facts, note)

    def _take(self, loaded: Loaded) -> tuple[str, str]:
        """Bring a policy that was read anew into force, whole; or say why not. Runs in the watch's thread.

        Raises: JournalFull, JournalFailed; then nothing has changed.
        """
        old, new = self.policy, loaded.policy
        # 1. Is it another one, newer, and can it be applied whole?
        same = (new.digest, new.deployment, new.version) == (old.digest, old.deployment, old.version)
        if same and loaded.registers == self.loaded.registers:
            self.loaded = replace(loaded, policy=old)
            self._last.keep(self.loaded)
            return "same", ""
        older = wiring.newer_in_force(self.loaded, loaded) or self._versions.older(loaded)
        if older is not None:
            return "older", f"{older}: pack what is to come into force again under a newer version"
        problems = needs_restart(old.deployment, new.deployment)
        if problems:
            return "restart_needed", "\n".join(map(str, problems))
        # 2. All that may fail, before anything changes: tables for now, the archive, the entry that tells of it.
        stores = stores_over(self._sinks, new.deployment.stores)
        stores.misplaced, stores.locators = self.stores.misplaced, self.stores.locators
        recorder = self.point.recorder.under(new.digest, new.version, wiring.keeping(new, new.deployment))
        point = self._join(new, recorder, stores)

        def prepare(facts: FactSet) -> None:
            new.decide(None, Finding(), frozenset(), facts, self.clock.now())
            self._archive(new, facts)
            self._versions.note(loaded)
            recorder.facts(facts, wiring.told("reload", loaded))
            for note in register_changes(old.facts, new.facts):
                recorder.system(note)

        # 3. In force. Facts first: a request between the two lines is one that came before, with the facts of now.
        self.facts.change(lambda now: carried_over(old.facts, now, new.facts), prepare)
        self.point = point
        point.keeper.adopt(new)
        wiring.meter_facts(self.metrics, point.keeper, self.facts, self.clock.now)
        self.loaded, self.policy, self.stores = loaded, new, stores
        self.deployment = new.deployment
        self._last.keep(loaded)
        return "taken", str(loaded)

    def _binds(self) -> bool:
        """Whether anything is refused now."""
        return self.deployment.mode != "observe"

    @contextmanager
    def _at(self, *where: str) -> Iterator[None]:
        """What cannot be had inside is told with the line of the deployment file that asks for it."""
        try:
            yield
        except Unavailable as error:
            at = wiring.place_of(error) or where
            raise type(error)(str(self.deployment.source.problem(at, str(error)))) from error

    def _open_pins(self, keys: KeysFiles, subject_key: bytes) -> Pins:
        mark = subject_digest(subject_key, _KEY_MARK)
        return wiring.open_pins(self.deployment, self.path, keys, mark, self.clock, self.metrics, self.pins_elsewhere)
