"""A bucket of S3, Google Cloud Storage or Azure in, the `ObjectSink` port over it out, through obstore.

urls       what a sink's URL says, and the client that it makes
upload     one value on its way, in parts: all of it or none
sink       the port itself
"""

from __future__ import annotations

from residency.adapters.sink_objects.sink import BucketSink

__all__ = ["BucketSink"]
