"""In: a folder on the command line, and two URLs of databases, which are SQLite files where none are given. Out: what a
real Django project did there with routed models and caches, as JSON.

A process of its own, for Django's settings are one to a process.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

FOLDER = Path(sys.argv[1])
URLS = sys.argv[2:] or ["sqlite:///sg.db", "sqlite:///vn.db"]
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.world import write_deployment  # noqa: E402 - found by the line above

DEPLOYMENT = """
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  cache-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  cache-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [people-sg, people-vn], cache: [cache-sg, cache-vn]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "GET /people", subject: app, data: [personal], store: people}
  - {route: "POST /async", subject: app, data: [personal], store: people}
  - {route: "POST /around", subject: app, data: [personal], store: people}
  - {route: "POST /bad", subject: app, data: [personal], store: people}
  - {route: "GET /fetch", subject: app, data: [personal], store: people}
  - {route: "POST /moved", subject: app, data: [personal], store: people}
  - {route: "POST /cache", subject: app, data: [personal], store: cache}
"""

POLICY = write_deployment(
    FOLDER, DEPLOYMENT, replace=list(zip(("sqlite:///sg.db", "sqlite:///vn.db"), URLS, strict=True))
)

from django.conf import settings  # noqa: E402

from residency.integrations.django import StoreCache, StoreRouter, databases, unit  # noqa: E402

urls = ModuleType("people_urls")
sys.modules["people_urls"] = urls
local = "django.core.cache.backends.locmem.LocMemCache"
settings.configure(
    SECRET_KEY="only a test's", ALLOWED_HOSTS=["*"], ROOT_URLCONF="people_urls", LOGGING_CONFIG=None,
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FOLDER / "default.db")}, **databases(POLICY)
    },
    DATABASE_ROUTERS=["residency.integrations.django.StoreRouter"],
    RESIDENCY_STORES={"people": ["people_app.Person"]},
    CACHES={
        "default": {"BACKEND": "residency.integrations.django.StoreCache", "LOCATION": "cache"},
        "cache-vn": {"BACKEND": local, "LOCATION": "vn"}, "cache-sg": {"BACKEND": local, "LOCATION": "sg"},
    },
)  # fmt: skip
import django  # noqa: E402

django.setup()

import httpx  # noqa: E402
from asgiref.sync import async_to_sync, sync_to_async  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.cache import cache, caches  # noqa: E402
from django.db import IntegrityError, connections, models, transaction  # noqa: E402
from django.db.models.functions import Cast  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from residency import ResidencyMiddleware, build, identify  # noqa: E402
from residency.audit.entry import parse_entry  # noqa: E402
from residency.audit.journal import RECORDS_AT, scan  # noqa: E402
from residency.model import SubjectId  # noqa: E402

HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"


class Person(models.Model):  # type: ignore[misc]  # Django has no types
    """A routed model."""

    id = models.CharField(max_length=36, primary_key=True)
    name = models.TextField()

    class Meta:
        """Its app."""

        app_label = "people_app"


class Ticket(models.Model):  # type: ignore[misc]  # Django has no types
    """A model of no store."""

    person = models.ForeignKey(Person, models.CASCADE, db_constraint=False)

    class Meta:
        """Its app."""

        app_label = "people_app"


def refused(work: Any) -> str:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - which one it was is what is told
        return f"{type(error).__name__}: {error}"
    return "no error"


told: dict[str, Any] = {}


def write(request: Any) -> Any:
    who = request.GET["who"]
    async_to_sync(identify)(who)
    told["outside a unit"] = refused(lambda: list(Person.objects.all()))
    told["using another"] = refused(lambda: list(Person.objects.using("default").all()))
    told["joined"] = refused(lambda: list(Ticket.objects.select_related("person")))
    told["filtered"] = refused(lambda: Ticket.objects.filter(person__name="an").exists())
    told["within"] = refused(lambda: list(Ticket.objects.filter(person__in=Person.objects.using("default"))))
    told["ordered"] = refused(lambda: Ticket.objects.order_by("person__name").first())
    told["written there"] = refused(lambda: Person.objects.using("default").create(id="x", name="x"))
    told["deleted there"] = refused(lambda: Person.objects.using("default").filter(id="x").delete())
    told["text there"] = refused(lambda: connections["default"].cursor().execute("SELECT * FROM people_app_person"))
    told["raw there"] = refused(lambda: list(Ticket.objects.raw("SELECT * FROM people_app_person")))
    told["other text there"] = refused(lambda: connections["default"].cursor().execute("SELECT 'people_app_person'"))
    told["not joined"] = refused(lambda: list(Ticket.objects.filter(person="an")))
    told["using"] = refused(lambda: list(Person.objects.using("people-sg").all()))
    with unit("people") as alias:
        Person.objects.create(id=who, name=who)
        told["other sink inside"] = refused(
            lambda: list(Person.objects.using("people-sg" if alias == "people-vn" else "people-vn").all())
        )
        told["twice"] = refused(lambda: unit("people").__enter__())

        def statement(text: str) -> None:
            with connections[alias].cursor() as cursor:
                cursor.execute(text)

        told["commit"] = refused(lambda: statement("/* */ COMMIT"))
        with transaction.atomic(using=alias):
            Person.objects.filter(id=who).update(name=who.upper())

    def fails() -> None:
        with unit("people"):
            Person.objects.create(id=f"{who}-2", name="never")
            raise KeyError(who)

    told["rollback"] = refused(fails)

    def abroad() -> None:
        with unit("people", sink="people-sg"):
            pass

    told[f"abroad {who}"] = refused(abroad)

    def thread() -> None:
        with unit("people"):
            pass

    def using() -> None:
        Person.objects.using("people-sg").create(id="bare", name="bare")

    for name, work in (("bare thread", thread), ("bare thread using", using)):
        worker = threading.Thread(target=lambda name=name, work=work: told.__setitem__(name, refused(work)))
        worker.start()
        worker.join()
    return HttpResponse(alias)


def read(request: Any) -> Any:
    async_to_sync(identify)(request.GET["who"])
    with unit("people"):
        names = [person.name for person in Person.objects.all()]
        numbers = Person.objects.annotate(number=Cast("name", models.IntegerField()))
        told["quotes"] = refused(lambda: list(numbers.iterator()))

    def change() -> None:
        with unit("people"):
            Person.objects.create(id="x", name="x")

    told["write in a read"] = refused(change)
    return HttpResponse(",".join(names))


async def on_loop(request: Any) -> Any:
    await identify(request.GET["who"])

    def work() -> None:
        with unit("people"):
            Person.objects.create(id="async", name="async")

    told["on the loop"] = refused(work)
    await sync_to_async(work)()
    return HttpResponse("done")


def caching(request: Any) -> Any:
    async_to_sync(identify)(request.GET["who"])
    cache.set("k", request.GET["who"])
    told["clear"] = refused(cache.clear)
    return HttpResponse(f"{cache.get('k')} {cache.has_key('k')} {cache.get('none')} {cache.delete('none')}")


async def caching_async(request: Any) -> Any:
    await identify(request.GET["who"])
    return HttpResponse(str(await cache.aget("k")))


def around(request: Any) -> Any:
    async_to_sync(identify)(request.GET["who"])

    def past_the_wrappers() -> None:
        with connections["people-sg"].cursor() as cursor:
            cursor.cursor.execute("INSERT INTO people_app_person (id, name) VALUES ('past', 'past')")

    told["first cursor"] = refused(past_the_wrappers)
    told["second cursor"] = refused(past_the_wrappers)

    def hook() -> None:
        told["hook"] = refused(lambda: Person.objects.create(id="hook", name="hook"))
        told["hook using"] = refused(lambda: Person.objects.using("people-vn").create(id="hook", name="hook"))
        with unit("people"):
            Person.objects.create(id="hooked", name="hooked")
        raise KeyError("hook")

    def hooked() -> None:
        with unit("people") as alias:
            transaction.on_commit(hook, using=alias)

    told["hook raises"] = refused(hooked)

    def standby() -> None:
        with unit("people") as alias:
            server, raw = connections[alias].vendor == "postgresql", vars(connections[alias])["connection"]
            raw.execute("SET TRANSACTION READ ONLY" if server else "PRAGMA query_only = ON")
            try:
                Person.objects.create(id="standby", name="never")
            finally:
                if not server:
                    raw.execute("PRAGMA query_only = OFF")

    told["standby"] = refused(standby)
    return HttpResponse("done")


def bad(request: Any) -> Any:
    async_to_sync(identify)(request.GET["who"])
    with unit("people"):
        try:
            Person.objects.create(id="AN-secret", name="first")
            Person.objects.create(id="AN-secret", name="again")
        except IntegrityError as error:
            told["duplicate"] = f"{error} {error.__cause__}"
            raise
    return HttpResponse("done")


asked: list[str] = []


def moved(request: Any) -> Any:
    """The data of who asks is on its way."""
    async_to_sync(identify)(request.GET["who"])
    asked.append(request.GET["who"])
    with unit("people") as alias:
        return HttpResponse(alias)


def fetch(request: Any) -> Any:
    """Rows are taken one by one, and the database goes away in between."""
    async_to_sync(identify)(request.GET["who"])
    with unit("people") as alias:
        raw = request.GET.get("how") == "raw"
        rows = iter(Person.objects.raw("SELECT * FROM people_app_person") if raw else Person.objects.iterator(1))
        next(rows)
        if URLS[0].startswith("postgresql"):
            import psycopg

            with psycopg.connect(URLS[1].replace("+psycopg", "")) as other:
                pid = connections[alias].connection.info.backend_pid
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        return HttpResponse(str(len(list(rows))))


def torn() -> str:
    """A SQLite file like that of people-vn, with more in it, whose second half is no database."""
    file = FOLDER / "torn.db"
    with sqlite3.connect(FOLDER / "vn.db") as before:
        before.execute("VACUUM INTO ?", (str(file),))
    with sqlite3.connect(file) as made:
        made.execute("PRAGMA journal_mode = DELETE")
        rows = ((f"many-{number}", "x" * 1000) for number in range(300))
        made.executemany("INSERT INTO people_app_person (id, name) VALUES (?, ?)", rows)
        made.commit()
    before.close()
    made.close()
    size = file.stat().st_size
    with file.open("r+b") as bytes_of:
        bytes_of.seek(size // 2)
        bytes_of.write(b"\xff" * (size - size // 2))
    return str(file)


def rename(old: str, new: str) -> None:
    """From beside the process that serves, which sends nothing without a request."""
    statement = f"ALTER TABLE {old} RENAME TO {new}"
    if URLS[1].startswith("postgresql"):
        import psycopg

        with psycopg.connect(URLS[1].replace("+psycopg", "")) as other:
            other.execute(statement)
        return
    with closing(sqlite3.connect(FOLDER / "vn.db")) as file:
        file.execute(statement)


def point(**settings: Any) -> None:
    connections["people-vn"].close()
    connections["people-vn"].settings_dict.update(settings)


def people(request: Any) -> Any:
    return write(request) if request.method == "POST" else read(request)


views = {
    "people": people, "async": on_loop, "cache": caching, "around": around, "bad": bad, "fetch": fetch, "moved": moved,
}  # fmt: skip
urls.urlpatterns = [path(name, view) for name, view in views.items()]  # type: ignore[attr-defined]


async def main() -> None:
    runtime = build(POLICY)
    app = ResidencyMiddleware(get_asgi_application(), policy=runtime)
    await runtime.start()

    async def ask(method: str, where: str, address: str, who: str, *, whole: bool = False) -> str:
        transport = httpx.ASGITransport(app, client=(address, 50_000), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            path, _, query = where.partition("?")
            answer = await client.request(method, path, params={"who": who, **dict(parse_qsl(query))})
            return f"{answer.status_code} {answer.text if whole or answer.status_code == 200 else ''}"

    answers = {
        "an": await ask("POST", "/people", HANOI, "an"),
        "tan": await ask("POST", "/people", SINGAPORE, "tan"),
        "an reads": await ask("GET", "/people", SINGAPORE, "an"),
        "async": await ask("POST", "/async", HANOI, "binh"),
        "around": await ask("POST", "/around", HANOI, "an"),
        "cache an": await ask("POST", "/cache", HANOI, "chi"),
        "cache tan": await ask("POST", "/cache", SINGAPORE, "dat"),
    }
    answers["duplicate"] = await ask("POST", "/bad", HANOI, "an")
    table = Person._meta.db_table
    await sync_to_async(rename)(table, "elsewhere")
    unmigrated = await ask("POST", "/bad", HANOI, "an", whole=True)
    await sync_to_async(rename)("elsewhere", table)
    right = {key: connections["people-vn"].settings_dict[key] for key in ("NAME", "PASSWORD")}
    wrong = {"PASSWORD": "wrong-password"} if len(sys.argv) > 2 else {"NAME": str(FOLDER / "no-such-folder" / "vn.db")}
    await sync_to_async(point)(**wrong)
    away = await ask("POST", "/bad", HANOI, "an", whole=True)
    await sync_to_async(point)(**right)
    told["bad"] = {"unmigrated": unmigrated, "away": away}
    if len(sys.argv) == 2:
        await sync_to_async(point)(NAME=torn())
    told["bad"]["fetched"] = await ask("GET", "/fetch", HANOI, "an", whole=True)
    if len(sys.argv) == 2:
        told["bad"]["fetched raw"] = await ask("GET", "/fetch?how=raw", HANOI, "an", whole=True)
    await sync_to_async(point)(**right)
    homes = runtime.point.homes
    pin = await homes.fetch(runtime.point.digest(SubjectId("tan")))
    assert pin is not None
    moving = await homes.leave([pin], "VN", "SG", "a test")
    waiting = asyncio.create_task(ask("POST", "/moved", SINGAPORE, "tan"))
    while not asked:  # noqa: ASYNC110 - until another thread is about to begin
        await asyncio.sleep(0.01)
    await homes.arrive(list(moving.values()), "a test")
    answers["moved"] = await waiting
    await runtime.aclose()
    entries = []
    for segment in sorted((FOLDER / "audit" / "journal").glob("*/*.seg")):
        entries += [parse_entry(bytes(r.payload)) for r in scan(segment.read_bytes(), RECORDS_AT, None).records]
    outcomes = {entry.of: entry.act for entry in entries if entry.kind == "outcome"}
    acts = [(entry.sink, outcomes.get(entry.id)) for entry in entries if entry.kind == "intent" and entry.sink]
    print(json.dumps({"answers": answers, "told": told, "acts": acts}))


router = StoreRouter()
migrates = {
    f"{alias} {name}": router.allow_migrate(alias, "people_app", name)
    for alias in ("default", "people-vn")
    for name in ("person", "ticket", None)
}
told["migrates"] = migrates
told["nothing serves"] = refused(lambda: list(Person.objects.using("default").all()))
told["no request"] = refused(lambda: list(Person.objects.all()))
told["cache without a request"] = refused(lambda: StoreCache("cache", {}).get("k"))
for sink in ("people-vn", "people-sg"):
    with connections[sink].schema_editor() as editor:
        editor.create_model(Person)
    connections[sink].close()
asyncio.run(main())
told_caches = {name: caches[name].get("k") for name in ("cache-vn", "cache-sg")}
print(json.dumps({"rows": {sink: [p.name for p in Person.objects.using(sink)] for sink in ("people-vn", "people-sg")},
                  "caches": told_caches}))  # fmt: skip
