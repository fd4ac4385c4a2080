"""Act as a person in an app's own tests, and see where their data went.

    from residency.testing import Kit, person

    def test_a_vietnamese_post_stays_home(tmp_path):
        with Kit(app, "policies/deployments/social-api.yaml", tmp_path) as kit:
            lan = kit.client(person("VN", subject="lan", verified="phone"))
            assert lan.post("/v1/posts", json={"text": "xin chào"}).status_code == 201
            assert kit.went("people") == ["people-vn"]

The kit runs the real pipeline on the app's real policy: real addresses of the country, real signed tokens, the real
journal. It only moves what the deployment would touch into `folder`: sinks, keys, pins, audit, and the token key.
The pytest plugin gives the same as the fixture `residency_kit`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from anyio.from_thread import BlockingPortal
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from residency.adapters import policy_files
from residency.adapters.mmdb import embedded_table
from residency.asgi.middleware import ResidencyMiddleware
from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import Residency
from residency.errors import UsageError
from residency.model.place import COUNTRIES
from residency.policy.parsed import DeploymentDoc
from residency.policy.parsed_signals import ClientAddressDoc, GeoipDoc, JwtDoc, PinsDoc, Secret
from residency.signals.identity import ClaimMap

__all__ = ["Kit", "Person", "Went", "person"]

T = TypeVar("T")
_THIS_MACHINE: Final = re.compile(r"https?://(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?(?:[/#]|$)")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who calls the app: from an address of `country`, with a token if `subject` is given."""

    country: str
    subject: str | None = None
    verified: tuple[str, ...] = ()
    citizenship: str | None = None
    residence: str | None = None
    age: int | None = None

    @property
    def address(self) -> str:
        """A public address that the embedded table puts in `country`."""
        return address_in(self.country)


def person(
    country: str,
    *,
    subject: str | None = None,
    verified: str | Sequence[str] = (),
    citizenship: str | None = None,
    residence: str | None = None,
    age: int | None = None,
) -> Person:
    """Somebody at an address of `country`. `verified` is by what: phone, national_id, eid.

    Anything that a token says needs a subject; it is "somebody" where none is given.
    """
    by = (verified,) if isinstance(verified, str) else tuple(verified)
    if subject is None and (by or citizenship or residence or age is not None):
        subject = "somebody"
    return Person(country, subject, by, citizenship, residence, age)


@dataclass(frozen=True, slots=True)
class Went:
    """One act as the journal has it: what was done, where, under which rules, and how it ended (None = still open)."""

    store: str
    sink: str
    region: str
    operation: str
    outcome: str | None
    rules: tuple[str, ...]
    jurisdictions: tuple[str, ...]


