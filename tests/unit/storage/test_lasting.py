"""Errors that no wait mends."""

from __future__ import annotations

from residency.errors import SinkUnavailable
from residency.storage.lasting import is_lasting, lasting


def test_an_error_is_lasting_where_that_was_noted_and_stays_what_it_is() -> None:
    error = SinkUnavailable("sink 'a' has no database of the name in its URL")
    assert not is_lasting(error)
    assert lasting(error) is error
    assert is_lasting(error)
    assert str(error) == "sink 'a' has no database of the name in its URL"
