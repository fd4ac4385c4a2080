"""Stores and sinks: which backend takes a subject's data under a decision."""

from residency.storage.handle import StoreHandle
from residency.storage.keys import KeyMaker, check_key, uuid7
from residency.storage.objects import ObjectHandle
from residency.storage.routing import choose
from residency.storage.stores import RowSink, Stores

__all__ = ["KeyMaker", "ObjectHandle", "RowSink", "StoreHandle", "Stores", "check_key", "choose", "uuid7"]
