"""A folder in, the `ObjectSink` port over it out: one file per value, replaced whole or not at all.

files      names of keys, temporary files, what is told of a file: no sink, no waiting
sink       the port itself
"""

from __future__ import annotations

from residency.adapters.sink_files.sink import FilesSink

__all__ = ["FilesSink"]
