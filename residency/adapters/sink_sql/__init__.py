"""A database URL in, a sink of rows out: SQLAlchemy engines for acts that read, acts that change, and set-up."""

from residency.adapters.sink_sql.sink import SqlSink

__all__ = ["SqlSink"]
