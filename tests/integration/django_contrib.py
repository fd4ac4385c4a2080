"""In: a folder on the command line, and two URLs of databases, which are SQLite files where none are given. Out: what
Django's own apps (admin, auth, contenttypes, sessions) and its commands did in units of work, as JSON.

Sue, in Singapore, looks after Beng. Anh is covered by Vietnam's law, and her rows lie in Singapore still. A process of
its own, for Django's settings are one to a process.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(sys.argv[1])
URLS = sys.argv[2:] or ["sqlite:///sg.db", "sqlite:///vn.db"]
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.world import HANOI, SINGAPORE, handling, write_deployment  # noqa: E402 - found by the line above

DEPLOYMENT = """
readers: record
signals: {identity: {user: verified}, client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
stores: {people: [people-sg, people-vn]}
records:
  people:
    auth_user: {subject: id, data: [personal]}
    auth_user_groups: {via: {user_id: auth_user}, data: [personal]}
    auth_user_user_permissions: {via: {user_id: auth_user}, data: [personal]}
    auth_group: {data: [content]}
    auth_group_permissions: {data: [content]}
    auth_permission: {data: [content]}
    django_content_type: {data: [content]}
    django_admin_log: {data: [content]}
    django_session: {data: [content]}
    shop_order: {via: {customer_id: auth_user}, data: [content]}
    shop_line: {via: {order_id: shop_order}, data: [content]}
    shop_tag: {via: {owner_id: auth_user}, data: [content]}
activities:
  - {route: "GET /somebody", subject: user, data: [personal], operation: read, store: people}
  - {route: "POST /somebody", subject: user, data: [personal], operation: write, store: people}
"""
POLICY = write_deployment(
    FOLDER, DEPLOYMENT, replace=list(zip(("sqlite:///sg.db", "sqlite:///vn.db"), URLS, strict=True))
)

from django.apps import AppConfig  # noqa: E402
from django.conf import settings  # noqa: E402

from residency.integrations.django import databases, unit  # noqa: E402

shop, urls = ModuleType("shop"), ModuleType("shop_urls")
sys.modules |= {"shop": shop, "shop_urls": urls}
KEYS = "django.db.models.BigAutoField"
shop.Config = type("Config", (AppConfig,), {"name": "shop", "path": str(FOLDER), "default_auto_field": KEYS})  # type: ignore[attr-defined]
CONTRIB = ["django.contrib." + name for name in ("auth", "contenttypes", "sessions", "messages", "admin")]
BESIDE = ["request", "auth", "messages"]
settings.configure(
    SECRET_KEY="only a test's", ALLOWED_HOSTS=["*"], ROOT_URLCONF="shop_urls", LOGGING_CONFIG=None, USE_TZ=True,
    INSTALLED_APPS=[*CONTRIB, "shop.Config"], STATIC_URL="/static/",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, **databases(POLICY)},
    DATABASE_ROUTERS=["residency.integrations.django.StoreRouter"],
    RESIDENCY_STORES={"people": ["auth", "contenttypes", "sessions", "admin", "shop"]},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
        "context_processors": [
            "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages"]}}],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
)  # fmt: skip
import django  # noqa: E402

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from django.apps import apps  # noqa: E402
from django.contrib import admin  # noqa: E402
from django.contrib.admin.models import LogEntry  # noqa: E402
from django.contrib.auth import authenticate  # noqa: E402
from django.contrib.auth.models import Group, User, update_last_login  # noqa: E402
from django.contrib.contenttypes.admin import GenericTabularInline  # noqa: E402
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.contrib.messages.storage.cookie import CookieStorage  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core import serializers  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, models, transaction  # noqa: E402
from django.db.models.signals import post_save  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.urls import path, resolve  # noqa: E402
from starlette.authentication import SimpleUser  # noqa: E402

from residency import about, build  # noqa: E402
from residency.enforcement.point import Request  # noqa: E402
from residency.errors import Refused, UsageError  # noqa: E402

apps.get_app_config("shop").models_module = shop
ANH, BENG, CHUA, SUE = 101, 102, 103, 104
NAMES = {ANH: "anh", BENG: "beng", CHUA: "chua", SUE: "sue"}
SG = "people-sg"


class Row(models.Model):  # type: ignore[misc]  # Django has no types
    """A row whose body bears the name of whose it is."""

    body = models.TextField(default="")

    class Meta:
        """Its app."""

        app_label = "shop"
        abstract = True


class Tag(Row):
    """Of anything."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=40)
    of = GenericForeignKey("content_type", "object_id")
    owner = models.ForeignKey(User, models.CASCADE)


class Order(Row):
    """Somebody's."""

    customer = models.ForeignKey(User, models.CASCADE, related_name="orders")
    tags = GenericRelation(Tag)


class Line(Row):
    """Of an order."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")


class Lines(admin.TabularInline):  # type: ignore[misc]
    """With the order."""

    model = Line
    extra = 0


class Tags(GenericTabularInline):  # type: ignore[misc]
    """With the order."""

    model = Tag
    extra = 0
    raw_id_fields = ("owner",)


class OrderAdmin(admin.ModelAdmin):  # type: ignore[misc]
    """Names a customer by their key: a list of all of them tells of all."""

    inlines = (Lines, Tags)
    raw_id_fields = ("customer",)
    show_full_result_count = False


admin.site.register(Order, OrderAdmin)
urls.urlpatterns = [path("admin/", admin.site.urls)]  # type: ignore[attr-defined]


def page(url: str, post: dict[str, Any] | None = None) -> Callable[[], Any]:
    """A page of the admin's, by Sue: its status, and whose rows stand on it."""

    def ask() -> Any:
        factory = RequestFactory()
        request: Any = factory.get(url) if post is None else factory.post(url, post)
        request._dont_enforce_csrf_checks = True
        request.session, request.user = {}, SUES[0]
        request._messages = CookieStorage(request)
        match = resolve(url)
        answer = match.func(request, *match.args, **match.kwargs)
        text = answer.render().content.decode() if hasattr(answer, "render") else ""
        return [answer.status_code, *(name for name in NAMES.values() if f"of {name}" in text)]

    return ask


def form(who: int) -> dict[str, Any]:
    """What the page of an order sends."""
    few = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "1"}
    none = {"TOTAL_FORMS": "0", "INITIAL_FORMS": "0"}
    return {
        "customer": str(who), "body": f"of {NAMES[who]}", "lines-0-id": "102", "lines-0-order": "102",
        "lines-0-body": "of beng", **{f"lines-{name}": said for name, said in few.items()},
        **{f"shop-tag-content_type-object_id-{name}": said for name, said in none.items()},
    }  # fmt: skip


