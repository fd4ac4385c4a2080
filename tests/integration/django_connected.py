"""In: a folder, and the URLs of two servers of PostgreSQL, in Vietnam and in Singapore. Out: to which of them units of
work of a real Django project connected, as JSON. A process of its own, for Django's settings are one to a process.

`members-vn` has two ways, of which nobody listens at the first. What the address table says of loopback addresses is
played: that the server in Singapore lies elsewhere than in Vietnam.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

FOLDER, VN, SG = Path(sys.argv[1]), *map(make_url, sys.argv[2:])
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from residency.wiring import location  # noqa: E402 - found by the line above
from tests.ports import free_port  # noqa: E402
from tests.world import HANOI, handling, write_deployment  # noqa: E402

location.elsewhere = lambda place, network, binds=lambda: True: lambda address: place == "VN" and address == SG.host
POLICY = write_deployment(
    FOLDER,
    """
signals: {identity: {user: verified}, client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
location: {drift: refuse}
sinks:
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "VN"}
  members-vn:
    {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "AWAY", members: [{region: vn-han, url: "VN"}]}
stores: {people: [people-vn], others: [members-vn]}
activities:
  - {route: "POST /people", subject: user, data: [personal], store: [people, others]}
""",
    replace=[
        ('"VN"', f'"{VN.render_as_string(hide_password=False)}?application_name=shop"'),
        ("AWAY", VN.set(port=free_port(str(VN.host))).render_as_string(hide_password=False)),
    ],
)

from django.conf import settings  # noqa: E402

from residency.integrations.django import databases, unit  # noqa: E402

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, **databases(POLICY)},
    LOGGING_CONFIG=None,
)
for name in ("people-vn", "members-vn"):
    settings.DATABASES[name]["CONN_MAX_AGE"] = None
import django  # noqa: E402

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from django.db import connections  # noqa: E402
from starlette.authentication import SimpleUser  # noqa: E402

from residency import build  # noqa: E402
from residency.enforcement.point import Request  # noqa: E402


def outcome(ask: Callable[[], Any]) -> Any:
    """What it gave, or which error it met."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - which one it was is what is told
        return f"{type(error).__name__}: {error}"


def where(store: str = "people") -> Any:
    """The address that a unit is connected to, and the server's process."""

    def ask() -> Any:
        with unit(store) as alias, connections[alias].cursor() as cursor:
            cursor.execute("SELECT host(inet_server_addr()), pg_backend_pid(), current_setting('application_name')")
            return cursor.fetchone()

    return outcome(ask)


def point(url: Any) -> None:
    """The name of the database leads somewhere else from now on."""
    connections["people-vn"].settings_dict.update(HOST=url.host, PORT=str(url.port), NAME=url.database)


def left() -> int:
    """How many connections the server in Singapore has, beside the one that asks."""
    with psycopg.connect(SG.set(drivername="postgresql").render_as_string(hide_password=False)) as other:
        found = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop' AND pid <> pg_backend_pid()"
        ).fetchone()
        return -1 if found is None else int(found[0])


def asked() -> dict[str, Any]:
    """What became of each, one after the other."""
    told: dict[str, Any] = {"before": where()}
    point(VN)
    told["home"], told["again"] = where(), where()
    point(SG)
    told["kept"] = where()
    connections["people-vn"].close()
    told["moved"], told["moved still"] = where(), where()
    told["no unit"] = outcome(lambda: connections["people-vn"].ensure_connection())
    told["open"] = vars(connections["people-vn"])["connection"] is not None
    point(VN)
    told["back"] = where()
    told["member"], told["member again"] = where("others"), where("others")
    connections.close_all()
    told["left"] = left()
    return told


async def main() -> None:
    """Ask all of it."""
    runtime = build(POLICY, reload=False)
    await runtime.start()
    asking = Request("POST", "/people", b"/people", (), (HANOI, 50_000), SimpleUser("an"))
    with handling(runtime.point.admit(asking)):
        print(json.dumps(await sync_to_async(asked)()))
    await runtime.aclose()


async def both() -> None:
    """One loop, and so one thread."""
    await sync_to_async(point)(SG)
    await sync_to_async(lambda: connections["people-vn"].ensure_connection())()
    await main()


asyncio.run(both())
