"""A sink of objects that notes its changes; its outbox, its ledger of copies, and its marks of what was sent."""

from residency.adapters.outbox_objects.beside import RESERVED, ObjectLedger, ObjectMarks
from residency.adapters.outbox_objects.notes import NotedObjects, ObjectOutbox

__all__ = ["RESERVED", "NotedObjects", "ObjectLedger", "ObjectMarks", "ObjectOutbox"]
