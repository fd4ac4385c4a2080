"""A pool's connection in; the same, of which SQLAlchemy alone takes the driver's own, out.

What a driver's connection or cursor is told, no session sees: neither whose rows it reads and writes, nor that it ends
the transaction. So `raw_connection()`, `pool.connect()` and a `Connection`'s own `connection` hand out something that
an app can close, and nothing else. Who asks is told by the module that the call stands in.
"""

from __future__ import annotations

import sys
from typing import Any, Final, cast

from sqlalchemy.pool import PoolProxiedConnection, _ConnectionFairy

from residency.errors import UsageError

__all__ = ["guarded"]

_OURS: Final = ("sqlalchemy.", "residency.")
_driver: Any = _ConnectionFairy.__dict__["dbapi_connection"]


def guarded(connection: PoolProxiedConnection) -> PoolProxiedConnection:
    """Keep the driver's connection within `connection`, which a pool has just handed out."""
    cast(Any, connection).__class__ = _Guarded
    return connection


class _Guarded(_ConnectionFairy):
    __slots__ = ()

    @property
    def dbapi_connection(self) -> Any:
        _check()
        return _driver.__get__(self)

    @dbapi_connection.setter
    def dbapi_connection(self, value: Any) -> None:
        _driver.__set__(self, value)

    @property
    def driver_connection(self) -> Any:  # type: ignore[override]  # as in the class above
        _check()
        return super().driver_connection

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        _check()
        return _driver.__get__(self).cursor(*args, **kwargs)

    def __getattr__(self, key: str) -> Any:
        _check()
        return getattr(_driver.__get__(self), key)


def _check() -> None:
    try:
        asks = sys._getframe(2).f_globals.get("__name__", "")
    except ValueError:  # the first call of a greenlet: `greenlet_spawn(connection.cursor)`
        asks = ""
    if not asks.startswith(_OURS):
        raise UsageError(
            "what a driver's own connection is told nobody looks at: a routed sink hands out none. Use "
            "session.connection(), whose exec_driver_sql() takes a driver's SQL"
        )
