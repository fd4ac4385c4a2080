"""Whatever columns a statement selects: where it is held to people other than Anh, nothing of hers is among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    MetaData,
    Select,
    String,
    Table,
    TextClause,
    and_,
    create_engine,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    union,
)  # fmt: skip
from sqlalchemy.exc import InvalidRequestError, OperationalError

from residency.adapters.session_sql.selected import hidden, selected, subject_of
from residency.policy.parsed_storage import RecordDoc

# A cartesian product is a statement like any other here.
pytestmark = pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product")

PEOPLE: Final = ("anh", "beng", "chua")
METADATA = MetaData()


def table(name: str, *columns: Column[Any]) -> Table:
    """A table whose rows each bear, in their body, the name of whose they are."""
    return Table(name, METADATA, Column("id", String, primary_key=True), Column("body", String), *columns)


MEMBER = table("member")
POST = table("post", Column("author", ForeignKey("member.id")))
REPLY = table("reply", Column("author", String), Column("post_id", ForeignKey("post.id")))
PHOTO = table("photo", Column("post_id", ForeignKey("post.id")))
TOPIC = table("topic")
TABLES: Final = (MEMBER, POST, REPLY, PHOTO, TOPIC)
VALUES: Final = (*PEOPLE, "beng", "chua", "p-anh", "p-beng", "p-chua", "f-beng", "r-beng-anh", "t")
AMONG: Final = {size: st.integers(0, size - 1) for size in range(2, 200)}
NONE: frozenset[str] = frozenset()
DOCS: Final = {
    "member": RecordDoc("member", "id", None, NONE),
    "post": RecordDoc("post", None, ("author", "member"), NONE),
    "reply": RecordDoc("reply", "author", None, NONE),
    "photo": RecordDoc("photo", None, ("post_id", "post"), NONE),
    "topic": RecordDoc("topic", None, None, NONE),
}


def filled(people: Sequence[str]) -> Connection:
    """A database where each of these has a row of each table, and a reply to everybody's post."""
    connection = create_engine("sqlite://").connect()
    METADATA.create_all(connection)
    connection.execute(insert(TOPIC).values(id="t", body="topic"))
    for who in people:
        connection.execute(insert(MEMBER).values(id=who, body=f"of {who}"))
        connection.execute(insert(POST).values(id=f"p-{who}", author=who, body=f"of {who}"))
        connection.execute(insert(PHOTO).values(id=f"f-{who}", post_id=f"p-{who}", body=f"of {who}"))
        for to in PEOPLE:
            connection.execute(
                insert(REPLY).values(id=f"r-{who}-{to}", author=who, post_id=f"p-{to}", body=f"of {who}")
            )
    return connection


DATABASE: Final = filled(PEOPLE)
WITHOUT_HER: Final = filled([who for who in PEOPLE if who != "anh"])


def first_of(statement: Select[Any]) -> Select[Any]:
    """Its first column alone."""
    return statement.with_only_columns(statement.selected_columns[0], maintain_column_froms=True)


