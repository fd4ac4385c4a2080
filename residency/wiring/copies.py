"""What a deployment wants copied in; outboxes, ledgers, copiers and the worker that makes the copies out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

from residency.adapters.copies_worker import CopiesWorker, StoreCopies
from residency.adapters.keys_files import KeysFiles
from residency.enforcement.point import EnforcementPoint
from residency.enforcement.ports import Clock, Entropy, ObjectSink, SinkPort
from residency.errors import SinkUnavailable, UsageError
from residency.model.place import within
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.parsed import DeploymentDoc
from residency.policy.parsed_storage import RecordDoc
from residency.storage.copied import Copied
from residency.storage.copies import Copier
from residency.storage.outbox import Target
from residency.storage.records import KeyedRecords, Records
from residency.storage.sent import Elsewhere, Sent
from residency.storage.stores import RowSink, Stores
from residency.wiring.deciding import CopyDeciding
from residency.wiring.records import engine_of, records_of

__all__ = ["Copying", "copied_in", "doubt", "noting", "outboxes_of", "sent_of", "stores_of"]

_KEY: Final = "copies"
_PREPARE: Final = "run `residency copies prepare DEPLOYMENT`"


class Running(Protocol):
    """The runtime, as far as copying needs it."""

    deployment: DeploymentDoc
    stores: Stores
    point: EnforcementPoint
    metrics: Metrics
    clock: Clock
    entropy: Entropy

    def path(self, written: str) -> Path:
        """A path as the deployment file means it."""


def outbox_of(store: str, sink: SinkPort, docs: tuple[RecordDoc, ...], clock: Clock) -> Any:
    """The outbox of a store in one of its sinks. Raises: UsageError for a sink that has none."""
    # Imported here: drivers are optional.
    if isinstance(sink, RowSink):
        from residency.adapters.records_sql.outbox import SqlOutbox

        writer, reader = (engine_of(sink, read_only=each) for each in (False, True))
        records: Any = records_of(sink, docs)
        return SqlOutbox(store, records, writer, reader)
    if isinstance(sink, ObjectSink):
        from residency.adapters.outbox_objects import ObjectOutbox

        keyed: Any = records_of(sink, docs)
        return ObjectOutbox(store, sink, keyed.name_of, now=clock.now)
    raise UsageError(f"sink {sink.name!r} holds neither rows nor objects, so that nothing of it is copied")


def ledger_of(store: str, sink: SinkPort, docs: tuple[RecordDoc, ...]) -> Any:
    """The ledger of the copies in one sink. Raises: UsageError."""
    if isinstance(sink, RowSink):
        from residency.adapters.records_sql.outbox import SqlLedger

        writer, reader = (engine_of(sink, read_only=each) for each in (False, True))
        records: Any = records_of(sink, docs)
        return SqlLedger(records, writer, reader)
    if isinstance(sink, ObjectSink):
        from residency.adapters.outbox_objects import ObjectLedger

        return ObjectLedger(sink)
    raise UsageError(f"sink {sink.name!r} holds neither rows nor objects, so that nothing is copied into it")


def sent_of(store: str, sink: SinkPort, docs: tuple[RecordDoc, ...]) -> Sent:
    """What was ever sent of a store from one of its homes. Raises: UsageError."""
    if isinstance(sink, RowSink):
        from residency.adapters.records_sql.outbox import SqlMarks

        writer, reader = (engine_of(sink, read_only=each) for each in (False, True))
        records: Any = records_of(sink, docs)
        return Sent(store, SqlMarks(records, writer, reader))
    if isinstance(sink, ObjectSink):
        from residency.adapters.outbox_objects import ObjectMarks

        return Sent(store, ObjectMarks(sink))
    raise UsageError(f"sink {sink.name!r} holds neither rows nor objects, so that nothing of it is copied")


def homes_of(deployment: DeploymentDoc, store: str) -> tuple[str, ...]:
    """The sinks of a store that are homes from which copies are made, in the order of the file."""
    wanted = set(deployment.copies[store].to)
    return tuple(
        name
        for name in deployment.stores[store]
        if deployment.sinks[name].sink.scope == "primary" and wanted - {name}
    )  # fmt: skip


def outboxes_of(deployment: DeploymentDoc, stores: Stores, clock: Clock) -> Iterator[tuple[str, str, Any, Any]]:
    """(store, sink, its outbox or None, its ledger or None) of every sink that copies are made from or in.

    Raises: UsageError.
    """
    for store, wanted in deployment.copies.items():
        docs = deployment.records[store]
        homes = homes_of(deployment, store)
        for sink in stores.sinks_of(store):
            outbox = outbox_of(store, sink, docs, clock) if sink.name in homes else None
            ledger = ledger_of(store, sink, docs) if sink.name in wanted.to else None
            if outbox is not None or ledger is not None:
                yield store, sink.name, outbox, ledger


async def doubt(deployment: DeploymentDoc, stores: Stores, store: str, home: str) -> None:
    """What was ever sent of a store from one of its homes is asked of each target's own list again.

    Raises: UsageError, SinkUnavailable.
    """
    here = next(each for each in stores.sinks_of(store) if each.name == home)
    for target in deployment.copies[store].to:
        await sent_of(store, here, deployment.records[store]).doubt(target)


def copied_in(
    deployment: DeploymentDoc, stores: Stores, store: str, sink: str, records: Records | None = None
) -> Copied | None:
    """The copies of `store` in `sink`, among those `records` (None = as copies are taken); None where it gets none.

    Raises: UsageError.
    """
    wanted = deployment.copies.get(store)
    if wanted is None or sink not in wanted.to or deployment.mode == "observe":
        return None
    docs = deployment.records[store]
    there = next(each for each in stores.sinks_of(store) if each.name == sink)
    return Copied(store, _keyed(there, docs, records), ledger_of(store, there, docs))


def stores_of(runtime: Running, *, everywhere: bool = False) -> list[StoreCopies]:
    """What makes the copies of each store, from homes that this instance may read, or `everywhere`.

    Raises: UsageError, KeysUnavailable.
    """
    deployment, found = runtime.deployment, []
    if not deployment.copies:
        return []
    key = KeysFiles(runtime.path(deployment.keys_folder), create=True).secret(_KEY)
    for store, wanted in deployment.copies.items():
        docs = deployment.records[store]
        sinks = {sink.name: sink for sink in runtime.stores.sinks_of(store)}
        targets = []
        for name in wanted.to:
            copied = Copied(store, _keyed(sinks[name], docs), ledger_of(store, sinks[name], docs))
            targets.append(Target(deployment.sinks[name].sink, copied, wanted.withdraw))
        deciding = CopyDeciding(store, lambda: runtime.point, key)
        homes = homes_of(deployment, store)
        kept = {
            name: Elsewhere(
                _keyed(sinks[name], docs),
                outbox_of(store, sinks[name], docs, runtime.clock),
                sent_of(store, sinks[name], docs),
            )
            for name in homes
        }
        place = {name: deployment.sinks[name].sink.place for name in homes}
        copiers = tuple(
            Copier(
                deployment.sinks[name].sink,
                *kept[name],
                targets,
                deciding,
                others={place[other]: each for other, each in kept.items() if place[other] != place[name]},
            )
            for name in homes
            if everywhere or _here(deployment, name)
        )
        found.append(StoreCopies(store, copiers, tuple(targets), deciding))
    return found


def _here(deployment: DeploymentDoc, sink: str) -> bool:
    """Whether this instance may read that home: one that runs elsewhere leaves it to one there."""
    region = deployment.regions.get(deployment.audit.region or "")
    return region is None or within(region.place, deployment.sinks[sink].sink.place)


def _keyed(sink: SinkPort, docs: tuple[RecordDoc, ...], records: Records | None = None) -> KeyedRecords:
    records = records_of(sink, docs) if records is None else records
    if not isinstance(records, KeyedRecords):
        raise UsageError(f"sink {sink.name!r} has no records that are found by their keys")
    return records


def noting(
    deployment: DeploymentDoc, sinks: dict[str, SinkPort], clock: Clock, entropy: Entropy
) -> dict[str, SinkPort]:
    """The sinks, those of objects that copies are made from noting each change; databases note theirs by themselves."""
    if deployment.mode == "observe":
        return sinks
    notes: dict[str, dict[str, Callable[[str], str | None]]] = {}
    for store in deployment.copies:
        homes = homes_of(deployment, store)
        for name in deployment.stores[store]:
            plain = sinks[name]
            if isinstance(plain, ObjectSink):
                here = notes.setdefault(name, {})
                if name in homes:
                    records: Any = records_of(plain, deployment.records[store])
                    here[store] = records.name_of
    if not notes:
        return sinks
    from residency.adapters.outbox_objects import NotedObjects

    made: dict[str, Any] = {
        name: NotedObjects(cast(ObjectSink, sinks[name]), here, now=clock.now, token=entropy.token)
        for name, here in notes.items()
    }
    return sinks | made


class Copying:
    """The copies of one runtime: checked and begun when it starts, ended when it closes."""

    def __init__(self, runtime: Running) -> None:
        self._runtime = runtime
        self._worker: CopiesWorker | None = None
        self.works = True
        """Whether this process makes copies in its background; commands do not."""

    async def check(self) -> None:
        """Raises: SinkUnavailable where a sink is not prepared."""
        runtime = self._runtime
        if runtime.deployment.copies and runtime.deployment.mode != "observe":
            await check(runtime.deployment, runtime.stores, runtime.clock)

    def start(self) -> None:
        """Begin to copy on the event loop that runs, once this is open. Blocks on the disk for a key.

        Raises: UsageError, KeysUnavailable.
        """
        runtime = self._runtime
        wanted = runtime.deployment.copies and runtime.deployment.mode != "observe" and self.works
        if not wanted or self._worker is not None:
            return
        holder = f"{os.getpid()}-{runtime.entropy.token(8).hex()}"
        self._worker = CopiesWorker(stores_of(runtime), holder)
        meter_copies(runtime.metrics, self._worker, runtime.clock)
        self._worker.start()

    async def stop(self) -> None:
        """End. Idempotent."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()