class Kit:
    """An app under its own policy, with everything it writes below `folder`. A context manager.

    Entering it runs the app's lifespan, leaving it ends that. All clients share the one event loop it runs in, as
    under a server; entering a client does nothing more.
    """

    def __init__(self, app: ASGIApp, policy: str | Path, folder: Path, *, env: Mapping[str, str] | None = None) -> None:
        """Raises: PolicyError. `env` answers `${VAR}`; what it lacks is filled with places below `folder`."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ECKey.generate_key("P-256", {"kid": "residency-testing", "use": "sig", "alg": "ES256"})
        self._jwks = folder / "jwks.json"
        self._jwks.write_text(json.dumps(KeySet([self._key]).as_dict(private=False)))
        loaded = policy_files.load(Path(policy), _Anything(env or {}, folder))
        self._deployment = self._moved(loaded.deployment)
        self.runtime = Residency(loaded, deployment=self._deployment)
        self._jwt = loaded.deployment.signals.identity.jwt
        self._given = app
        self._stack = ExitStack()
        self._server: TestClient | None = None
        self.app: ASGIApp = app

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.app = self._wrapped(stack)
            self._server = stack.enter_context(TestClient(self.app))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server = None
        self._stack.close()

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an async `function` in the event loop that the app runs in: set-up, such as creating tables."""
        return self._portal().call(function, *args)

    def _portal(self) -> BlockingPortal:
        if self._server is None or self._server.portal is None:
            raise UsageError("the kit is a context manager: enter it first")
        return self._server.portal

    def client(self, who: Person, **options: Any) -> TestClient:
        """A test client that calls as `who`. Further options go to Starlette's TestClient."""
        headers = dict(options.pop("headers", {}))
        if who.subject is not None:
            if self._jwt is None:
                raise UsageError("a person with a subject needs `signals.identity.jwt` in the deployment")
            bearer = "Bearer " if self._jwt.header == "authorization" else ""
            headers[self._jwt.header] = bearer + self.token(who)
        forwarded, peer = _passed_on(who.address, self._deployment.signals.client_address)
        headers |= forwarded
        client = _Client(self.app, client=(peer, 50_000), headers=headers, **options)
        client.portal = self._portal()
        self._stack.callback(client.close)
        return client

    def token(self, who: Person) -> str:
        """A signed token with the claims of `who`, named as the deployment names them."""
        named = self._jwt or JwtDoc(jwks="")
        claims: dict[str, Any] = {named.subject: who.subject, "exp": int(time.time()) + 3600}
        if named.issuer is not None:
            claims["iss"] = named.issuer
        if named.audience is not None:
            claims["aud"] = named.audience
        words = ClaimMap(**named.claims)
        said: dict[str, object] = {
            words.citizenship: who.citizenship,
            words.residence: who.residence,
            words.verified_by: list(who.verified) or None,
            words.age: who.age,
        }
        claims |= {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": "ES256", "kid": "residency-testing"}, claims, self._key)

    def entries(self) -> list[Entry]:
        """Every audit entry recorded so far, in order per worker slot."""
        found = []
        audit = self.runtime.path(self._deployment.audit.folder)
        for segment in sorted((audit / "journal").glob("*/*.seg")):
            found += [parse_entry(bytes(r.payload)) for r in scan(segment.read_bytes(), RECORDS_AT, None).records]
        return found

    def acts(self, store: str | None = None) -> list[Went]:
        """Every act so far, on `store` or on all of them."""
        entries = self.entries()
        outcomes = {entry.of: entry.act for entry in entries if entry.kind == "outcome"}
        return [
            Went(e.store, e.sink or "", e.region or "", e.operation or "", outcomes.get(e.id), e.rules, e.jurisdictions)
            for e in entries
            if e.kind == "intent" and e.store is not None and store in (None, e.store)
        ]

    def went(self, store: str) -> list[str]:
        """The sinks that committed acts on `store` used, in order."""
        return [act.sink for act in self.acts(store) if act.outcome == "committed"]

    def refusals(self) -> list[tuple[str, tuple[str, ...]]]:
        """(reason, rule ids) of everything refused so far."""
        return [(entry.reason or "", entry.rules) for entry in self.entries() if entry.kind == "refusal"]

    def _moved(self, deployment: DeploymentDoc) -> DeploymentDoc:
        """The same deployment with every place it touches below the kit's folder."""
        services = {sink for called in deployment.http.values() for sink in deployment.stores.get(called, ())}
        sinks = {
            # Further ways to a sink's data lead to where the real data lies.
            name: replace(sink, url=_local(sink.url) if name in services else self._url(name, sink.url), members=())
            for name, sink in deployment.sinks.items()
        }
        identity = deployment.signals.identity
        if identity.jwt is not None:
            identity = replace(identity, jwt=replace(identity.jwt, jwks=str(self._jwks), algorithms=("ES256",)))
        # What lies in networks of a class stays so; the table of it is the kit's own.
        geoip = GeoipDoc(tables=str(self.folder / "address"))
        detail = {
            place: replace(kept, folder=str(self.folder / "detail" / place))
            for place, kept in deployment.audit.detail.items()
        }
        return replace(
            deployment,
            sinks=sinks,
            signals=replace(deployment.signals, identity=identity, geoip=geoip),
            audit=replace(deployment.audit, folder=str(self.folder / "audit"), detail=detail),
            keys_folder=str(self.folder / "keys"),
            pins=PinsDoc(Secret(f"sqlite:///{self.folder / 'pins.db'}")),
        )

    def _url(self, name: str, url: Secret) -> Secret:
        written = url.reveal()
        scheme = written.partition(":")[0].partition("+")[0]
        if written == "memory:cache" or scheme in ("redis", "rediss", "valkey", "valkeys", "unix"):
            return Secret("memory:cache")
        objects = scheme in ("file", "memory", "s3", "gs", "az")
        return Secret(f"file://{self.folder / name}" if objects else f"sqlite+aiosqlite:///{self.folder / name}.db")

    def _wrapped(self, stack: ExitStack) -> ASGIApp:
        """The app with the kit's runtime in place of its own, until `stack` ends; wrapped where it has none of ours."""
        app = self._given
        middleware = getattr(app, "user_middleware", [])
        for index, item in enumerate(middleware):
            if item.cls is ResidencyMiddleware:
                stack.callback(_put, app, index, item)
                _put(app, index, type(item)(ResidencyMiddleware, policy=self.runtime))
                return app
        if isinstance(app, ResidencyMiddleware):
            app = app.app
        return ResidencyMiddleware(app, policy=self.runtime)


def _local(url: Secret) -> Secret:
    """A service's URL where it is one of this machine, as of a server that the test started; else one that leads
    nowhere, for a test sends nobody's prompt to a real model."""
    return url if _THIS_MACHINE.match(url.reveal()) else Secret("http://127.0.0.1:9/")


def _passed_on(address: str, doc: ClientAddressDoc) -> tuple[dict[str, str], str]:
    """The headers and the peer of a request from `address`, as the deployment's proxies would pass it on."""
    if doc.strategy in ("peer", "server"):
        return {}, address
    if not doc.trusted and doc.unix:
        raise UsageError(
            "a proxy on a unix socket cannot be acted: give `trusted` ranges too, or test with another file"
        )
    proxy = doc.trusted[0].partition("/")[0] if doc.trusted else "127.0.0.1"
    hops = [address, *[proxy] * ((doc.count or 1) - 1)]
    if doc.header == "forwarded":
        hops = [f'for="[{hop}]"' if ":" in hop else f"for={hop}" for hop in hops]
    return {doc.header or "x-forwarded-for": ", ".join(hops)}, proxy


def _put(app: Any, index: int, middleware: Any) -> None:
    app.user_middleware[index] = middleware
    app.middleware_stack = None  # Starlette builds it anew


class _Client(TestClient):
    """A client of the kit's one app: the lifespan is the kit's."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: Any) -> None:
        pass


class _Anything(Mapping[str, str]):
    """An environment in which every variable has a value: given, or a place below the kit's folder."""

    def __init__(self, given: Mapping[str, str], folder: Path) -> None:
        self._given = given
        self._folder = folder

    def __getitem__(self, key: str) -> str:
        return self._given.get(key, str(self._folder / key.lower()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]


@cache
def address_in(country: str) -> str:
    """An address that the embedded table puts in `country`, always the same. Raises: UsageError."""
    if country not in COUNTRIES:
        raise UsageError(f"{country!r} is no country code such as VN")
    if (address := embedded_table().somewhere_in(country)) is not None:
        return address
    raise UsageError(f"the embedded table has no network in {country!r}")
