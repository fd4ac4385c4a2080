"""An app's tables: from its own modules, with where each stands and which keys count up alike."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from residency.cli.app_tables import app_tables, metadata_of
from residency.errors import UsageError
from residency.integrations.sqlalchemy import ranged_sequence
from residency.policy.identifiers import AppTable


def tables(*made: Table) -> dict[str, AppTable]:
    module = ModuleType("models")
    module.__dict__["anything"] = made[0].metadata
    return {table.name: table for table in app_tables([module], ())}


def test_which_columns_are_keys_and_which_are_unique_alone() -> None:
    meta = MetaData()
    person = Table(
        "person", meta,
        Column("id", String, primary_key=True),
        Column("a", String, unique=True), *(Column(name, String) for name in "bcde"),
        UniqueConstraint("b"), UniqueConstraint("c", "d"), Index("of_e", "e", unique=True),
    )  # fmt: skip
    found = tables(person)["person"]
    assert [column.name for column in found.columns if column.primary] == ["id"]
    assert [column.name for column in found.columns if column.unique] == ["a", "b", "e"]
    assert (found.file, found.line, found.counts) == ("", 1, "")


def test_which_keys_count_up_alike() -> None:
    meta = MetaData()
    Table("counted", meta, Column("id", Integer, primary_key=True))
    Table("identity", meta, Column("number", BigInteger, Identity(), primary_key=True))
    Table("brought", meta, Column("id", Integer, primary_key=True, autoincrement=False))
    ranged = ranged_sequence("own", {"vn": 0, "sg": 1})
    last = Table("ranged", meta, Column("id", BigInteger, ranged, primary_key=True))
    assert {name: table.counts for name, table in tables(last).items()} == {
        "counted": "id", "identity": "number", "brought": "", "ranged": ""
    }  # fmt: skip
    assert [name for name, table in tables(last).items() if table.ranged == "id"] == ["ranged"]


def test_which_tables_a_column_refers_to_also_of_another_schema_and_unknown_ones() -> None:
    letter = Table(
        "letter", MetaData(),
        Column("id", String, primary_key=True), Column("a", String, ForeignKey("gone.id")),
        Column("b", String), Column("c", String, ForeignKey("staff.person.id")),
    )  # fmt: skip
    found = tables(letter)["letter"]
    assert [column.refers for column in found.columns] == [(), ("gone",), (), ("staff.person",)]


class AutoFieldMixin:
    """As Django has it."""


class CountedField(AutoFieldMixin):
    """A field whose values the database counts up."""


def refers(table: str, *, held: bool) -> dict[str, object]:
    meta = SimpleNamespace(db_table=table)
    return {"remote_field": SimpleNamespace(model=SimpleNamespace(_meta=meta)), "db_constraint": held}


def field(kind: type, name: str, **of: object) -> object:
    made = kind()
    vars(made).update({"name": name, "column": name, "primary_key": False, "unique": False, **of})
    return made


class PlainField:
    """Any other field."""


def test_models_of_django_that_are_in_stores_are_tables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(name: str, key: object) -> type:
        fields = [key, field(PlainField, "email", unique=True, **refers("shop_person", held=False))]
        meta = SimpleNamespace(
            label_lower=f"shop.{name}", app_label="shop", db_table=f"shop_{name}", pk=key, local_concrete_fields=fields
        )
        return type(name.title(), (), {"_meta": meta})

    models = [
        model("person", field(CountedField, "id", primary_key=True, unique=True)),
        model("letter", field(PlainField, "phone", primary_key=True, **refers("shop_person", held=True))),
        model("price", field(PlainField, "phone", primary_key=True)),
    ]
    conf, apps = ModuleType("django.conf"), ModuleType("django.apps")
    stores = {"people": ["shop.Person", "shop.Letter"]}
    conf.__dict__["settings"] = SimpleNamespace(configured=True, RESIDENCY_STORES=stores)
    apps.__dict__["apps"] = SimpleNamespace(models_ready=True, get_models=lambda: models)
    monkeypatch.setitem(sys.modules, "django.conf", conf)
    monkeypatch.setitem(sys.modules, "django.apps", apps)
    letter, person = app_tables([], ())
    assert (person.name, person.counts, letter.name, letter.counts) == ("shop_person", "id", "shop_letter", "")
    assert [(column.name, column.primary, column.unique, column.kind) for column in letter.columns] == [
        ("phone", True, False, "Plain"), ("email", False, True, "Plain")
    ]  # fmt: skip
    assert [column.refers for column in letter.columns] == [("shop_person",), ()]


def test_what_is_no_metadata_is_wrong_use() -> None:
    meta = MetaData()
    assert metadata_of(meta, "a:b") is meta
    with pytest.raises(UsageError, match="a:b is no MetaData"):
        metadata_of(object(), "a:b")
