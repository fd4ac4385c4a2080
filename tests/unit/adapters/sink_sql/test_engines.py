"""What a driver raises of a connection that is cut while it is set up, told as what it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy import exc as sa_exc

from residency.adapters.sink_sql.engines import blocking_engine
from residency.adapters.sink_sql.members import Ways
from residency.adapters.sink_sql.places import place_of
from residency.errors import SinkUnavailable


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.InterfaceError("connection to people-db.example is closed"),
        sa_exc.InternalError("SHOW x", {}, Exception("people-db.example: another operation is in progress")),
        RuntimeError("people-db.example"),
    ],
)
def test_a_connection_cut_while_it_is_set_up_cannot_be_reached(tmp_path: Path, error: Exception) -> None:
    ways = Ways("people-vn", [place_of("people-vn", f"sqlite:///{tmp_path}/vn.db", tmp_path)])
    engine = blocking_engine("people-vn", ways, read_only=False)

    def cut(*_: object) -> None:
        raise error

    event.listen(engine, "connect", cut)
    with pytest.raises(SinkUnavailable, match=r"^sink 'people-vn' cannot be reached$") as told:
        engine.connect()
    assert told.value.__cause__ is None
    event.remove(engine, "connect", cut)
    with engine.connect() as connection:
        connection.rollback()
    engine.dispose()


def test_a_mistake_in_the_use_of_sqlalchemy_stays_one(tmp_path: Path) -> None:
    ways = Ways("people-vn", [place_of("people-vn", f"sqlite:///{tmp_path}/vn.db", tmp_path)])
    engine = blocking_engine("people-vn", ways, read_only=False)

    def mistake(*_: object) -> None:
        raise sa_exc.InvalidRequestError("a mistake")

    event.listen(engine, "connect", mistake)
    with pytest.raises(sa_exc.InvalidRequestError):
        engine.connect()
    engine.dispose()
