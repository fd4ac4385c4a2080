"""What a deployment says of its audit trail, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from residency.model.calendar import Term
from residency.policy.parsed_signals import Secret

__all__ = ["AuditDoc", "DetailDoc", "MirrorDoc"]


@dataclass(frozen=True, slots=True)
class DetailDoc:
    """Where one country's detail is kept: a folder, as written. `seal_to` is that country's public key (32 bytes): this
    instance runs elsewhere, and can spool detail for it but not read what it spooled."""

    folder: str
    seal_to: bytes | None = None


@dataclass(frozen=True, slots=True)
class MirrorDoc:
    """A store of objects that the log is shipped to every `every` microseconds; what is final there must be locked for
    `locked` at least (None = not at all)."""

    url: Secret
    every: int = 60_000_000
    locked: Term | None = None


@dataclass(frozen=True, slots=True)
class AuditDoc:
    """Where the trail lies, and how soon.

    `folder` and the folders of `detail` (by place) are paths as written; `publish_every` and `max_loss` (what a power
    cut may take of buffered entries) are in microseconds. `region` is where this instance's own disk lies, None = not
    said; `predecessor` the origin of the log that this one goes on from.
    """

    folder: str = "./residency-data/audit"
    origin: str = ""
    predecessor: str | None = None
    region: str | None = None
    detail: Mapping[str, DetailDoc] = field(default_factory=dict)
    publish_every: int = 1_000_000
    max_loss: int = 1_000_000
    second_signature: str | None = None
    mirror: MirrorDoc | None = None
