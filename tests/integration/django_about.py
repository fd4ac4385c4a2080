"""In: a folder on the command line, and two URLs of databases, which are SQLite files where none are given. Out: what
units of work gave and refused of others than whom they are for, in a real Django project, as JSON.

Sue, in Singapore, reads and writes about Beng. Anh is covered by Vietnam's law, and her rows lie in Singapore still. A
process of its own, for Django's settings are one to a process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(sys.argv[1])
URLS = sys.argv[2:] or ["sqlite:///sg.db", "sqlite:///vn.db"]
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.related_world import DEPLOYMENT  # noqa: E402 - found by the line above
from tests.world import HANOI, SINGAPORE, handling, write_deployment  # noqa: E402

HEAD = """
signals: {identity: {user: verified}, client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
"""
BOTH = """
  - {route: "GET /both/{id}", subject: path.id, data: [personal], operation: read, store: [people, one]}
"""
TOPIC = "    topic: {data: [content]}\n"
AGENT = "    agent: {via: {member_ptr_id: member}, data: [personal]}\n"
POLICY = write_deployment(
    FOLDER,
    HEAD + DEPLOYMENT + BOTH,
    replace=[*zip(("sqlite:///sg.db", "sqlite:///vn.db"), URLS, strict=True), (TOPIC, TOPIC + AGENT)],
)

from django.apps import AppConfig  # noqa: E402
from django.conf import settings  # noqa: E402

from residency.integrations.django import databases, own_rows, unit  # noqa: E402

app = ModuleType("people_app")
sys.modules["people_app"] = app
app.Config = type("Config", (AppConfig,), {"name": "people_app", "path": str(FOLDER)})  # type: ignore[attr-defined]
settings.configure(
    INSTALLED_APPS=["people_app.Config"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, **databases(POLICY)},
    DATABASE_ROUTERS=["residency.integrations.django.StoreRouter"],
    RESIDENCY_STORES={"people": ["people_app"]},
    LOGGING_CONFIG=None,
)
import django  # noqa: E402

django.setup()

from asgiref.sync import async_to_sync, sync_to_async  # noqa: E402
from django.db import Error, connections, models  # noqa: E402
from django.db.models import (  # noqa: E402
    Case,
    Count,
    Exists,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.expressions import RawSQL  # noqa: E402
from django.db.models.functions import Concat, Lower, Upper  # noqa: E402
from hypothesis import given as generated  # noqa: E402
from hypothesis import settings as generating  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from starlette.authentication import SimpleUser  # noqa: E402

from residency import about, about_many, build  # noqa: E402
from residency.audit.entry import parse_entry  # noqa: E402
from residency.audit.journal import RECORDS_AT, scan  # noqa: E402
from residency.enforcement.point import Request  # noqa: E402
from residency.errors import Refused, UsageError  # noqa: E402


@models.CharField.register_lookup
class Like(models.lookups.Exact):  # type: ignore[misc]  # Django has no types
    """An app's own, which is no equality."""

    lookup_name = "like"

    def get_rhs_op(self, connection: Any, rhs: Any) -> str:
        return f"LIKE {rhs}"


@models.TextField.register_lookup
class Among(models.lookups.Exact):  # type: ignore[misc]  # Django has no types
    """An app's own, which makes its SQL by itself, and asks of another table."""

    lookup_name = "among"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Whether somebody wrote so."""
        made, told = self.process_lhs(compiler, connection)
        return f"{made} IN (SELECT body FROM reply)", told  # noqa: S608 - it is no value


class Made(models.Func):  # type: ignore[misc]  # Django has no types
    """An app's own expression, which makes its SQL by itself: of what it is given, in its own words."""

    def __init__(self, words: str, *parts: Any) -> None:
        super().__init__(*parts, output_field=models.TextField())
        self.words = words

    def as_sql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """`{}` is what it is given."""
        made = [compiler.compile(each) for each in self.get_source_expressions()]
        return self.words.format(*(text for text, _ in made)), [value for _, told in made for value in told]


class Named(models.Expression):  # type: ignore[misc]  # Django has no types
    """One that is no function, and is given nothing."""

    def __init__(self, words: str) -> None:
        super().__init__(output_field=models.TextField())
        self.words = words

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """As it was told."""
        return self.words, []


class Counted(Subquery):  # type: ignore[misc]  # Django has no types
    """How many rows a query has."""

    template = "(SELECT count(*) FROM (%(subquery)s) AS counted)"
    output_field = models.IntegerField()


def meta(**said: Any) -> Any:
    """What a model of this app's says of itself; its table is as `records:` name it."""
    return type("Meta", (), {"app_label": "people_app", **said})


def link(to: str, column: str, name: str, **more: Any) -> Any:
    """A key of another table."""
    return models.ForeignKey(to, models.CASCADE, db_column=column, related_name=name, db_constraint=False, **more)


class Row(models.Model):  # type: ignore[misc]  # Django has no types
    """A row whose body bears the name of whose it is."""

    id = models.CharField(max_length=36, primary_key=True)
    body = models.TextField(default="")

    Meta = meta(abstract=True)


class Topic(Row):
    """Nobody's, and the deployment says so."""

    Meta = meta(db_table="topic")


class Member(Row):
    """Somebody."""

    Meta = meta(db_table="member")


class Agent(Member):
    """Has a table more."""

    car = models.TextField(default="")
    Meta = meta(db_table="agent")


class Post(Row):
    """Leads to its author by a key."""

    author = link("Member", "author", "posts")
    topic = link("Topic", "topic_id", "posts", null=True)
    Meta = meta(db_table="post")


class Reply(Row):
    """Says itself whose it is."""

    author = link("Member", "author", "replies")
    post = link("Post", "post_id", "replies")
    likes = models.ManyToManyField("Member", related_name="likes", db_table="likes")
    Meta = meta(db_table="reply")


class Photo(Row):
    """Leads to its subject by its post, and that by its author."""

    post = link("Post", "post_id", "photos")
    Meta = meta(db_table="photo")


class Badge(Row):
    """The deployment says nothing of these."""

    member = link("Member", "member", "badges")
    Meta = meta(db_table="badge")


class Seen(models.Model):  # type: ignore[misc]  # Django has no types
    """A view of posts."""

    id = models.CharField(max_length=36, primary_key=True)
    body = models.TextField()

    Meta = meta(db_table="seen", managed=False)


VIEW = "CREATE VIEW seen AS SELECT id, body FROM post WHERE topic_id = 't'"


def rows() -> Iterator[models.Model]:
    """Each has a row of each table, and a reply to everybody's post."""
    people = ("anh", "beng", "chua")
    yield from (Topic(id="t", body="topic"), Topic(id="u", body="topic"))
    for who in people:
        yield Agent(id=who, body=f"of {who}", car=f"of {who}")
        yield Post(id=f"p-{who}", author_id=who, topic_id="u" if who == "chua" else "t", body=f"of {who}")
        yield Photo(id=f"f-{who}", post_id=f"p-{who}", body=f"of {who}")
        yield Badge(id=f"b-{who}", member_id=who)
    yield from (Photo(id=f"g-{number}", post_id="p-chua", body="of chua") for number in range(250))
    for who, to in (("anh", "beng"), ("beng", "chua"), ("chua", "beng"), ("beng", "beng"), ("beng", "anh")):
        yield Reply(id=f"r-{who}-{to}", author_id=who, post_id=f"p-{to}", body=f"of {who}")


def ids(found: Any) -> list[Any]:
    """What each is called."""
    return sorted(each if isinstance(each, str) else each.pk for each in found)


async def collected(found: Any) -> list[Any]:
    """What each is called, of what is iterated on the loop."""
    return sorted([row.pk async for row in found])


def sql(text: str) -> Callable[[], Any]:
    """Text, on the unit's own connection."""

    def ask() -> Any:
        with connections["people-sg"].cursor() as cursor:
            cursor.execute(text)
            return sorted(row[0] for row in cursor.fetchall()) if cursor.description else "sent"

    return ask


def vouched(ask: Callable[[], Any]) -> Callable[[], Any]:
    """The app says that all of it is Beng's."""

    def asked() -> Any:
        with own_rows():
            return ask()

    return asked


def bengs() -> Any:
    """Her posts. A query keeps what it was given, so there is a new one each time."""
    return Post.objects.filter(author="beng")


def not_anhs() -> Any:
    """Replies of whom it may be, to whom it may be."""
    return Reply.objects.filter(author__in=["beng", "chua"]).exclude(id="r-beng-anh")


OWN = Subquery(Reply.objects.filter(author=OuterRef("id")).values("author")[:1])
OWN_BY_KEY = Subquery(Reply.objects.filter(author="beng").values("id")[:1])
OTHERS = Subquery(Reply.objects.filter(post=OuterRef("pk")).values("id")[:1])
# What each gives in a unit about Beng, by Sue in Singapore.
GIVEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "objects": (lambda: ids(bengs()), ["p-beng"]),
    "objects of whom it may be": (lambda: ids(Post.objects.exclude(author="anh")), ["p-beng", "p-chua"]),
    "chunks": (lambda: ids(not_anhs().iterator(1)), ["r-beng-beng", "r-beng-chua", "r-chua-beng"]),
    "select_related": (lambda: [each.author.body for each in bengs().select_related("author", "topic")], ["of beng"]),
    "nothing there": (lambda: ids(Post.objects.filter(id="none").select_related("author")), []),
    "prefetched": (lambda: ids(bengs().prefetch_related(Prefetch("replies", not_anhs()))[0].replies.all()),
                   ["r-beng-beng", "r-chua-beng"]),
    "many to many": (lambda: [ids(each.likes.all()) for each in not_anhs().prefetch_related("likes")], [[], [], []]),
    "only": (lambda: ids(bengs().only("id")), ["p-beng"]),
    "loaded later": (lambda: bengs().only("id")[0].body, "of beng"),
    "over two tables": (lambda: ids(Photo.objects.filter(id="f-beng")), ["f-beng"]),
    "in_bulk": (lambda: ids(Post.objects.in_bulk(["p-beng"])), ["p-beng"]),
    "get": (lambda: Post.objects.get(pk="p-beng").body, "of beng"),
    "nobody's": (lambda: ids(Topic.objects.values_list("id", flat=True)), ["t", "u"]),
    "not named": (lambda: Badge.objects.count(), 3),
    "awaited": (lambda: async_to_sync(bengs().aget)().pk, "p-beng"),
    "iterated on the loop": (lambda: async_to_sync(collected)(bengs()), ["p-beng"]),
    "values": (lambda: list(bengs().values_list("body", flat=True)), ["of beng"]),
    "values by key": (lambda: list(Post.objects.filter(id="p-beng").values_list("body", flat=True)), ["of beng"]),
    "values by what it leads to": (lambda: list(Photo.objects.filter(post="p-beng").values_list("id", flat=True)),
                                   ["f-beng"]),
    "values of several": (lambda: ids(Post.objects.filter(author__in=["beng", "chua"]).values_list("id", flat=True)),
                          ["p-beng", "p-chua"]),
    "values over a join": (lambda: ids(Photo.objects.filter(post__author="beng").values_list("id", flat=True)),
                           ["f-beng"]),
    "values of a join": (lambda: list(bengs().values_list("author__body", flat=True)), ["of beng"]),
    "filtered over a join": (lambda: ids(Reply.objects.filter(author="beng", post__author="chua")
                                         .values_list("id", flat=True)), ["r-beng-chua"]),
    "nobody's over a join": (lambda: ids(Topic.objects.filter(posts__author="beng")), ["t"]),
    "nobody's where there is hers": (lambda: ids(Topic.objects.filter(
        Exists(Post.objects.filter(topic=OuterRef("pk"), author="beng")))), ["t"]),
    "nobody's with hers": (lambda: [ids(each.posts.all()) for each in Topic.objects.filter(id="t")
                                    .prefetch_related(Prefetch("posts", bengs()))], [["p-beng"]]),
    "in hers": (lambda: ids(Photo.objects.filter(post__in=bengs())), ["f-beng"]),
    "nested": (lambda: ids(bengs().filter(Q(topic="t") | Q(id="x")).values_list("id", flat=True)), ["p-beng"]),
    "instance": (lambda: Reply.objects.filter(author=Member(id="beng")).count(), 3),
    "count": (lambda: bengs().count(), 1),
    "count of some": (lambda: bengs()[:1].count(), 1),
    "exists": (lambda: bengs().exists(), True),
    "contains": (lambda: bengs().contains(Post(id="p-beng")), True),
    "aggregate": (lambda: bengs().aggregate(m=Max("body")), {"m": "of beng"}),
    "aggregate of groups": (lambda: bengs().annotate(n=Count("id")).aggregate(s=Sum("n")), {"s": 1}),
    "grouped": (lambda: list(bengs().values("author").annotate(n=Count("id")).values_list("n", flat=True)), [1]),
    "annotated of its own": (lambda: [each.up for each in bengs().annotate(up=Upper("body"))], ["OF BENG"]),
    "annotated of the same person": (lambda: Member.objects.exclude(id="anh").annotate(r=OWN).get(id="beng").r, "beng"),
    "annotated of them by name": (lambda: bengs().annotate(r=OWN_BY_KEY)[0].r is not None, True),
    "window of its own": (lambda: [each.n for each in bengs().annotate(n=Window(Count("id")))], [1]),
    "of two tables": (lambda: [each.car for each in Agent.objects.filter(id="beng").defer("body")], ["of beng"]),
    "values of two tables": (lambda: list(Agent.objects.filter(id="beng").values_list("car", "body")),
                             [("of beng", "of beng")]),
    "over the other table": (lambda: Member.objects.select_related("agent").get(id="beng").agent.car, "of beng"),
    "distinct": (lambda: ids(bengs().distinct().values_list("id", flat=True)), ["p-beng"]),
    "union": (lambda: ids(bengs().values_list("id").union(not_anhs().values_list("id")).values_list("id", flat=True)),
              ["p-beng", "r-beng-beng", "r-beng-chua", "r-chua-beng"]),
    "an expression of its own": (lambda: list(bengs().values_list(Made("upper({})", "body"), flat=True)), ["OF BENG"]),
    "an expression of nobody's": (lambda: [each.x for each in Topic.objects.filter(id="t").annotate(
        x=Made("upper({})", "body"))], ["TOPIC"]),
    "ordered by an expression": (lambda: ids(bengs().order_by(Made("upper({})", "body"))), ["p-beng"]),
    "counted within": (lambda: [each.n for each in Topic.objects.filter(id="t").annotate(n=Counted(bengs()))], [1]),
    "a lookup of its own": (lambda: ids(Member.objects.filter(id__like="beng")), ["beng"]),
    "text of nobody's": (sql("SELECT id FROM topic"), ["t", "u"]),
    "text vouched for": (vouched(sql("SELECT id FROM post WHERE author = 'beng'")), ["p-beng"]),
    "count vouched for": (vouched(lambda: Post.objects.count()), 3),
    "raw vouched for": (vouched(lambda: ids(Post.objects.raw("SELECT * FROM post WHERE author = 'beng'"))),
                        ["p-beng"]),
    "extra text of its own": (lambda: ids(bengs().extra(select={"x": '"post"."body"'}).values_list("x", flat=True)),
                              ["of beng"]),
}  # fmt: skip
# They tell of rows, and not whose.
LOOSE: dict[str, Callable[[], Any]] = {
    "of two tables": lambda: list(Agent.objects.values("car")),
    "of the other table": lambda: list(Member.objects.filter(body="x").values("agent__car")),
    # What text sums up is of rows that are not given, too.
    "objects beside a sum in text": lambda: list(
        Post.objects.filter(topic="t").extra(select={"x": "group_concat(body)"})),
    "objects beside a sum": lambda: list(Post.objects.filter(topic="t").annotate(
        x=models.Func(F("body"), function="group_concat", output_field=models.TextField()))),
    "objects beside a raw window": lambda: list(Post.objects.annotate(x=RawSQL("max(body) OVER ()", ()))),
    "a table that is spelled otherwise": lambda: list(Topic.objects.extra(tables=['post" "p'], select={"x": "p.body"})),
    # What only filters tells, too.
    "a join that filters": lambda: list(Reply.objects.filter(author="beng", post__topic="u").values("id")),
    "objects that others filter": lambda: list(bengs().filter(replies__id__gte="r-anh")),
    "objects where there is another's": lambda: list(bengs().filter(Exists(Reply.objects.filter(post=OuterRef("pk"))))),
    "objects where others are not": lambda: list(bengs().exclude(replies__body="x")),
    "nobody's that others filter": lambda: list(Topic.objects.filter(id__in=Post.objects.values("topic"))),
    # What an app's own expressions say by themselves.
    "an expression": lambda: list(Topic.objects.annotate(x=Made("(SELECT max(body) FROM post)"))),
    "an expression of others": lambda: list(bengs().annotate(x=Made("({} || (SELECT max(body) FROM post))", "body"))),
    "no function": lambda: list(Topic.objects.annotate(x=Named("(SELECT max(body) FROM reply)"))),
    "no function that sums": lambda: list(Post.objects.annotate(x=Named("max(body) OVER ()"))),
    "an expression that sums": lambda: list(Post.objects.annotate(x=Made("max({}) OVER ()", "body"))),
    "an expression among values": lambda: list(Topic.objects.values(x=Named("(SELECT max(body) FROM reply)"))),
    "an expression within one": lambda: list(Topic.objects.annotate(x=Upper(Named("(SELECT max(body) FROM reply)")))),
    "an expression in a filter": lambda: list(Topic.objects.filter(id=Named("(SELECT max(topic_id) FROM post)"))),
    "an expression in a group": lambda: list(Topic.objects.aggregate(m=Max(Named("(SELECT max(body) FROM reply)")))),
    "ordered by an expression": lambda: list(Topic.objects.order_by(Made("(SELECT max(body) || {} FROM post)", "id"))),
    "an expression within a query": lambda: list(bengs().filter(
        Exists(Topic.objects.annotate(x=Named("(SELECT max(body) FROM reply)")).filter(x="y")))),
    "a lookup that asks": lambda: list(Topic.objects.filter(body__among="x")),
    "joined by text": lambda: list(Topic.objects.annotate(x=models.expressions.CombinedExpression(
        F("body"), "|| (SELECT max(body) FROM reply) ||", F("body"), models.TextField()))),
    "counted of others": lambda: list(Topic.objects.annotate(n=Counted(Post.objects.filter(topic=OuterRef("pk"))))),
    "in a list": lambda: list(Topic.objects.filter(id__in=[Subquery(Post.objects.values("topic")[:1])])),
    "filtered by an alias": lambda: list(Topic.objects.alias(
        n=Subquery(Post.objects.order_by("-id").values("topic")[:1])).filter(n="u")),
    "filtered by a count": lambda: list(Topic.objects.annotate(n=Count("posts")).filter(n__gt=1).values("id")),
    "filtered join": lambda: list(Topic.objects.annotate(
        p=FilteredRelation("posts", condition=Q(posts__author="beng"))).values("p__id")),
    "ordered over a join": lambda: list(Topic.objects.order_by("posts__body")),
    "ordered by others": lambda: list(Topic.objects.order_by(Subquery(Post.objects.values("body")[:1]))),
    "ordered by text": lambda: list(Topic.objects.order_by(RawSQL("(SELECT max(body) FROM post)", ()))),
    "text that changes": sql("DELETE FROM post WHERE author = 'beng'"),
    "objects beside a window": lambda: list(Post.objects.order_by(Window(Count("id")).desc())[:1]),
    "values": lambda: list(Post.objects.values("id")),
    "awaited": lambda: async_to_sync(Post.objects.acount)(),
    "values_list": lambda: list(Post.objects.values_list("id", "author")),
    "by another column": lambda: list(Post.objects.filter(topic="t").values("id")),
    "either": lambda: list(Post.objects.filter(Q(author="beng") | Q(topic="t")).values("id")),
    "not": lambda: list(Post.objects.exclude(author="anh").values("id")),
    "xor": lambda: list(Post.objects.filter(Q(author="beng") ^ Q(topic="t")).values("id")),
    "lower": lambda: list(Post.objects.annotate(l=Lower("author_id")).filter(l="beng").values("id")),
    "like": lambda: list(Member.objects.filter(id__like="%").values("id")),
    "iexact": lambda: list(Post.objects.filter(author__id__iexact="beng").values("id")),
    "count": lambda: Post.objects.count(),
    "count of some": lambda: Post.objects.all()[:2].count(),
    "exists": lambda: Post.objects.exists(),
    "aggregate": lambda: Post.objects.aggregate(Max("id")),
    "aggregate of groups": lambda: Post.objects.annotate(n=Count("id")).aggregate(Sum("n")),
    "filtered aggregate": lambda: Post.objects.aggregate(n=Count("id", filter=Q(author="beng"))),
    "grouped": lambda: list(Post.objects.values("topic").annotate(n=Count("id"))),
    "columns of a join": lambda: list(bengs().values("replies__body")),
    "counted over a join": lambda: [each.n for each in bengs().annotate(n=Count("replies"))],
    "annotated of others": lambda: list(bengs().annotate(r=OTHERS)),
    "annotated of all": lambda: list(bengs().annotate(r=Subquery(Reply.objects.values("id")[:1]))),
    "whether there is another's": lambda: list(bengs().annotate(r=Exists(Reply.objects.filter(post=OuterRef("pk"))))),
    "a case": lambda: list(Topic.objects.annotate(
        n=Case(When(id__in=Post.objects.values("topic_id"), then=Value(1)), default=Value(0)))),
    "window": lambda: list(Post.objects.annotate(n=Window(Count("id")))[:1]),
    "nobody's over a join": lambda: list(Topic.objects.values("posts__id")),
    "in a subquery": lambda: list(Photo.objects.filter(post__in=bengs()).values("id")),
    "union": lambda: list(bengs().values_list("id").union(Reply.objects.values_list("id"))),
    "union of objects": lambda: list(bengs().union(Post.objects.all())),
    "forged by a union": lambda: list(bengs().union(Post.objects.values_list("id", "body", Value("beng"), "topic"))),
    "dates": lambda: list(Post.objects.order_by().values_list("id").distinct()),
    "explained": lambda: Post.objects.explain(),
    "text": sql("SELECT id FROM post"),
    "text by a literal": sql("SELECT id FROM 'post'"),
    "text in escapes": sql('SELECT id FROM U&"p\\006fst"'),
    "quoted text": sql('select id from "post" /* of beng */'),
    "copied text": sql(str(Post.objects.using("default").query)),
    "deleted by text": sql("DELETE FROM post RETURNING id"),
    "raw": lambda: list(Post.objects.raw("SELECT * FROM post")),
    "extra column": lambda: list(bengs().extra(select={"x": "(SELECT max(body) FROM reply)"})),
    "extra column of its own table": lambda: list(bengs().extra(select={"x": "(SELECT max(body) FROM post)"})),
    "extra condition": lambda: list(bengs().extra(where=["1 = 1) OR (1 = 1"]).values("id")),
    "extra table": lambda: list(Topic.objects.extra(tables=["post"]).extra(select={"x": "post.body"})),
    "raw expression": lambda: list(Topic.objects.annotate(x=RawSQL("SELECT max(body) FROM post", ()))),
    "raw condition": lambda: list(bengs().filter(RawSQL("1 = 1 OR 1 = 1", (), models.BooleanField())).values("id")),
    "template": lambda: list(Topic.objects.annotate(
        x=models.Func(template="(SELECT max(body) FROM post)", output_field=models.TextField()))),
}  # fmt: skip
# Views and functions, behind which they stand.
BEHIND: dict[str, Callable[[], Any]] = {
    "objects": lambda: list(Seen.objects.all()),
    "get": lambda: Seen.objects.get(pk="p-beng"),
    "values": lambda: list(Seen.objects.values("body")),
    "count": lambda: Seen.objects.count(),
    "within": lambda: list(Topic.objects.filter(Exists(Seen.objects.filter(pk="p-anh")))),
    "text": sql("SELECT body FROM seen"),
    "raw": lambda: list(Seen.objects.raw("SELECT * FROM seen")),
    "an expression": lambda: list(Topic.objects.annotate(x=Named("(SELECT max(body) FROM seen)"))),
    "an extra table": lambda: list(Topic.objects.extra(tables=["seen"]).values("id")),
    "a function": lambda: list(Topic.objects.annotate(
        x=models.Func(Value("post"), function="table_to_xml", output_field=models.TextField()))),
}  # fmt: skip
# They say that it is Anh's too, whose law does not let it be read here.
FORBIDDEN: dict[str, Callable[[], Any]] = {
    "all": lambda: list(Post.objects.all()),
    "awaited": lambda: async_to_sync(Post.objects.aget)(pk="p-anh"),
    "iterated on the loop": lambda: async_to_sync(collected)(Post.objects.all()),
    "by key": lambda: Post.objects.get(pk="p-anh"),
    "of a relationship": lambda: list(Post.objects.get(pk="p-beng").replies.all()),
    "select_related": lambda: [each.author for each in Reply.objects.filter(id="r-anh-beng").select_related("author")],
    "select_related to hers": lambda: list(Reply.objects.filter(id="r-beng-anh").select_related("post")),
    "of two tables": lambda: list(Agent.objects.only("car")),
    "over the other table": lambda: list(
        Member.objects.filter(agent__pk="anh").select_related("agent").only("agent__car")
    ),
    "of nobody's": lambda: list(Topic.objects.prefetch_related("posts")),
    "of what is not named": lambda: list(Badge.objects.select_related("member")),
    "prefetched": lambda: list(bengs().prefetch_related("replies")),
    "prefetched far away": lambda: (
        list(
            Topic.objects.filter(id="u")
            .prefetch_related("posts__replies__author__posts")
            .union(Topic.objects.filter(id="t"))
        )
        and list(Topic.objects.prefetch_related("posts__photos"))
    ),
    "over two tables": lambda: list(Photo.objects.all()),
    "deferred": lambda: list(Post.objects.only("id")),
    "deferred, over two tables": lambda: list(Photo.objects.defer("post", "body")),
    "in_bulk": lambda: Post.objects.in_bulk(["p-beng", "p-anh"]),
    "iterator": lambda: list(Reply.objects.order_by("-id").iterator(1)),
    "first": lambda: Member.objects.order_by("id").first(),
    "latest": lambda: Member.objects.earliest("id"),
    "others are not": lambda: list(bengs().exclude(replies__author="anh")),
    "refreshed": lambda: Member(id="anh").refresh_from_db(),
    "loaded later": lambda: Post(id="p-anh", author_id="anh").author,
    "values": lambda: list(Post.objects.filter(author="anh").values("id")),
    "values of several": lambda: list(Post.objects.filter(author__in=["beng", "anh"]).values("id")),
    "values by key": lambda: list(Post.objects.filter(id="p-anh").values("id")),
    "values by what it leads to": lambda: list(Photo.objects.filter(post="p-anh").values("id")),
    "exists": lambda: Member.objects.filter(pk="anh").exists(),
    "raw vouched for": vouched(lambda: list(Post.objects.filter(pk="p-anh"))),
}
WRITTEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "created": (lambda: Reply.objects.create(id="w", author_id="beng", post_id="p-beng").pk, "w"),
    "a photo": (lambda: Photo.objects.create(id="w", post_id="p-beng").pk, "w"),
    "photos": (lambda: len(Photo.objects.bulk_create([Photo(id=f"w{n}", post_id="p-beng") for n in range(9)])), 9),
    "saved": (lambda: Reply.objects.filter(id="w").update(body="x"), 1),
    "loaded and saved": (lambda: Reply.objects.get(id="w").save(), None),
    "in bulk": (lambda: ids(Reply.objects.bulk_create(
        [Reply(id="x", author_id="beng", post_id="p-beng"), Reply(id="y", author_id="beng", post_id="p-beng")])),
        ["x", "y"]),
    "upsert": (lambda: ids(Reply.objects.bulk_create(
        [Reply(id="x", author_id="beng", post_id="p-beng", body="z")], update_conflicts=True, unique_fields=["id"],
        update_fields=["body"])), ["x"]),
    "bulk_update": (lambda: Reply.objects.bulk_update([Reply(id="x", body="of beng")], ["body"]), 1),
    "update of the subject": (lambda: Reply.objects.filter(id="x").update(author="beng"), 1),
    "get_or_create": (lambda: Reply.objects.get_or_create(id="x", defaults={"author_id": "beng"})[1], False),
    "update_or_create": (lambda: Reply.objects.update_or_create(id="x", defaults={"body": "of beng"})[1], False),
    "over a join": (lambda: Photo.objects.filter(post__author="beng").update(body="of beng"), 11),
    "deleted": (lambda: Reply.objects.get(id="x").delete()[0], 1),
    "deleted by key": (lambda: Reply.objects.filter(id__in=["w", "y"]).delete()[0], 2),
    "of two tables": (lambda: Agent.objects.filter(pk="beng").update(car="of beng", body="of beng"), 1),
    "saved to two tables": (lambda: Agent.objects.get(pk="beng").save(), None),
    "vouched for": (vouched(lambda: Reply.objects.filter(author=Lower(Value("BENG"))).update(author=Lower("author"))),
                    3),
    "text": (sql("UPDATE topic SET body = 'topic'"), "sent"),
}  # fmt: skip
NOT_WRITTEN: dict[str, Callable[[], Any]] = {
    # Theirs may be read, and are changed under about() of them.
    "Chua's by name": lambda: Post.objects.filter(author="chua").update(body="x"),
    "Chua's by key": lambda: Post.objects.filter(pk="p-chua").update(body="x"),
    "Chua's object": lambda: Post.objects.get(pk="p-chua").save(),
    "Chua's object deleted": lambda: Post.objects.get(pk="p-chua").delete(),
    "Chua's in bulk": lambda: Post.objects.bulk_update([Post(pk="p-chua", body="x")], ["body"]),
    "Chua's upserted": lambda: Post.objects.bulk_create([Post(id="p-chua", author_id="beng")], update_conflicts=True,
                                                        unique_fields=["id"], update_fields=["author"]),
    "Chua's or made": lambda: Post.objects.update_or_create(pk="p-chua", defaults={"body": "x"}),
    "hers by text": sql("UPDATE reply SET body = 'x' WHERE author = 'beng'"),
    "created for another": lambda: Reply.objects.create(id="n", author_id="chua", post_id="p-beng"),
    "a post for another": lambda: Post.objects.create(id="n", author_id="chua"),
    "a photo of another's post": lambda: Photo.objects.create(id="n", post_id="p-chua"),
    "photos of another's post": lambda: Photo.objects.bulk_create(
        [Photo(id=f"n-{to}", post_id=f"p-{to}") for to in ("beng", "chua")]),
    "a photo of no post": lambda: Photo.objects.create(id="n", post_id="none"),
    "a photo that is computed": lambda: Photo.objects.create(id="n", post_id=Lower(Value("P-CHUA"))),
    "a photo given away": lambda: Photo.objects.filter(post="p-beng").update(post="p-chua"),
    "a post given away": lambda: bengs().update(author="chua"),
    "a post computed": lambda: bengs().update(author=Lower(Value("CHUA"))),
    "two tables of somebody else": lambda: Agent.objects.create(id="dung"),
    "another's of two tables": lambda: Agent.objects.filter(pk="chua").update(car="x", body="x"),
    "somebody else": lambda: Member.objects.create(id="dung"),
    "in bulk": lambda: Reply.objects.bulk_create([Reply(id="n", author_id="beng", post_id="p-beng"),
                                                  Reply(id="o", author_id="chua", post_id="p-beng")]),
    "given away": lambda: Reply.objects.filter(author="beng").update(author="chua"),
    "given away by an object": lambda: Reply.objects.filter(author="beng").update(author=Member(id="chua")),
    "computed": lambda: Reply.objects.filter(author="beng").update(author=Lower(Value("CHUA"))),
    "computed in bulk": lambda: Reply.objects.bulk_update([Reply(id="r-beng-chua", author_id="beng")], ["author"]),
    "inserted computed": lambda: Reply.objects.create(id="n", author_id=Lower(Value("CHUA")), post_id="p-beng"),
    "text": sql("INSERT INTO reply (id, body, author, post_id) VALUES ('n', '', 'chua', 'p-beng')"),
    "updated text": sql("UPDATE reply SET author = 'chua'"),
    "all changed": lambda: Reply.objects.update(body="x"),
    "others' deleted": lambda: Reply.objects.filter(post="p-beng").delete(),
    "others' deleted raw": lambda: Reply.objects.filter(post="p-beng")._raw_delete("people-sg"),
    "others changed over a join": lambda: Reply.objects.filter(post__author="beng").update(body="x"),
    "copied from others": lambda: bengs().update(body=Subquery(Reply.objects.values("body")[:1])),
    "inserted from others": lambda: Post.objects.create(
        id="n", author_id="beng", body=Subquery(Reply.objects.order_by("id").values("body")[:1])),
    "Anh's by key": lambda: Photo.objects.filter(id="f-anh").update(body="x"),
    "Anh's deleted": lambda: Photo.objects.filter(post="p-anh").delete(),
    "Anh's saved over": lambda: Photo(id="f-anh", post_id="p-beng").save(),
    "Anh's upserted": lambda: Photo.objects.bulk_create(
        [Photo(id="f-anh", post_id="p-beng", body="of beng")], update_conflicts=True, unique_fields=["id"],
        update_fields=["body", "post"]),
}  # fmt: skip