def dumped() -> str:
    """What `dumpdata` writes."""
    told = io.StringIO()
    call_command("dumpdata", "shop.order", database=SG, stdout=told)
    return told.getvalue()


def loaded(body: dict[str, Any]) -> Callable[[], Any]:
    """What `loaddata` reads."""

    def ask() -> str:
        file = FOLDER / "given.json"
        file.write_text(json.dumps([body]))
        call_command("loaddata", str(file), database=SG, verbosity=0)
        return "loaded"

    return ask


def heard(listen: Callable[..., Any]) -> Callable[[], Any]:
    """A signal whose listener asks the database."""

    def ask() -> str:
        post_save.connect(listen, sender=Line)
        try:
            Line(order_id=BENG).save()
        finally:
            post_save.disconnect(listen, sender=Line)
        return "heard"

    return ask


def sql(text: str, alias: str = SG) -> Callable[[], Any]:
    """Text, on a connection."""

    def ask() -> str:
        with connections[alias].cursor() as cursor:
            cursor.execute(text)
        return "sent"

    return ask


def counts(sender: object, **said: Any) -> None:
    """Of everybody."""
    Order.objects.count()


def counts_own(sender: object, instance: Any, **said: Any) -> None:
    """Of hers."""
    Order.objects.filter(customer=BENG).count()


