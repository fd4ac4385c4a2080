"""A database's rows as records: read, written, deleted and compared by whose they are."""

from residency.adapters.records_sql.records import Spared, SqlRecords

__all__ = ["Spared", "SqlRecords"]
