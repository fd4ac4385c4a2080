"""The shape of a deployment's `audit:`, for pydantic: plain values in, checked models and JSON Schema out."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from residency.policy.documents_signals import Strict
from residency.policy.words import BARE_FOLDER, Duration, Interval, Place, Plain, Soon, Wait

__all__ = ["Audit", "DetailPlace", "Mirror"]

_KEY: Final = "the public key of that country's keys, as `residency audit detail-key` prints it"


class DetailPlace(Strict):
    """Where the personal and statutory detail of one country is kept; a bare word is the folder."""

    folder: Plain
    seal_to: Plain | None = Field(default=None, description=_KEY)


class Mirror(Strict):
    """A store of objects that holds the log a second time, where nobody can change it."""

    url: Plain
    every: Wait = "60 s"
    locked: Duration | None = None


class Audit(Strict):
    """Where the audit trail lies, how often it is published, what a power cut may cost."""

    folder: Plain = "./residency-data/audit"
    origin: Plain | None = None
    predecessor: Plain | None = None
    region: Plain | None = None
    detail: dict[Place, Annotated[DetailPlace, BARE_FOLDER]] = Field(default_factory=dict)
    publish_every: Soon = "1 s"
    max_loss: Interval = "1 s"
    second_signature: Literal["ml-dsa-44"] | None = None
    mirror: Mirror | None = None
