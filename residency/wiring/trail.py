"""What a deployment says of its audit in; the journal, recorder, sequencer and mirror of this process, out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from residency.adapters.detail_filer import DetailFiler
from residency.adapters.journal_files import JournalFiles
from residency.adapters.keys_files import KeysFiles
from residency.adapters.log_files import LogFiles
from residency.adapters.mirror import Mirror
from residency.adapters.sequencer import Sequencer
from residency.enforcement.ports import Clock, Entropy
from residency.enforcement.recorder import Recorder
from residency.observe.cells import Metrics
from residency.policy.compiler import Policy
from residency.policy.parsed import DeploymentDoc
from residency.wiring.details import keeping, meter_details, open_details
from residency.wiring.gauges import watch_log
from residency.wiring.mirror import meter_mirror, open_mirror

__all__ = ["Trail", "open_trail"]


@dataclass(frozen=True, slots=True)
class Trail:
    """All that records for one process; what works beside requests is started by `start`."""

    journal: JournalFiles
    recorder: Recorder
    sequencer: Sequencer
    filers: tuple[DetailFiler, ...]
    mirror: Mirror | None

    def start(self, stack: ExitStack, metrics: Metrics) -> None:
        """Start the threads, which `stack` ends, and show in `metrics` how they do."""
        if self.mirror is not None:
            self.mirror.start()
            stack.callback(self.mirror.stop)  # after the sequencer's, which publishes once more
            meter_mirror(metrics, self.mirror)
        for filer in self.filers:
            filer.start()
            stack.callback(filer.stop)
        meter_details(metrics, self.filers)
        self.sequencer.start()
        stack.callback(lambda: self.sequencer.stop((self.journal.slot, self.journal.next_seq)))
        watch_log(metrics, self.journal, self.sequencer)


def open_trail(
    stack: ExitStack,
    deployment: DeploymentDoc,
    policy: Policy,
    path_of: Callable[[str], Path],
    keys: KeysFiles,
    clock: Clock,
    entropy: Entropy,
) -> Trail:
    """Claim a journal slot and join what records; `stack` closes it again.

    Raises: JournalCorrupt, JournalFull, JournalFailed, SealError, KeysUnavailable, PolicyError for a mirror that cannot
    be.
    """
    told, audit = deployment.audit, path_of(deployment.audit.folder)
    journal = JournalFiles(audit / "journal", max_loss=told.max_loss / 1_000_000).open()
    stack.callback(journal.close)
    details, filers = open_details(stack, deployment, path_of, keys, clock, entropy)
    origin = told.origin or deployment.name
    recorder = Recorder(
        journal, clock, entropy, policy.digest, details, version=policy.version, origin=origin,
        keeping=keeping(policy, deployment),
    )  # fmt: skip
    sequencer = Sequencer(
        audit / "journal",
        LogFiles(audit / "log", alone=True),  # the sequencer's lock says so
        LogFiles(audit, alone=True),
        key=keys.signing_key("log"),
        second_key=None if told.second_signature is None else keys.ml_dsa_44_key("log"),
        origin=origin,
        interval=told.publish_every / 1_000_000,
    )
    return Trail(journal, recorder, sequencer, filers, open_mirror(deployment, audit, keys.signing_key))