def with_her_own() -> int:
    """Deletes a post of Beng's, and what is hers of it."""
    Post(id="n", author_id="beng").save()
    Reply.objects.create(id="n", author_id="beng", post_id="n")
    Photo.objects.create(id="n", post_id="n")
    return int(Post.objects.get(id="n").delete()[0])


def found_and_deleted() -> int:
    """Deletes a reply that nothing but its row says is Beng's."""
    Reply.objects.create(id="n", author_id="beng", post_id="p-beng", body="x")
    return int(Reply.objects.filter(body="x").delete()[0])


# In a unit of Beng's own, who reads what she likes.
OWN_WRITTEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "read": (lambda: Post.objects.count(), 3),
    "by name": (lambda: bengs().update(body="of beng"), 1),
    "by key": (lambda: Post.objects.filter(id="p-beng").update(body="of beng"), 1),
    "by keys": (lambda: Reply.objects.filter(id__in=["r-beng-anh", "r-beng-beng"]).update(body="of beng"), 2),
    "loaded": (lambda: Reply.objects.get(id="r-beng-anh").save(), None),
    "not loaded": (lambda: Reply(id="r-beng-anh", author_id="beng", post_id="p-anh", body="of beng").save(), None),
    "nobody's": (lambda: Topic.objects.update(body="topic"), 2),
    "not named": (lambda: Badge.objects.filter(id__gt="").update(body=""), 3),
    "over a join": (lambda: Photo.objects.filter(post__author="beng").update(body="of beng"), 1),
    "by what it leads to": (lambda: Photo.objects.filter(post="p-beng").update(body="of beng"), 1),
    "what is not there": (lambda: Reply.objects.filter(id="none").delete()[0], 0),
    "bulk_update": (lambda: Reply.objects.bulk_update([Reply(id="r-beng-anh", body="of beng")], ["body"]), 1),
    "upsert": (lambda: len(Reply.objects.bulk_create(
        [Reply(id="r-beng-anh", author_id="beng", post_id="p-anh", body="of beng")], update_conflicts=True,
        unique_fields=["id"], update_fields=["body"])), 1),
    "deleted with what is hers": (with_her_own, 3),
    "found and deleted": (found_and_deleted, 1),
    "vouched for": (vouched(lambda: Reply.objects.filter(post="p-beng", id="r-chua-beng").update(body="of chua")), 1),
    "text of nobody's": (sql("UPDATE topic SET body = 'topic'"), "sent"),
}  # fmt: skip
OWN_NOT_WRITTEN: dict[str, Callable[[], Any]] = {
    **{name: ask for name, ask in NOT_WRITTEN.items() if name.startswith(("Chua's", "Anh's", "others", "hers by"))},
    "all changed": NOT_WRITTEN["all changed"],
    "of two tables": NOT_WRITTEN["another's of two tables"],
    "counted up": lambda: Post.objects.filter(pk="p-chua").update(body=Concat("body", Value("!"))),
    "by another column": lambda: Reply.objects.filter(post="p-beng").update(body="x"),
    "by several keys": lambda: Reply.objects.filter(id__in=["r-beng-beng", "r-chua-beng"]).delete(),
    "deleted along": lambda: Post.objects.get(id="p-beng").delete(),
    "read, and then changed": lambda: [Post.objects.in_bulk(["p-chua"])["p-chua"].save() for _ in range(2)],
    "deleted by text": sql("DELETE FROM reply WHERE author = 'beng'"),
    "dropped": sql("DROP TABLE reply"),
    "changed behind a view": lambda: Seen.objects.filter(pk="p-chua").update(body="x"),
    "changed behind it by text": sql("UPDATE seen SET body = 'x'"),
}  # fmt: skip