async def check(deployment: DeploymentDoc, stores: Stores, clock: Clock) -> None:
    """Raises: SinkUnavailable where a change could go unnoted, or a copy could pass for somebody's own record."""
    for store, sink, outbox, ledger in outboxes_of(deployment, stores, clock):
        for each in (outbox, ledger):
            missing = [] if each is None else await each.missing()
            if missing:
                what = ", ".join(missing)
                raise SinkUnavailable(f"sink {sink!r} is not prepared for the copies of {store!r} ({what}): {_PREPARE}")


def meter_copies(metrics: Metrics, worker: CopiesWorker, clock: Clock) -> None:
    """Show how outboxes stand, as last looked at."""
    for store in worker.stores:
        store.lost = _counting(metrics, store.store)
        for copier in store.copiers:
            store.lost(copier.home.name, 0)
            _meter(metrics, store, copier.home.name, clock)


def _counting(metrics: Metrics, store: str) -> Callable[[str, int], None]:
    return lambda sink, count: metrics.add(names.COPY_LOST, store, sink, by=count)


def _meter(metrics: Metrics, store: StoreCopies, sink: str, clock: Clock) -> None:
    def lag() -> float | None:
        standing = store.standing.get(sink)
        if standing is None:
            return None
        return 0.0 if standing.oldest is None else max(clock.now() - standing.oldest, 0) / 1_000_000

    def pending() -> float | None:
        standing = store.standing.get(sink)
        return None if standing is None else float(standing.pending)

    def held() -> Mapping[str, int]:
        standing = store.standing.get(sink)
        return {} if standing is None else standing.held

    metrics.gauge(names.COPY_LAG, lag, store.store, sink)
    metrics.gauge(names.COPY_PENDING, pending, store.store, sink)
    for reason in names.COPY_REASONS:
        metrics.gauge(names.COPY_HALTED, lambda reason=reason: float(held().get(reason, 0)), store.store, sink, reason)  # type: ignore[misc]  # bound by default
