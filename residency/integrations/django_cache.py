"""Django's cache calls in, values of the request's subject out of the cache that may hold them: a backend for `CACHES`.

    CACHES = {
        "default": {"BACKEND": "residency.integrations.django_cache.ResidencyCache", "LOCATION": "cache"},
        "everybody": {"BACKEND": "…", "LOCATION": "cache", "OPTIONS": {"shared": True}},
    }

`LOCATION` is the store. Values are the subject's own; with `shared` they are everybody's of the same home. Where no
cache may hold the data all is a miss. Outside a decided request (a command, an exempt route) it is `NoDecision`.
"""

# ruff: noqa: ASYNC109 - `timeout` is Django's own word for how long a value is kept

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from asgiref.sync import async_to_sync
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.redis import RedisSerializer

from residency.enforcement.context import current
from residency.errors import UsageError
from residency.storage.caches import CacheHandle

__all__ = ["ResidencyCache"]

_LONGEST: Final = 30 * 86_400  # seconds; Django's None is for ever, and nothing of a person's is
_KNOWN: Final = frozenset({"shared"})


class ResidencyCache(BaseCache):  # type: ignore[misc]  # Django carries no types
    """A Django cache over one store. Its sync methods are for sync views, whose thread Django itself made."""

    def __init__(self, store: str, params: Mapping[str, Any]) -> None:
        """Raises: UsageError for an option that is none, or no store."""
        super().__init__(dict(params))
        options = dict(params.get("OPTIONS") or {})
        options.pop("MAX_ENTRIES", None)
        options.pop("CULL_FREQUENCY", None)
        if not store or set(options) - _KNOWN:
            raise UsageError(
                "a cache of Django's names its store as LOCATION, and has the option `shared` and no other"
            )
        self._store = store
        self._shared = options.get("shared", False) is True
        self._serializer = RedisSerializer()

    # -- async -------------------------------------------------------------------------------------------------

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """The value, or `default`."""
        found = await self._handle.get(self._key(key, version), shared=self._shared)
        return default if found is None else self._serializer.loads(found)

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """What there is of these, in one round trip."""
        named = {self._key(key, version): key for key in keys}
        found = await self._handle.get_many(list(named), shared=self._shared)
        return {named[key]: self._serializer.loads(value) for key, value in found.items()}

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Keep `value`; one whose time is 0 or less is removed."""
        await self.aset_many({key: value}, timeout, version)

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> list[Any]:
        """Keep these; those that were not kept."""
        ttl = self._ttl(timeout)
        if ttl is None:
            await self.adelete_many(data, version)
            return []
        values = {self._key(key, version): self._bytes(value) for key, value in data.items()}
        return [] if await self._handle.set_many(values, ttl, shared=self._shared) else list(data)

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Keep `value` unless there is one; whether it was kept."""
        ttl = self._ttl(timeout)
        if ttl is None:
            return not await self.ahas_key(key, version)
        return await self._handle.add(self._key(key, version), self._bytes(value), ttl, shared=self._shared)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Keep what is there for so long from now; whether there is something."""
        ttl = self._ttl(timeout)
        if ttl is None:
            return await self.adelete(key, version)
        return await self._handle.touch(self._key(key, version), ttl, shared=self._shared)

    async def adelete(self, key: Any, version: Any = None) -> bool:
        """Remove it; whether there was one."""
        return await self._handle.delete(self._key(key, version), shared=self._shared) > 0

    async def adelete_many(self, keys: Iterable[Any], version: Any = None) -> None:
        """Remove these."""
        await self._handle.delete(*(self._key(key, version) for key in keys), shared=self._shared)

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """Whether there is a value."""
        return await self._handle.get(self._key(key, version), shared=self._shared) is not None

    async def aincr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """Add to a number that is there. Raises: ValueError where none is, as Django has it."""
        if not await self.ahas_key(key, version):
            raise ValueError("there is no number to count on")
        ttl = self._ttl(DEFAULT_TIMEOUT) or _LONGEST
        found = await self._handle.incr(self._key(key, version), delta, ttl, shared=self._shared)
        if found is None:
            raise ValueError("there is no number to count on")
        return found

    async def adecr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """Take from a number that is there. Raises: as `aincr`."""
        return await self.aincr(key, -delta, version)

    async def aclear(self) -> None:
        """Forget all that is kept of the request's subject. Raises: UsageError where values are shared."""
        if self._shared:
            raise UsageError("a shared cache is cleared on its server: requests may not take away what is others'")
        await self._handle.forget()

    # -- sync --------------------------------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As `aget`."""
        return async_to_sync(self.aget)(key, default, version)

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """As `aget_many`."""
        return async_to_sync(self.aget_many)(keys, version)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """As `aset`."""
        async_to_sync(self.aset)(key, value, timeout, version)

    def set_many(self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> list[Any]:
        """As `aset_many`."""
        return async_to_sync(self.aset_many)(data, timeout, version)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `aadd`."""
        return async_to_sync(self.aadd)(key, value, timeout, version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `atouch`."""
        return async_to_sync(self.atouch)(key, timeout, version)

    def delete(self, key: Any, version: Any = None) -> bool:
        """As `adelete`."""
        return async_to_sync(self.adelete)(key, version)

    def delete_many(self, keys: Iterable[Any], version: Any = None) -> None:
        """As `adelete_many`."""
        async_to_sync(self.adelete_many)(keys, version)

    def has_key(self, key: Any, version: Any = None) -> bool:
        """As `ahas_key`."""
        return async_to_sync(self.ahas_key)(key, version)

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As `aincr`."""
        return async_to_sync(self.aincr)(key, delta, version)

    def decr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As `adecr`."""
        return async_to_sync(self.adecr)(key, delta, version)

    def clear(self) -> None:
        """As `aclear`."""
        async_to_sync(self.aclear)()

    # -- inside ------------------------------------------------------------------------------------------------

    @property
    def _handle(self) -> CacheHandle:
        handle = current().store(self._store)
        if not isinstance(handle, CacheHandle):
            raise UsageError(f"store {self._store!r} is no cache")
        return handle

    def _key(self, key: Any, version: Any) -> str:
        return cast(str, self.make_key(key, version))

    def _bytes(self, value: Any) -> bytes:
        made = self._serializer.dumps(value)
        return b"%d" % made if isinstance(made, int) else bytes(made)

    def _ttl(self, timeout: Any) -> float | None:
        """Seconds to keep something for; None = not at all."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return float(_LONGEST)
        return min(float(timeout), float(_LONGEST)) if timeout > 0 else None
