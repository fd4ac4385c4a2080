"""What importing an app made and loaded past residency."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from residency.adapters.sink_sql import SqlSink
from residency.cli.bypass_loaded import Engine, django_places, engines_since, libraries_since, look
from residency.model import Region


def test_engines_made_since_are_told_with_the_sink_whose_database_they_open(tmp_path: Path) -> None:
    sink = SqlSink("people-vn", Region("han", "VN"), f"sqlite:///{tmp_path}/vn.db")
    earlier = create_engine(f"sqlite:///{tmp_path}/vn.db")
    before = look()
    made = [
        create_engine(f"sqlite:///{tmp_path}/../{tmp_path.name}/vn.db"),
        create_async_engine("sqlite+aiosqlite:///:memory:").sync_engine,
        sink.engine.sync_engine,  # the sink's own
    ]
    assert engines_since(before, {"people-vn": sink}) == (
        Engine("sqlite", "people-vn"),
        Engine("sqlite+aiosqlite", None),
    )
    assert (len(made), earlier.name) == (3, "sqlite")


def test_servers_are_the_same_by_host_port_and_database() -> None:
    sink = SqlSink("vn", Region("han", "VN"), "postgresql+asyncpg://a:b@db.example/people")
    before = look()
    made = [
        create_engine(f"postgresql+psycopg://{rest}")
        for rest in ("other:user@db.example:5432/people", "a:b@db.example/other", "a:b@db2.example/people")
    ]
    assert [engine.sink for engine in engines_since(before, {"vn": sink})] == ["vn", None, None]
    assert len(made) == 3


def test_what_django_keeps_elsewhere_than_in_sinks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings:
        configured = True
        DATABASES: ClassVar = {
            "default": {"ENGINE": "django.db.backends.postgresql"},
            "people-vn": {"ENGINE": "django.db.backends.postgresql"},
            "none": {"ENGINE": "django.db.backends.dummy"},
        }
        CACHES: ClassVar = {
            "default": {"BACKEND": "residency.integrations.django.StoreCache"},
            "pages": {"BACKEND": "django.core.cache.backends.redis.RedisCache"},
            "here": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        }

    conf = ModuleType("django.conf")
    conf.__dict__["settings"] = Settings()
    monkeypatch.setitem(sys.modules, "django.conf", conf)
    assert django_places(["people-vn"]) == ("DATABASES['default']", "CACHES['pages']")
    Settings.configured = False
    assert django_places(["people-vn"]) == ()


def test_libraries_loaded_since_are_told_but_for_python_s_own_and_those_of_residency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "boto3",
        "boto3.session",
        "google",
        "google.cloud",
        "google.cloud.storage",
        "smtplib",
        "obstore",
        "shop",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = look()
    for name in ("boto3", "boto3.session", "google.cloud.storage", "smtplib", "obstore", "shop"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert libraries_since(before) == ("boto3", "google.cloud.storage")
