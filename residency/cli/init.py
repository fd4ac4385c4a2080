"""`residency init`: the answers of one afternoon in, a commented deployment file that `residency check` passes out."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from residency.errors import PolicyError
from residency.model.place import is_place
from residency.policy.parser import parse_deployment

__all__ = ["init"]

_URL: Final = "sqlite+aiosqlite:///./residency-data/people-today.db"
_HOME_URL: Final = "sqlite+aiosqlite:///./residency-data/people-vn.db"
_SQLITE: Final = re.compile(r"(sqlite(?:\+aiosqlite)?:///)([^/:?$][^?$]*)")
_TEMPLATE: Final = """\
residency: 1
kind: deployment
name: {name}
# Decide and record, bind nothing: see what would be refused with `residency status`, then write `enforce`.
mode: observe
operator: {{established_in: [{country}], roles: [controller], service_lines: [online_applications]}}
# Vietnam's, to begin with; `residency laws` lists the others (eu/*, cn/*, ...), and each wants a place that it permits.
laws: [vn/*]
regions:
  vn: {{country: VN}}
  today: {{country: {place}}}
# Places with a dot in front start from this file's folder.
sinks:
  people-today: {{region: today, provider: {place}, keys: {place}, encrypted: true, url: {url}}}
  people-vn: {{region: vn, provider: VN, keys: VN, encrypted: true, url: {home_url}}}
# The first sink is where data lies today; people whose law asks for another go there.
stores: {{people: [people-today, people-vn]}}
# Whose the rows of your tables are, for `residency move`, `export` and `erase` (docs/how-to/move.md):
# records:
#   people:
#     people: {{subject: id, data: [personal]}}
#     letters: {{via: {{person_id: people}}, data: [content]}}
signals:
  # Behind a proxy: {{strategy: rightmost_trusted_range, trusted: [10.0.0.0/8]}}; uvicorn then needs --no-proxy-headers.
  client_address: {{strategy: peer}}
exempt: [GET /healthz, GET /docs, GET /docs/oauth2-redirect, GET /redoc, GET /openapi.json]
unclassified: deny
metrics: /metrics
{detail}# One line per route: whose data (`subject`), which data, what is done with it, where it rests.
activities:
  - {{route: "POST /v1/people", subject: app, data: [personal, account], operation: write, store: people}}
  - {{route: "GET /v1/people/{{id}}", subject: path.id, data: [personal], operation: read, store: people}}
"""

_DETAIL: Final = """\
# What laws want logged of a person (account, address, times), sealed, in their country; deletable at any time.
audit: {detail: {VN: ./residency-data/detail-vn}}
"""
_SPOOL: Final = """\
# What Vietnamese law wants logged of a person is kept in Vietnam: docs/how-to/personal-detail.md says how.
# Until then none is kept, and `residency check` says so.
"""


def init(
    file: Annotated[Path, typer.Argument(help="The deployment file to write.", metavar="FILE")] = Path(
        "residency.yaml"
    ),
    name: Annotated[str, typer.Option(help="The deployment's name.", metavar="NAME")] = "my-api",
    country: Annotated[str, typer.Option(help="Where you are established, by which laws go.", metavar="CODE")] = "VN",
    data_in: Annotated[
        str | None, typer.Option(help="Where your data lies today, if not there.", metavar="CODE")
    ] = None,
    url: Annotated[str, typer.Option(help="The database your data lies in today.", metavar="URL")] = _URL,
    home_url: Annotated[str, typer.Option(help="The new, empty database in Vietnam.", metavar="URL")] = _HOME_URL,
) -> None:
    """Write a deployment file to start from, with Vietnam's laws; it observes and binds nothing until you say so.

    Exit 0 = written, 1 = a file is there already or cannot be written, 2 = wrong use.

    Example: residency init policies/deployments/my-api.yaml --name my-api --country VN --data-in SG
    """
    place = country if data_in is None else data_in
    for code in (country, place):
        if not is_place(code):
            typer.echo(f"residency init: {code!r} is no country code such as VN", err=True)
            raise typer.Exit(2)
    # Where the data lies the API runs too, as far as we know: elsewhere than at home the detail takes a key.
    detail = _DETAIL if place == "VN" else _SPOOL
    urls = {"url": json.dumps(_from_file(url, file)), "home_url": json.dumps(_from_file(home_url, file))}
    text = _TEMPLATE.format(name=name, country=country, place=place, detail=detail, **urls)
    try:
        parse_deployment(text.encode(), str(file), os.environ)
    except PolicyError as error:
        typer.echo(f"residency init: {error}", err=True)
        raise typer.Exit(2) from None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        typer.echo(f"residency init: {file} is there already and stays as it is", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"residency init: {file} cannot be written ({error.strerror})", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"wrote {file}: put your own places and routes into it, then")
    typer.echo(f"  residency routes {file} --app my_api.main:app")
    typer.echo(f"  residency check {file}")
    typer.echo(f"  residency doctor {file}")
    typer.echo(f'  residency explain {file} --route "POST /v1/people" --ip 113.160.0.1')
    typer.echo("Keep residency-data/ out of version control: keys lie there.")


def _from_file(url: str, file: Path) -> str:
    """`url` with an SQLite path that starts here made to start from `file`'s folder, as the language reads it."""
    found = _SQLITE.fullmatch(url)
    if found is None or url in (_URL, _HOME_URL):
        return url
    return f"{found[1]}{os.path.relpath(found[2], file.parent)}"