def session() -> Any:
    """A session of Django's own, kept in a sink."""
    made = SessionStore()
    made["a"] = 1
    made.save()
    return SessionStore(made.session_key)["a"]


def begun_again() -> int:
    """A savepoint that is taken back."""
    with transaction.atomic(using=SG):
        try:
            with transaction.atomic(using=SG):
                Line(order_id=BENG, body="x").save()
                raise KeyError
        except KeyError:
            return int(Line.objects.filter(order=BENG, body="x").count())


def cleared() -> str:
    """Hers alone."""
    Order(id=BENG).tags.clear()
    return "cleared"


def signed_in() -> Any:
    """By name and password."""
    found = authenticate(username="beng", password="beng")
    update_last_login(None, found)
    return found.pk if found is not None else None


def bengs() -> Any:
    """Her orders."""
    return Order.objects.filter(customer=BENG)


READ: dict[str, tuple[Callable[[], Any], Any]] = {
    "admin: an order": (page("/admin/shop/order/102/change/"), [200, "beng"]),
    "admin: another's": (page("/admin/shop/order/101/change/"), "Refused: only_in_country"),
    "admin: what goes with it": (page("/admin/shop/order/102/delete/"), [200]),
    "admin: its history": (page("/admin/shop/order/102/history/"), [200]),
    "admin: all": (page("/admin/shop/order/"), "UsageError: a statement under about() tells of rows of 'shop_order'"),
    "tags": (lambda: [each.body for each in Order.objects.get(pk=BENG).tags.all()], ["of beng"]),
    "tagged": (lambda: [each.of.body for each in Tag.objects.filter(owner=BENG).prefetch_related("of")], ["of beng"]),
    "tags prefetched": (lambda: [[tag.body for tag in each.tags.all()] for each in bengs().prefetch_related("tags")],
                        [["of beng"]]),
    "another's tagged": (lambda: Tag(content_type=ContentType.objects.get_for_model(Order), object_id=str(ANH)).of,
                         "Refused: only_in_country"),
    "tags that filter": (lambda: list(bengs().filter(tags__body="x")), "UsageError: a statement under about() tells"),
    "by name": (lambda: User.objects.get_by_natural_key("anh"), "Refused: only_in_country"),
    "permissions": (lambda: User(pk=BENG, is_active=True).has_perm("shop.x"), False),
    "another's groups": (lambda: list(User(pk=ANH).groups.all()), "Refused: only_in_country"),
    "dumpdata": (dumped, "CommandError: Unable to serialize database: what was asked for is somebody else's"),
    "serialized": (lambda: serializers.serialize("json", bengs(), fields=["body"]),
                   '[{"model": "shop.order", "pk": 102, "fields": {"body": "of beng"}}]'),
    "server's cursor": (lambda: [each.body for each in Order.objects.iterator(1)], "Refused: only_in_country"),
    "elsewhere": (sql("SELECT * FROM shop_order", "default"), "UsageError: table 'shop_order' is of store 'people'"),
}  # fmt: skip
WRITTEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "admin: changed": (page("/admin/shop/order/102/change/", form(BENG)), [302]),
    "admin: given away": (page("/admin/shop/order/102/change/", form(CHUA)), "UsageError: a row of 'shop_order' says"),
    "admin: another's deleted": (page("/admin/shop/order/103/delete/", {"post": "yes"}),
                                 "UsageError: a statement changes rows of"),
    "locked": (lambda: [each.body for each in bengs().select_for_update()], ["of beng"]),
    "signed in": (signed_in, BENG),
    "in a group": (lambda: User.objects.get(pk=BENG).groups.set([Group.objects.create(id=5, name="g")]), None),
    "another in a group": (lambda: Group(pk=5).user_set.add(CHUA), "UsageError: a row of 'auth_user_groups' says"),
    "group emptied": (lambda: Group(pk=5).user_set.clear(), None),
    "another's tags": (lambda: Order(pk=CHUA).tags.clear(), "UsageError: a statement changes rows of 'shop_tag' that"),
    "tags": (cleared, "cleared"),
    "heard": (heard(counts_own), "heard"),
    "heard of others": (heard(counts), "UsageError: a statement under about() tells of rows of 'shop_order'"),
    "session": (session, 1),
    "savepoint": (begun_again, 0),
    "loaddata of another": (loaded({"model": "shop.order", "pk": 103, "fields": {"customer": BENG}}),
                            "UsageError: Problem installing fixture"),
    "flush": (partial(call_command, "flush", database=SG, interactive=False, verbosity=0), "CommandError: Database"),
    "emptied": (sql("DELETE FROM shop_order"), "UsageError: a statement"),
    "clearsessions": (lambda: call_command("clearsessions"), None),
}  # fmt: skip


