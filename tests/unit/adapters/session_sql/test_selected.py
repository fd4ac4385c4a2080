"""What a statement tells columns of, and by which of its conditions it says whose they are, of shapes of all kinds."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    Integer,
    Table,
    any_,
    case,
    column,
    delete,
    exists,
    extract,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
    tuple_,
    update,
    values,
)  # fmt: skip
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    contains_eager,
    mapped_column,
    relationship,
    with_loader_criteria,
    with_polymorphic,
)  # fmt: skip
from sqlalchemy.sql import coercions, roles

from residency.adapters.session_sql.selected import hidden, selected
from residency.policy.parsed_storage import RecordDoc


class Base(DeclarativeBase):
    """This test's models."""


class Person(Base):
    """Says itself who it is, and one kind has a table more."""

    __tablename__ = "person"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]


class Agent(Person):
    """Leads to a person by its key."""

    __tablename__ = "agent"
    __mapper_args__ = {"polymorphic_identity": "agent"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    car: Mapped[str]


class Order(Base):
    """Says whose it is."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[int] = mapped_column(ForeignKey("person.id"))
    total: Mapped[int]
    person: Mapped[Person] = relationship()
    tags: Mapped[list[Tag]] = relationship(secondary="tagged")


class Tag(Base):
    """Nobody's."""

    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    orders: Mapped[list[Order]] = relationship(secondary="tagged", viewonly=True)


Table("tagged", Base.metadata, Column("order_id", ForeignKey("orders.id")), Column("tag_id", ForeignKey("tag.id")))
NONE: frozenset[str] = frozenset()
DOCS = {
    "person": RecordDoc("person", "id", None, NONE),
    "agent": RecordDoc("agent", None, ("id", "person"), NONE),
    "orders": RecordDoc("orders", "account", None, NONE),
    "tag": RecordDoc("tag", None, None, NONE),
}
OWN = Order.account == 1
BARE: Any = table("orders", column("account"), column("total"))
BOTH = with_polymorphic(Person, [Agent], flat=True)


def chain(*own: Any) -> Any:
    """A recursive CTE, whose second part says what is given."""
    first = select(Order.id.label("key")).where(OWN).cte(recursive=True)
    return first.union_all(select(Order.id).where(Order.id == first.c.key + 1, *own))


def beside(*own: Any) -> Any:
    """A person, and the total of an order from a subquery that refers to them."""
    orders = select(Order.total).where(Order.account == Person.id, *own).lateral()
    return select(Person.name, orders.c.total).join(orders, true()).where(Person.id == 1)


class Own(ColumnElement[str]):
    """A construct of an app's own."""

    inherit_cache = True

    def __init__(self, words: str, *parts: Any) -> None:
        self.words, self.parts = words, [coercions.expect(roles.ExpressionElementRole, each) for each in parts]

    def get_children(self, **kw: Any) -> Any:
        return self.parts


@compiles(Own)
def _own(own: Own, compiler: Any, **kw: Any) -> str:
    if own.words == "raises":
        raise ValueError
    return own.words.format(*(compiler.process(each, **kw) for each in own.parts))


HELD: dict[str, tuple[Any, set[tuple[str, str]]]] = {
    "joined tables": (select(Agent.name, Agent.car).where(Agent.id == 1), {("person", "id"), ("agent", "id")}),
    "of any kind": (select(BOTH.name, BOTH.Agent.car).where(BOTH.id == 1), {("person", "id"), ("agent", "id")}),
    "a relationship": (select(Order.total).where(Order.person == Person(id=1)), {("orders", "account")}),
    "bare table": (select(BARE.c.total).where(BARE.c.account == 1), {("orders", "account")}),
    "recursive": (select(chain(OWN)), {("orders", "account")}),
    "alias of a subquery": (select(aliased(Order, select(Order).where(OWN).subquery()).total), {("orders", "account")}),
    "counted through": (select(func.count()).select_from(Order).join(Order.tags).where(OWN), {("orders", "account")}),
    "locked": (select(Order.total).where(OWN).with_for_update(), {("orders", "account")}),
    "text": (select(literal_column("total")).select_from(Order).where(OWN), {("orders", "account")}),
    "a construct": (select(Own("upper({})", Order.id)).where(OWN), {("orders", "account")}),
    "an operator": (select(Order.id.op("%%")(Order.total)).where(OWN), {("orders", "account")}),
    "a window": (select(Order, func.count().over()).where(OWN), {("orders", "account")}),
    "deleted": (delete(Order).where(OWN).returning(Order.id), {("orders", "account")}),
    "lateral": (beside(OWN), {("person", "id"), ("orders", "account")}),
    "counted from a subquery": (
        select(func.count()).select_from(select(Order).where(OWN).subquery().alias()),
        {("orders", "account")},
    ),
    "upsert": (
        sqlite.insert(Order).values(id=1, account=1).on_conflict_do_update(["id"], set_={"total": 2}, where=OWN),
        {("orders", "account")},
    ),
    "upsert by the subject": (
        postgresql.insert(Order)
        .values(id=1, account=1)
        .on_conflict_do_update(index_elements=["account"], set_={"total": 2}),
        set(),
    ),
    "nobody's": (select(Tag.id).join(Order.tags).where(OWN), {("orders", "account")}),
    "what filters": (select(Tag.id).where(exists().where(OWN)), {("orders", "account")}),
    "a filter of the same people": (
        select(Person.name).where(Person.id == 1, exists().where(Order.account == Person.id)),
        {("person", "id")},
    ),
    "an order by them": (
        select(Person.name)
        .where(Person.id == 1)
        .order_by(select(func.max(Order.id)).where(Order.account == Person.id).scalar_subquery()),
        {("person", "id")},
    ),
    "no table": (select(func.now()), set()),
    "values": (select(values(column("a", Integer), name="v").data([(1,)])), set()),
    "what is inserted": (insert(Order).values(id=1).returning(Order.id), set()),
}
LOOSE: dict[str, Any] = {
    "joined": select(Tag.id).join(Order.tags),
    "a filter": select(Tag.id).where(exists().where(Order.total > 5)),
    "a filter of others": select(Order.total).where(OWN, exists().where(Person.id == Order.id)),
    "an order": select(Order.total).where(OWN).order_by(select(func.max(Person.name)).scalar_subquery()),
    "a join's filter": select(Order.total).join(Tag, exists().where(Person.name == "x")).where(OWN),
    "having": select(Order.total).where(OWN).group_by(Order.total).having(exists().where(Person.name == "x")),
    "an order of several": select(Order.total)
    .where(OWN)
    .union(select(Order.id).where(OWN))
    .order_by(select(func.max(Person.name)).scalar_subquery()),
    "a filter of objects": select(Order).where(exists().where(Person.name == "x")),
    "a filter of objects by a relationship": select(Tag).where(Tag.orders.any(Order.total == 5)),
    "a filter of objects by text": select(Order).from_statement(text("SELECT o.* FROM orders o, person p")),
    "a filter of an alias": select(
        aliased(Order, select(Order).join(Person, Person.id == Order.id).where(Person.name == "x").subquery())
    ),
    "inserted by an expression": insert(Tag).values(id=select(func.max(Order.id)).scalar_subquery()),
    "copied": insert(Tag).from_select(["id"], select(Order.id)),
    "changed to": update(Order).where(OWN).values(total=select(func.max(Person.id)).scalar_subquery()),
    "changed where others are": update(Order).where(OWN, Person.name == "x").values(total=1),
    "deleted where others are": delete(Order).where(OWN, exists().where(Person.name == "x")),
    "joined tables": select(Agent.name),
    "of any kind": select(BOTH.name),
    "a relationship's filter": select(Order.total).where(Order.person.has(Person.id == 1)),
    "bare table": select(column("total")).select_from(BARE),
    "recursive": select(chain()),
    "lateral": beside(),  # the person it refers to stands in no FROM of its own
    "behind it": select(Tag.id).suffix_with("UNION SELECT id FROM orders"),
    "behind its conditions": select(Order.total).where(OWN).suffix_with("OR 1 = 1"),
    "before it": select(Tag.id).prefix_with("(SELECT max(id) FROM orders),"),
    "a hint": select(Tag.id).with_statement_hint("UNION SELECT id FROM orders"),
    "a table's hint": select(Tag.id).with_hint(Tag, "NATURAL JOIN orders"),
    "a CTE of no use": select(Tag.id).add_cte(update(Order).values(total=1).cte()),
    "spelled otherwise": select(column("total")).select_from(table("ORDERS")),
    "in place of another": insert(Order).prefix_with("OR REPLACE").values(id=1, account=1),
    "upsert": sqlite.insert(Order).values(id=1, account=1).on_conflict_do_update(["id"], set_={"total": 2}),
    "upsert by a filter": sqlite.insert(Tag)
    .values(id=1)
    .on_conflict_do_update(["id"], set_={"id": 2}, where=exists().where(Person.name == "x")),
    "alias of a subquery": select(aliased(Order, select(Order).subquery()).total).where(OWN),
    "sample": select(Order.__table__.tablesample(5)),
    "whole rows": select(func.row_to_json(Order.__table__.table_valued())),  # type: ignore[attr-defined]
    "window": select(func.sum(Order.total).over(partition_by=Order.account)),
    "criteria of a loader": select(Order.total).options(with_loader_criteria(Order, OWN)),
    "array": select(Order.total).where(Order.account == any_(literal([1]))),
    "pair": select(Order.total).where(tuple_(Order.account, Order.id).in_([(1, 2)])),
    "filter of an aggregate": select(func.count(Order.id).filter(OWN)),
    "case": select(case((OWN, Order.total), else_=0)),
    "either": select(Order.total).where(or_(OWN, Order.id == 2)),
    "updated in a CTE": select(update(Order).values(total=1).returning(Order.id).cte()),
    "a construct": select(Tag.id, Own("(SELECT max(id) FROM orders)")),
    "a construct that filters": select(Tag).where(Tag.id == Own("(SELECT max(id) FROM orders)")),
    "a construct behind which no condition holds": select(Order.total).where(OWN, Own("1 = 1 OR 1 = 1")),
    "a construct that nobody can read": select(Order.total).where(OWN, Own("raises")),
    "a construct of several parts": select(Tag.id, Own("{} || (SELECT max(id) FROM orders)", Order.id)).where(OWN),
    "an operator": select(Tag.id.op("+ (SELECT max(id) FROM orders) +")(1)),
    "an operator behind which no condition holds": select(Order.total).where(OWN, Order.id.op("= 1 OR 2 =")(2)),
    "a function of text": select(Tag.id, func.lower(Own("(SELECT max(id) FROM orders)"))),
    "objects beside a window": select(Order, func.count().over()).limit(1),
    "objects beside a window in text": select(Order, literal_column("count(*) OVER ()")).limit(1),
    "objects beside a window of an app's": select(Order, Own("count(*) OVER ()")).limit(1),
    "objects ordered by a window": select(Order).order_by(func.count().over(order_by=Order.total)),
    "objects beside a sum": select(Order, func.group_concat(Order.total)),
    "objects of groups": select(Order).group_by(Order.account).having(func.count() > 1),
    "a window of one row's group": select(Order, func.count().over()).group_by(Order.id),
    "inserted by a further row": insert(Tag).values([{"id": 1}, {"id": select(func.max(Order.id)).scalar_subquery()}]),
    "values": select(values(column("id", Integer), name="v").data([(select(func.max(Order.id)).scalar_subquery(),)])),
    "values among columns": select(
        values(column("id", Integer)).data([(select(func.max(Order.id)).scalar_subquery(),)]).scalar_values()
    ),
    "values of text": select(values(column("id", Integer), name="v").data([(text("(SELECT max(id) FROM orders)"),)])),
    "a field of text": select(extract("year FROM (SELECT max(total) FROM orders)) + extract(year", Tag.id)),
    "inserted from others": insert(Order).from_select(["id"], select(Order.id)).returning(Order.id),
}
LOADED: list[Any] = [
    select(Agent),
    select(BOTH),
    select(aliased(Order, select(Order).subquery())),
    select(Order).join(Order.person).options(contains_eager(Order.person)),
    select(Order, func.now()),
    select(Order, func.lower(Order.total), Own("upper({})", Order.id)),
    select(Order, func.count(Tag.id)).outerjoin(Order.tags).group_by(Order.id),
    select(Order).where(text("length(total) > 0")).order_by(text("total DESC")),
    select(Order).where(Order.person.has(Person.name == "x")),
]


@pytest.mark.parametrize("shape", HELD)
def test_it_is_told_by_which_column_a_statement_says_whose_rows_it_tells(shape: str) -> None:
    statement, held = HELD[shape]
    found = selected(statement, DOCS, loads=True)
    assert ({(each.table.name, *each.columns) for each in found.held}, found.loose) == (held, [])


@pytest.mark.parametrize("shape", LOOSE)
def test_what_says_it_in_no_way_that_is_understood_is_told(shape: str) -> None:
    found = selected(LOOSE[shape], DOCS, loads=True)
    assert found.loose or found.unheld


OWN_TOTAL = select(func.max(Order.total)).where(Order.account == Person.id)
INNER = OWN_TOTAL.scalar_subquery()
OF_ALL = select(func.max(Order.total)).scalar_subquery()
# What a list of people tells beside them, and whether that is of the same person.
LISTED: list[tuple[Any, bool]] = [
    (select(Person), True),
    (select(Person.id, Person.name), True),
    (select(Person, func.now(), func.lower(Person.name)), True),
    (select(Person, INNER), True),
    (select(Person, OWN_TOTAL.correlate(Person).scalar_subquery()), True),
    (select(Person, exists().where(Order.account == Person.id)), True),
    (select(Person, func.coalesce(INNER, 0)), True),
    (select(Person, OF_ALL), False),
    (select(Person, func.count().over()), False),
    (select(Person, OWN_TOTAL.correlate(None).scalar_subquery()), False),
    (select(Person, select(func.max(Person.name)).scalar_subquery()), False),
    (select(Person, select(INNER).scalar_subquery()), False),  # it refers past the one around it
    (select(Person, select(Order.total).join(Person).scalar_subquery()), False),
    (select(Person, select(Order.total).join(Person).where(Person.id == 1).scalar_subquery()), False),
    (select(Person, select(Order.account, Order.total).subquery()), False),
    (select(Person, literal_column("(SELECT total FROM orders)")), False),
    (select(Person, select(func.count(Tag.id)).scalar_subquery()), True),
]


@pytest.mark.parametrize("at", range(len(LISTED)))
def test_what_a_list_tells_within_other_statements_is_of_the_rows_own_person(at: int) -> None:
    statement, told = LISTED[at]
    assert (hidden(statement, DOCS, [Person.__table__]) == []) == told


def test_a_change_says_whose_rows_it_changes() -> None:
    for statement in (update(Order).values(total=1), delete(Order)):
        assert selected(statement, DOCS, loads=False).unheld == ["orders"]
        found = selected(statement.where(OWN), DOCS, loads=False)
        assert ([each.columns for each in found.changed], found.unheld, found.loose) == ([("account",)], [], [])


def test_objects_tell_themselves_where_there_are_some() -> None:
    for statement in LOADED:
        assert selected(statement, DOCS, loads=True).loose == []
        assert selected(statement, DOCS, loads=False).loose
