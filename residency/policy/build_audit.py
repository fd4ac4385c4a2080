"""A checked `audit:` of a deployment file in; the frozen values of `parsed_audit` out."""

from __future__ import annotations

import base64

from residency.policy import documents_audit as files
from residency.policy.build_law import term
from residency.policy.build_signals import microseconds
from residency.policy.parsed_audit import AuditDoc, DetailDoc, MirrorDoc
from residency.policy.parsed_signals import Secret

__all__ = ["audit"]


def audit(file: files.Audit, name: str) -> AuditDoc:
    """Where the audit trail lies; `name` is the deployment's, and the log's where it has none of its own."""
    mirror = file.mirror
    return AuditDoc(
        folder=file.folder,
        origin=file.origin or name,
        predecessor=file.predecessor,
        region=file.region,
        detail={
            place: DetailDoc(at.folder, None if at.seal_to is None else base64.b64decode(at.seal_to))
            for place, at in file.detail.items()
        },
        publish_every=microseconds(file.publish_every),
        max_loss=microseconds(file.max_loss),
        second_signature=file.second_signature,
        mirror=None
        if mirror is None
        else MirrorDoc(
            Secret(mirror.url),
            microseconds(mirror.every),
            None if mirror.locked is None else term(mirror.locked),
        ),
    )