def outcome(ask: Callable[[], Any]) -> Any:
    """What it gave, or which error it met."""
    try:
        return ask()
    except Refused as error:
        return f"Refused: {error.reason}"
    except UsageError as error:
        return f"UsageError: {error}"
    except Exception as error:  # noqa: BLE001 - which one it is is Django's
        return f"{type(error).__name__}: {error}"


def work(run: Callable[[], Any]) -> Any:
    """Something done in a unit of its own."""
    with unit("people", sink=SG):
        return run()


def each(of: dict[str, tuple[Callable[[], Any], Any]]) -> dict[str, Any]:
    """What became of each, and what is expected."""
    return {name: (outcome(partial(work, ask)), expected) for name, (ask, expected) in of.items()}


@contextmanager
def request(runtime: Any, method: str, who: int, address: str = SINGAPORE) -> Iterator[None]:
    """A request of somebody's."""
    asked = Request(method, "/somebody", b"/somebody", (), (address, 50_000), SimpleUser(str(who)))
    with handling(runtime.point.admit(asked)):
        yield


SUES: list[Any] = []


async def main() -> None:
    """Ask all of it."""
    runtime = build(POLICY, reload=False)
    await runtime.start()

    def pinned() -> None:
        with unit("people"):
            pass

    told: dict[str, Any] = {}
    with request(runtime, "POST", ANH, HANOI):
        await sync_to_async(pinned)()
    with request(runtime, "GET", SUE):
        await sync_to_async(work)(lambda: SUES.append(User.objects.get(pk=SUE)))
        async with about(str(BENG)):
            told["read"] = await sync_to_async(each)(READ)
    with request(runtime, "POST", SUE):
        async with about(str(BENG)):
            told["written"] = await sync_to_async(each)(WRITTEN)
    with request(runtime, "POST", BENG):
        deleted = await sync_to_async(work)(lambda: User.objects.get(pk=BENG).delete()[0])
    await runtime.aclose()
    print(json.dumps({**told, "deleted": deleted}, default=str))


for sink in (SG, "people-vn"):
    call_command("migrate", database=sink, verbosity=0)
    with connections[sink].schema_editor() as editor:
        for model in (Tag, Order, Line):
            editor.create_model(model)
for key, name in NAMES.items():
    user = User(id=key, username=name, is_staff=True, is_superuser=key == SUE)
    user.set_password(name)
    user.save(using=SG, force_insert=True)
    if key != SUE:
        Order(id=key, customer_id=key, body=f"of {name}").save(using=SG, force_insert=True)
        Line(id=key, order_id=key, body=f"of {name}").save(using=SG, force_insert=True)
        kind = ContentType.objects.db_manager(SG).get_for_model(Order)
        Tag(id=key, content_type=kind, object_id=str(key), owner_id=key, body=f"of {name}").save(using=SG)
        LogEntry(user_id=key, content_type=kind, object_id=str(key), object_repr="", action_flag=1).save(using=SG)
told = {"command": outcome(partial(call_command, "clearsessions"))}
for model in (Line, Tag, Group):
    ContentType.objects.db_manager(SG).get_for_model(model)
connections.close_all()
asyncio.run(main())
print(json.dumps({**told, "left": sorted(Order.objects.using(SG).values_list("body", flat=True))}))
