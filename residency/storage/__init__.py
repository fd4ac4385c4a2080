"""Stores and sinks: which backend takes a subject's data under a decision."""

from residency.enforcement.ports import ObjectMeta
from residency.storage.handle import StoreHandle
from residency.storage.keys import KeyMaker, check_key, uuid7
from residency.storage.objects import ObjectHandle, ObjectReader
from residency.storage.routing import choose
from residency.storage.stores import RowSink, Stores

__all__ = [
    "KeyMaker",
    "ObjectHandle",
    "ObjectMeta",
    "ObjectReader",
    "RowSink",
    "StoreHandle",
    "Stores",
    "check_key",
    "choose",
    "uuid7",
]