def outcome(ask: Callable[[], Any]) -> Any:
    """What it gave, or which error it met."""
    try:
        return ask()
    except Refused as error:
        return f"Refused: {error.reason}"
    except UsageError as error:
        return f"UsageError: {error}"
    except Error as error:
        return f"{type(error).__name__}: {error}"


class Draws:
    """Chooses, cheaply, for a strategy of its own for each choice takes most of the time."""

    TABLES = (Member, Post, Reply, Photo, Topic)
    VALUES = ("beng", "chua", "beng", "anh", "p-anh", "p-beng", "f-beng", "r-beng-beng", "t")

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def one(self, of: Any) -> Any:
        """One of these."""
        return of[self._draw(st.integers(0, len(of) - 1))]

    def path(self, model: Any, end: str | None) -> str:
        """A way from a model over up to two relationships to a column; `end` None = to a key or what leads to one."""
        parts = []
        for _ in range(self.one([0, 0, 1, 2])):
            names = [each.name for each in model._meta.get_fields() if each.is_relation and each.name != "badges"]
            names = [each for each in names if each != "likes"]
            if names:
                parts.append(self.one(sorted(names)))
                model = model._meta.get_field(parts[-1]).related_model
        keys = [each.attname for each in model._meta.concrete_fields if each.name != "body"]
        return "__".join([*parts, end or self.one(keys)])

    def condition(self, model: Any, depth: int = 2, outer: Any = None) -> Q:
        """What a filter may say."""
        how = self.one(["is", "is", "is", "in", "other", "outer", "and", "or", "not", "iexact"])
        path, value = self.path(model, None), self.one(self.VALUES)
        if how in ("and", "or", "not") and depth:
            inner = self.condition(model, depth - 1, outer)
            made = Q(**{path: value})
            return ~made if how == "not" else (made & inner if how == "and" else made | inner)
        if how == "in":
            return Q(**{f"{path}__in": [value, self.one(self.VALUES)]})
        if how == "other":
            return Q(**{path: F(self.path(model, None))})
        if how == "outer" and outer is not None:
            return Q(**{path: OuterRef(self.path(outer, None))})
        return Q(**{f"{path}__iexact" if how == "iexact" else path: value})

    def query(self, model: Any = None, depth: int = 1, outer: Any = None) -> Any:
        """Of a model, with conditions, and perhaps more columns."""
        model = model or self.one(self.TABLES)
        made = model.objects.all()
        for _ in range(self.one([0, 1, 2])):
            some = self.condition(model, outer=outer)
            made = made.exclude(some) if self.one(range(5)) == 0 else made.filter(some)
        how = self.one(["none", "none", "none", "path", "max", "inner", "exists", "window", "concat"])
        if how in ("inner", "exists") and depth:
            inner = self.query(depth=depth - 1, outer=model)
            if how == "exists":
                return made.annotate(x=Exists(inner))
            return made.annotate(x=Subquery(inner.values(self.path(inner.model, "body"))[:1]))
        more = {"path": F, "max": Max, "concat": lambda path: Concat(path, Value("!")), "window": _window}.get(how)
        return made if more is None else made.annotate(x=more(self.path(model, "body")))

    def ask(self) -> Callable[[], Any]:
        """One of the ways to be told something."""
        made = self.query()
        path = self.path(made.model, "body")
        match self.one(["objects", "related", "prefetched", "only", "values", "values", "aggregate", "union"]):
            case "objects":
                return lambda: [_all_of(each) for each in made]
            case "related":
                return lambda: [[_all_of(each), *map(_all_of, _along(each))] for each in made.select_related()]
            case "prefetched":
                names = [each.name for each in made.model._meta.get_fields() if each.is_relation]
                name = self.one(sorted({*names} - {"likes", "badges"}))
                return lambda: [[_all_of(each), *_prefetched(each)] for each in made.prefetch_related(name)]
            case "only":
                return lambda: [_all_of(each) for each in made.only(self.one(["id", "body"]))]
            case "values":
                return lambda: list(made.values_list(path))
            case "aggregate":
                return lambda: made.aggregate(m=Max(path))
            case _:
                other = self.query()
                return lambda: list(made.values_list(path).union(other.values_list(self.path(other.model, "body"))))


