"""A deployment and the laws in force for it in; where its regional detail goes, for how long, and who files it, out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from residency.adapters.detail_filer import DetailFiler, moments
from residency.adapters.detail_files import DetailFiles, journal_records, open_sealed, turn_over
from residency.adapters.detail_store import DetailStore
from residency.adapters.journal_files import JournalFiles
from residency.audit.detail_head import Head
from residency.audit.detail_terms import Keeping
from residency.enforcement.ports import Clock, Entropy, Keys
from residency.errors import ResidencyError, SealError
from residency.model import Retention
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.compiler import Policy
from residency.policy.parsed import DeploymentDoc
from residency.vault.hpke import HomeBox

__all__ = ["detail_key", "detail_rows", "detail_store", "keeping", "meter_details", "open_details"]

_log = logging.getLogger("residency")
_SEGMENT: Final = 16 * 1024 * 1024
PathOf = Callable[[str], Path]


def keeping(policy: Policy, deployment: DeploymentDoc) -> Keeping:
    """Where the details of `deployment` lie, and which law asks which retention of them."""
    region = deployment.audit.region
    here = deployment.regions[region].place if region is not None else ""
    places = {country: country if kept.seal_to is None else here for country, kept in deployment.audit.detail.items()}
    owners: dict[Retention, frozenset[str]] = {}
    for law in policy.laws:
        for rule in law.rules:
            for retention in rule.duty.retain:
                owners[retention] = owners.get(retention, frozenset()) | {law.jurisdiction}
    return Keeping(places, owners, {law.jurisdiction: law.calendar for law in policy.laws})


def open_details(
    stack: ExitStack, deployment: DeploymentDoc, path_of: PathOf, keys: Keys, clock: Clock, entropy: Entropy
) -> tuple[DetailFiles | None, tuple[DetailFiler, ...]]:
    """Where details are recorded, None where the deployment keeps none; and who files them, not started.

    `stack` closes the journals. Raises: JournalCorrupt, JournalFull, JournalFailed, SealError.
    """
    journals: dict[str, JournalFiles] = {}
    filers = []
    boxes = {}
    for country, kept in deployment.audit.detail.items():
        folder = path_of(kept.folder)
        journal = JournalFiles(
            folder / "journal", segment_bytes=_SEGMENT, max_loss=deployment.audit.max_loss / 1_000_000
        ).open()
        journals[country] = journal
        stack.callback(journal.close)
        if kept.seal_to is not None:
            boxes[country] = HomeBox(kept.seal_to, entropy.token)

        def turn(journal: JournalFiles = journal) -> None:
            turn_over(journal, _SEGMENT)

        store = detail_store(folder)
        if kept.seal_to is None:
            _tell_lost_key(country, store, keys)
        filers.append(DetailFiler(folder, store, moments(clock), slot=journal.slot, turn_over=turn))
    if not journals:
        return None, ()
    return DetailFiles(journals, lambda country: detail_key(keys, country), entropy.token, boxes), tuple(filers)


def meter_details(metrics: Metrics, filers: Sequence[DetailFiler]) -> None:
    """Show how many of these cannot file now, and how far the clock is from the time that they count."""

    def apart() -> float:
        return max((filer.apart for filer in filers), key=abs, default=0) / 1_000_000

    metrics.gauge(names.DETAIL_FILING_FAILING, lambda: float(sum(filer.problem is not None for filer in filers)))
    metrics.gauge(names.DETAIL_CLOCK_APART, apart)


def _tell_lost_key(country: str, store: DetailStore, keys: Keys) -> None:
    """Say it where what is kept opens no more: a key that is missing is made anew, and nobody would hear of it."""
    try:
        for head, sealed in store.rows():
            open_sealed(country, head, sealed, detail_key(keys, country))
            break
    except SealError:
        _log.error(
            "details of %s that were kept before do not open under detail-%s.secret: bring their key back, or they are "
            "lost",
            country,
            country.lower(),
        )
    except ResidencyError:
        return  # who files and who records say it, and are refused


def detail_store(folder: Path) -> DetailStore:
    """The store of the country whose detail lies in `folder`."""
    return DetailStore(folder / "details.db")


def detail_rows(folder: Path, **asked: Any) -> Iterator[tuple[Head, bytes]]:
    """Every (head, sealed detail) of the country whose detail lies in `folder`: of what is filed, what
    `DetailStore.rows` answers to `asked`; and all that is not filed yet. What is filed meanwhile comes twice.

    Raises: JournalCorrupt, JournalFailed.
    """
    store = detail_store(folder)
    # In this order: what is filed in between is in the store by the time it is read.
    filed = store.cursors()
    yield from journal_records(folder, filed)
    yield from store.rows(**asked)


def detail_key(keys: Keys, country: str) -> bytes:
    """The key that a country's detail is sealed to. Raises: KeysUnavailable."""
    return keys.secret(f"detail-{country.lower()}")
