"""Where an app's source reaches out past residency, and where it goes through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.cli.app_source import Source, parse_source
from residency.cli.bypass import bypasses, uses, wraps


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def source(text: str, name: str = "shop/files.py") -> Source:
    file = Path(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    read = parse_source(file.resolve())
    assert read is not None
    return read


def found(text: str) -> dict[str, tuple[str, ...]]:
    """The lines where each library is used."""
    told = bypasses([source(text)])
    return {each.library: tuple(place.rpartition(":")[2] for place in each.places) for each in told}


@pytest.mark.parametrize(
    ("text", "library", "line"),
    [
        ("import boto3\n\ns3 = boto3.client('s3')\n", "boto3", "3"),
        ("from google.cloud import storage\nc = storage.Client()\n", "google.cloud.storage", "2"),
        ("import google.cloud.storage as gcs\nc = gcs.Client()\n", "google.cloud.storage", "2"),
        ("from azure.storage.blob import BlobServiceClient as B\nB('x')\n", "azure.storage", "2"),
        ("from pymongo import MongoClient\nMongoClient()\n", "pymongo", "2"),
        ("import motor.motor_asyncio as m\nm.AsyncIOMotorClient()\n", "motor", "2"),
        ("import psycopg\npsycopg.connect()\n", "psycopg", "2"),
        ("import asyncpg\nasync def f():\n    await asyncpg.connect()\n", "asyncpg", "3"),
        ("import redis.asyncio as redis\nr = redis.Redis()\n", "redis", "2"),
        ("import sqlalchemy as sa\ne = sa.create_engine('x')\n", "sqlalchemy", "2"),
        ("from sqlalchemy.ext.asyncio import create_async_engine\ncreate_async_engine('x')\n", "sqlalchemy", "2"),
        ("import requests\nrequests.post('x')\n", "requests", "2"),
        ("from httpx import AsyncClient\nc = AsyncClient()\n", "httpx", "2"),
        ("import aiohttp\ns = aiohttp.ClientSession()\n", "aiohttp", "2"),
        ("import urllib.request\nurllib.request.urlopen('x')\n", "urllib.request", "2"),
        ("from urllib3 import PoolManager\nPoolManager()\n", "urllib3", "2"),
        ("import openai\nc = openai.AsyncOpenAI()\n", "openai", "2"),
        ("from anthropic import Anthropic\nAnthropic()\n", "anthropic", "2"),
        ("from celery import Celery\napp = Celery()\n", "celery", "2"),
        ("from aiokafka import AIOKafkaProducer\nAIOKafkaProducer()\n", "aiokafka", "2"),
        ("import smtplib\nsmtplib.SMTP('x')\n", "smtplib", "2"),
        ("import sentry_sdk\nsentry_sdk.init('x')\n", "sentry_sdk", "2"),
        ("import subprocess\nsubprocess.run(['curl'])\n", "subprocess", "2"),
        ("from boto3 import client\n", "boto3", "1"),  # handed on
        ("import importlib\nboto = importlib.import_module('boto3')\n", "boto3", "2"),
        ("boto = __import__('boto3')\n", "boto3", "1"),
        ("def late():\n    import boto3\n    return boto3.client('s3')\n", "boto3", "3"),
    ],
)
def test_a_client_past_residency_is_told_with_its_line_and_what_to_do(text: str, library: str, line: str) -> None:
    assert found(text) == {library: (line,)}
    (told,) = bypasses([source(text)])
    assert told.group.what
    assert told.group.mend


@pytest.mark.parametrize(
    "text",
    [
        "from residency import sql\nSession = sql.async_sessionmaker('people')\n",
        "from residency import current\nasync def f():\n    async with current().http('llm') as c: await c.get('/')\n",
        "import httpx\nfrom residency import http\nc = httpx.AsyncClient(transport=http.Transport('llm'))\n",
        "import httpx, openai\nfrom residency import http\n"
        "inner = httpx.AsyncClient(transport=http.Transport('llm'))\nc = openai.AsyncOpenAI(http_client=inner)\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import boto3\n",
        "import httpx\nLIMIT = httpx.Timeout(5)\n",
        "import aiohttp.web\n",
        "from sqlalchemy import select\n",
        "from redis.exceptions import RedisError\n",
        "from urllib.parse import quote\n",
        "import os, json, logging\nos.environ.get('X')\n",
        "from .boto3 import client\n",
    ],
)
def test_what_goes_through_residency_or_reaches_nothing_is_not(text: str) -> None:
    assert found(text) == {}


def test_a_library_of_which_one_client_is_ours_is_told_for_the_other() -> None:
    text = "import httpx\nfrom residency import http\na = httpx.Client(transport=http.BlockingTransport('x'))\n"
    assert found(text + "b = httpx.Client()\n") == {"httpx": ("4",)}


def test_places_of_several_files_stand_together_and_a_module_of_the_app_s_own_is_no_library() -> None:
    sources = [source("import boto3\n", f"shop/{name}.py") for name in "ab"]
    (told,) = bypasses(sources)
    assert told.places == ("shop/a.py:1", "shop/b.py:1")
    own = source("X = 1\n", "databases/__init__.py")
    assert bypasses([own, source("from databases import X\n")]) == ()


def test_where_stores_are_opened_through_residency() -> None:
    text = (
        "from residency import current, sql, http\n"
        "Session = sql.sessionmaker('people')\n"
        "files = current().store('uploads')\n"
        "llm = http.AsyncClient('llm')\n"
        "RESIDENCY_STORES = {'orders': ['shop.Order']}\n"
        "CACHES = {'default': {'BACKEND': 'residency.integrations.django.StoreCache', 'LOCATION': 'cache'}}\n"
        "other = something('nothing')\n"
    )
    stores = ("people", "uploads", "llm", "orders", "cache", "nothing")
    lines = {
        store: [place.rpartition(":")[2] for place in places] for store, places in uses([source(text)], stores).items()
    }
    assert lines == {"people": ["2"], "uploads": ["3"], "llm": ["4"], "orders": ["5"], "cache": ["6"]}


def test_where_the_middleware_is_named() -> None:
    assert (
        wraps([source("from residency import ResidencyMiddleware as R\napp = R(app, policy='x')\n")])
        == "shop/files.py:2"
    )
    assert wraps([source("import residency\napp = residency.ResidencyMiddleware(app)\n")]) == "shop/files.py:2"
    assert wraps([source("from other import ResidencyMiddleware\nResidencyMiddleware()\n")]) is None