def _window(path: str) -> Any:
    return Window(Max(path))


def _all_of(row: Any) -> Any:
    return row if row is None else {key: value for key, value in row.__dict__.items() if not key.startswith("_")}


def _along(row: Any) -> list[Any]:
    return [each for each in row._state.fields_cache.values() if each is not None]


def _prefetched(row: Any) -> list[Any]:
    return [_all_of(each) for found in getattr(row, "_prefetched_objects_cache", {}).values() for each in found]


seen = {"given": 0, "refused": 0}


@generating(max_examples=400, deadline=None, database=None, derandomize=True)
@generated(st.data())
def tells_nothing_of_her(data: Any) -> None:
    """Whatever is asked, nothing of Anh's is given."""
    try:
        found = Draws(data.draw).ask()()
    except (Refused, UsageError):
        seen["refused"] += 1
        return
    except Exception as error:
        if type(error).__module__.startswith("django."):
            return  # it is no query
        raise
    seen["given"] += 1
    # Who filters by her name, of their own, is told it again.
    assert "of anh" not in json.dumps(found, default=str), found


def statements() -> int:
    """How many it takes to read many rows of which none says itself whose it is."""
    count = 0

    def counted(execute: Any, *told: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*told)

    with connections["people-sg"].execute_wrapper(counted):
        assert len(Photo.objects.filter(post="p-chua").only("id")) > 250
    return count


