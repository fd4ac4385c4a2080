"""A store's name in, SQLAlchemy sessions that open on the right sink and record what they do out."""

from residency.adapters.session_sql.keys import check_keys, is_ranged, range_of, ranged_sequence, sequence_ddl
from residency.adapters.session_sql.selected import hidden, subject_of
from residency.adapters.session_sql.session import RoutedSession, open_session

__all__ = [
    "RoutedSession",
    "check_keys",
    "hidden",
    "is_ranged",
    "open_session",
    "range_of",
    "ranged_sequence",
    "sequence_ddl",
    "subject_of",
]
