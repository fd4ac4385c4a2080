"""The `Journal` port on local disk: payloads in, records in memory-mapped segment files out."""

from residency.adapters.journal_files.journal import JournalFiles

__all__ = ["JournalFiles"]