def by_an_older_compiler() -> Any:
    """One that Django made before, or by itself."""
    from django.db.models.sql.compiler import SQLCompiler

    return list(SQLCompiler(Post.objects.all().query, connections["people-sg"], "people-sg").results_iter())


def of_another_store() -> Any:
    """The same database under a store that has no `records:`."""
    with unit("one") as alias:
        return ids(Post.objects.using(alias).all())


def in_a_thread() -> Any:
    """With the unit's context, and a connection of its own."""
    found: list[Any] = []

    def change() -> Any:
        return Topic.objects.filter(pk="t").update(body="topic")

    def run() -> None:
        found.extend([outcome(change), outcome(partial(work, change))])
        connections.close_all()

    thread = threading.Thread(target=copy_context().run, args=(run,))
    thread.start()
    thread.join()
    return found


def past() -> Any:
    """By what the driver's cursor has beside."""
    with connections["people-sg"].cursor() as cursor:
        if URLS[0].startswith("postgresql"):
            with cursor.copy("COPY post TO STDOUT") as copied:
                return [bytes(each).decode() for each in copied]
        cursor.executescript("UPDATE post SET body = 'x'")
        return "sent"


def drivers() -> dict[str, Any]:
    """By the driver's own connection and cursors, each of which tells of itself and does nothing."""
    connection, server = connections["people-sg"], URLS[0].startswith("postgresql")
    with connection.cursor() as cursor:
        asked: dict[str, Callable[[], Any]] = {
            "connection": lambda: connection.connection.execute("SELECT body FROM post"),
            "commit": lambda: connection.connection.commit(),
            "set": lambda: setattr(connection.connection, "autocommit" if server else "isolation_level", None),
            "cursor": lambda: cursor.cursor.execute("SELECT body FROM post"),
            "cursor's connection": lambda: cursor.connection.cursor(),
            "cursor's cursor's connection": lambda: cursor.cursor.connection.cursor(),
            "callproc": lambda: cursor.callproc("version"),
            "script": vouched(lambda: next(cursor.stream("COMMIT")) if server else cursor.executescript("COMMIT")),
            "copy": vouched(lambda: cursor.copy("COMMIT").__enter__()) if server else past,
        }
        refused = {name: outcome(ask) for name, ask in asked.items()}
        told = connection.connection.info.dbname if server else connection.connection.in_transaction
        return {"refused": refused, "tells": [bool(told), hasattr(cursor.connection, "get_dsn_parameters")]}