class Draws:
    """Chooses, cheaply, for a strategy of its own for each choice takes most of the time."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def one(self, of: Sequence[Any]) -> Any:
        """One of these."""
        return of[self._draw(AMONG[len(of)])] if len(of) > 1 else of[0]

    def condition(self, froms: list[Any], depth: int = 2) -> ColumnElement[bool] | TextClause:
        """What WHERE or ON may say of these."""
        columns = [column for here in froms for column in here.c if not column.name.startswith("body")]
        how = self.one(["held", "held", "in", "other", "and", "or", "not", "lower", "text", "exists"])
        if how == "text" or not columns:
            return text(self.one(["1 = 1", "1 = 1 OR 1 = 1"]))
        if how == "exists":
            return exists(first_of(self.select(depth - 1, froms))) if depth else not_(exists(self.one(TABLES).c.id))
        column, value = self.one(columns), self.one(VALUES)
        if how in ("and", "or", "not") and depth:
            inner = self.condition(froms, depth - 1)
            if how == "not":
                return not_(cast(ColumnElement[bool], column == value))
            return (and_ if how == "and" else or_)(column == value, inner)
        match how:
            case "in":
                return cast(ColumnElement[bool], column.in_([value, self.one(VALUES)]))
            case "other":
                return cast(ColumnElement[bool], column == self.one(columns))
            case "lower":
                return cast(ColumnElement[bool], func.lower(column) == value)
            case _:
                return cast(ColumnElement[bool], column == value)

    def select(self, depth: int = 2, beside: Sequence[Any] = ()) -> Select[Any]:
        """Of bodies of one to three tables, joined in any way, with any conditions, and others within it; conditions
        may be of tables `beside`, too."""
        froms: list[Any] = []
        for _ in range(self.one([1, 1, 2, 3])):
            if depth and self.one(range(6)) == 0:
                within = self.select(depth - 1)
                froms.append(within.cte() if self.one([True, False]) else within.subquery())
                continue
            chosen = self.one(TABLES)
            froms.append(chosen.alias() if chosen in froms or self.one([True, False]) else chosen)
        source = froms[0]
        for each in froms[1:]:
            how = self.one([{}, {}, {"isouter": True}, {"full": True}])
            source = source.join(each, self.condition(froms), **how)
        told: list[Any] = []
        for _ in range(self.one([1, 2])):
            body = next(column for column in self.one(froms).c if column.name.startswith("body"))
            told.append(self.one([body, body, func.lower(body), func.max(body), func.group_concat(body)]))
        if depth and self.one(range(5)) == 0:
            inner = first_of(self.select(depth - 1)).limit(1).scalar_subquery()
            told.append(self.one([inner, func.coalesce(inner, "none")]))
        found = select(*(each.label(f"body_{number}") for number, each in enumerate(told))).select_from(source)
        for _ in range(self.one([0, 1, 2])):
            found = found.where(self.condition([*froms, *beside]))
        return found


@st.composite
def selects(draw: Any) -> Any:
    """A SELECT, or two in one."""
    draws = Draws(draw)
    found = draws.select()
    return union(*map(first_of, (found, draws.select()))) if draws.one(range(6)) == 0 else found


@st.composite
def lists(draw: Any) -> Any:
    """A list of members other than Anh, with a column from another statement that may refer to them."""
    draws = Draws(draw)
    inner = first_of(draws.select(draws.one([0, 0, 1]), [MEMBER, MEMBER])).limit(1)
    how = draws.one(["by itself", "by itself", "to them", "to nothing", "to all but"])
    if how == "to all but":
        inner = inner.correlate_except(*TABLES[1:])
    elif how != "by itself":
        inner = inner.correlate(MEMBER if how == "to them" else None)
    return select(MEMBER.c.body, inner.scalar_subquery()).where(MEMBER.c.id != "anh")


def people_of(statement: Any) -> set[str] | None:
    """To whom a statement is held; None = it does not say."""
    try:
        given = {bind.key: bind.value for bind in statement.compile().binds.values()}
    except InvalidRequestError:  # all of its tables stand around it
        return None
    plan = selected(statement, DOCS, loads=False)
    if plan.loose:
        return None
    people: set[str] = set()
    for at, columns, keys in plan.held:
        of = subject_of(at, at, DOCS)
        assert of is not None
        asked = select(of)
        for column, key in zip(columns, keys, strict=True):
            asked = asked.where(at.c[column].in_(given[key] if isinstance(given[key], list) else [given[key]]))
        people |= set(DATABASE.execute(asked).scalars())
    return people


@settings(max_examples=300, deadline=None)
@given(selects())
@example(select(POST.c.body).where(POST.c.author == "beng"))
@example(select(POST.c.body, exists().where(REPLY.c.post_id == POST.c.id)).where(POST.c.author == "beng"))
@example(select(func.coalesce(select(func.max(POST.c.body)).scalar_subquery(), "none")))
@example(
    union(select(POST.c.body).where(POST.c.author == "beng"), select(REPLY.c.body).where(REPLY.c.author == "chua"))
)
def test_what_is_held_to_others_tells_nothing_of_her(statement: Any) -> None:
    people = people_of(statement)
    event("loose" if people is None else "hers" if "anh" in people else "others'")
    if people is None or "anh" in people:
        return
    tells_nothing_of_her(statement)


@settings(max_examples=300, deadline=None)
@given(lists())
@example(select(MEMBER.c.body, select(POST.c.body).where(POST.c.author == MEMBER.c.id)
         .scalar_subquery()).where(MEMBER.c.id != "anh"))  # fmt: skip
def test_what_a_list_tells_within_is_of_its_rows_own_people(statement: Any) -> None:
    try:
        loose = hidden(statement, DOCS, [MEMBER])
    except InvalidRequestError:
        return
    event("refused" if loose else "told")
    if not loose:
        tells_nothing_of_her(statement)


def tells_nothing_of_her(statement: Any) -> None:
    try:
        rows = DATABASE.execute(statement).all()
    except OperationalError:  # a maximum of maxima
        return
    for row in rows:
        assert not any("anh" in str(each) for each in row)
    # Nor is anything left out, or counted, because of her.
    assert told(rows) == told(WITHOUT_HER.execute(statement).all())


def told(rows: Sequence[Any]) -> list[str]:
    """Rows in no order, nor what is put together of several."""
    return sorted(str([sorted(str(each).split(",")) for each in row]) for row in rows)