def composed() -> Any:
    """Text of psycopg's own making."""
    if not URLS[0].startswith("postgresql"):
        return LOOSE["text"]()
    from psycopg.sql import SQL, Identifier

    with connections["people-sg"].cursor() as cursor:
        cursor.execute(SQL("SELECT id FROM {}").format(Identifier("topic")))
        cursor.execute(SQL("SELECT id FROM {}").format(Identifier("post")))
    return "sent"


def anew() -> list[str]:
    """On a connection that is in no transaction of the unit's."""
    told: list[str] = []

    def change() -> None:
        told.append(outcome(connections["people-sg"].connect))
        told.append(outcome(lambda: Topic.objects.filter(pk="t").update(body="x")))

    try:
        work(change)
    except Exception as error:  # noqa: BLE001 - which one it is is Django's
        told.append(type(error).__name__)
    return told


def work(run: Callable[[], Any]) -> Any:
    """Something done in a unit of its own, whose connection then is given back."""
    with unit("people", sink="people-sg"):
        return run()


def each(of: Any) -> dict[str, Any]:
    """What became of each, in a unit of its own."""
    return {name: outcome(partial(work, ask)) for name, ask in of.items()}


def in_one(of: Any) -> dict[str, Any]:
    """What became of each, in one unit."""
    with unit("people", sink="people-sg"):
        return {name: outcome(ask) for name, ask in of.items()}


def answers(of: dict[str, tuple[Callable[[], Any], Any]]) -> dict[str, Callable[[], Any]]:
    """The questions without what is expected."""
    return {name: ask for name, (ask, _) in of.items()}


@contextmanager
def request(runtime: Any, method: str, path: str, who: str) -> Iterator[None]:
    """A request of somebody's in Singapore."""
    asked = Request(method, path, path.encode(), (), (SINGAPORE, 50_000), SimpleUser(who))
    with handling(runtime.point.admit(asked)):
        yield


async def main() -> None:
    """Ask all of it."""
    runtime = build(POLICY, reload=False)
    await runtime.start()
    told: dict[str, Any] = {
        "expected": {
            "given": {name: given for name, (_, given) in GIVEN.items()},
            "written": {name: given for name, (_, given) in WRITTEN.items()},
            "own written": {name: given for name, (_, given) in OWN_WRITTEN.items()},
        }
    }
    admitted = runtime.point.admit(Request("POST", "/somebody", b"/somebody", (), (HANOI, 50_000), SimpleUser("anh")))
    with handling(admitted):  # she is at home from now on, and her rows lie abroad still

        def pinned() -> None:
            with unit("people"):
                pass

        await sync_to_async(pinned)()
    with request(runtime, "GET", "/somebody", "sue"):
        async with about("beng"):
            told["given"] = await sync_to_async(in_one)(answers(GIVEN))
            told["loose"] = await sync_to_async(in_one)(LOOSE)
            told["behind"] = await sync_to_async(in_one)(BEHIND)
            told["behind, vouched for"] = await sync_to_async(work)(vouched(lambda: ids(Seen.objects.all())))
            told["statements"] = await sync_to_async(work)(statements)
            told["forbidden"] = await sync_to_async(each)(FORBIDDEN)
            if len(sys.argv) == 2:
                await sync_to_async(work)(tells_nothing_of_her)
                told["seen"] = seen
        (group,) = (await about_many(["beng", "chua"])).groups
        async with group:
            both = {"both": lambda: ids(Post.objects.filter(author__in=group.asked)), "all": FORBIDDEN["all"]}
            told["group"] = await sync_to_async(each)(both)
    with request(runtime, "GET", "/somebody/beng", "sue"):
        told["named"] = await sync_to_async(each)({"her": FORBIDDEN["all"], "loose": LOOSE["count"]})
    with request(runtime, "GET", "/both/beng", "sue"):
        told["store"] = await sync_to_async(outcome)(of_another_store)
    with request(runtime, "GET", "/people", "sue"):  # of an activity that is about nobody all is of others
        nobody = {"hers": FORBIDDEN["all"], "allowed": lambda: ids(bengs()), "count": LOOSE["count"]}
        told["nobody"] = await sync_to_async(each)(nobody)
    with request(runtime, "GET", "/somebody", "beng"):  # who asks for themselves
        told["own"] = await sync_to_async(each)(LOOSE)
    with request(runtime, "POST", "/somebody", "beng"):
        told["own writes"] = await sync_to_async(each)(
            {
                "for another": NOT_WRITTEN["created for another"],
                "text": NOT_WRITTEN["text"],
                "text of what leads to another": sql("INSERT INTO post (id, body, author) VALUES ('n', '', 'chua')"),
            }
        )
        told["own written"] = await sync_to_async(in_one)(answers(OWN_WRITTEN))
        told["own not written"] = await sync_to_async(each)(OWN_NOT_WRITTEN)
    with request(runtime, "POST", "/somebody", "sue"):
        async with about("beng"):
            told["written"] = await sync_to_async(in_one)(answers(WRITTEN))
            told["not written"] = await sync_to_async(each)(NOT_WRITTEN)
            around: dict[str, Callable[[], Any]] = {
                "older": by_an_older_compiler, "thread": in_a_thread, "past": past, "drivers": drivers,
                "composed": composed,
            }  # fmt: skip
            told["around"] = await sync_to_async(each)(around)
            told["around"]["anew"] = await sync_to_async(anew)()
    await runtime.aclose()
    entries = []
    for segment in sorted((FOLDER / "audit" / "journal").glob("*/*.seg")):
        entries += [parse_entry(bytes(r.payload)) for r in scan(segment.read_bytes(), RECORDS_AT, None).records]
    told["refused"] = sorted({(entry.reason, entry.sink) for entry in entries if entry.kind == "refusal"})
    print(json.dumps(told, default=str))


for sink in ("people-vn", "people-sg"):
    with connections[sink].schema_editor() as editor:
        for model in (Topic, Member, Agent, Post, Reply, Photo, Badge):
            editor.create_model(model)
        editor.execute(VIEW)
for row in rows():
    row.save(using="people-sg", force_insert=True)
connections.close_all()
asyncio.run(main())
left = {
    of.__name__: sorted(of.objects.using("people-sg").values_list("id", "body")) for of in (Topic, Member, Post, Reply)
}
print(json.dumps({"left": left}))
