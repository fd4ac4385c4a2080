"""What an app's source makes part of keys: read from its calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.cli.app_keys import app_keys
from residency.cli.app_source import parse_source

HEAD = "from urllib.parse import quote\nfrom residency import about, current, http, identify\nimport residency\n"


def keys(folder: Path, body: str) -> list[tuple[str, str | None]]:
    """(name, store) of each key in the body of a handler."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    file = folder / "app.py"
    file.write_text(f"{HEAD}async def handler(user, form, phone):\n{lines}")
    source = parse_source(file)
    assert source is not None
    return [(key.name, key.store) for key in app_keys([source])]


@pytest.mark.parametrize(
    "body",
    [
        'await current().store("uploads").put(f"avatar/{user.phone}", b"")',
        'await current().store("uploads").get("avatar/" + user.phone)',
        'await current().store("uploads").put(key="avatar/%s" % form["phone"], value=b"")',
        'await current().store("uploads").delete("avatar/{}".format(phone))',
        'await current().store("uploads").head(quote(str(user.phone).strip()))',
        'await current().store("uploads").open(form.get("phone"))',
        'files = current().store("uploads")\nawait files.put(phone, b"")',
        'async with current().http("uploads") as client:\n    await client.get(f"/users/{user.phone}")',
        'async with current().http("uploads") as client:\n    await client.request("GET", f"/users/{user.phone}")',
        'await current().store("uploads").get_many([f"a/{phone}"])',
        'client = http.AsyncClient("uploads")\nawait client.get(f"/users/{user.phone}")',
        'await current().store("uploads").set_many({f"a/{phone}": b""})',
        'await current().store("uploads").get_many([f"a/{each.phone}" for each in form])',
        'await current().store("uploads").set_many({f"a/{each.phone}": b"" for each in form})',
        'name = f"avatar/{user.phone}"\nawait current().store("uploads").put(name, b"")',
        'name = "avatar/"\nname += str(user.phone)\nname = name + ".jpg"\nawait current().store("uploads").get(name)',
    ],
)
def test_a_value_that_stands_in_a_key_is_found_with_its_store(tmp_path: Path, body: str) -> None:
    assert ("phone", "uploads") in keys(tmp_path, body)


@pytest.mark.parametrize(
    "body", ["await identify(phone)", "async with about(user.phone): ...", "await residency.identify(phone)"]
)
def test_the_id_of_a_subject_is_found(tmp_path: Path, body: str) -> None:
    assert keys(tmp_path, body) == [("phone", None)]


@pytest.mark.parametrize(
    "body",
    [
        'await current().store("uploads").put(keyed(user.phone), b"")',  # whatever it makes of it
        'await current().store("uploads").set_many({"a": phone})',
        'await current().store("uploads").put("avatar/7", phone)',
        'client = other()\nawait client.get(f"/users/{phone}")',
        "identify = user.identify\nawait user.identify(phone)",
        'await current().store("uploads").session(phone)',
    ],
)
def test_what_is_no_key_or_went_through_a_function_is_not(tmp_path: Path, body: str) -> None:
    assert keys(tmp_path, body) == []


def test_a_name_means_the_store_of_its_own_function(tmp_path: Path) -> None:
    body = 'x = current().store("uploads")\n\nasync def other(phone, x):\n    await x.get(phone)'
    file = tmp_path / "app.py"
    file.write_text(
        f"{HEAD}async def one():\n    y = current().store('uploads')\n"
        "async def two(y, phone):\n    await y.get(phone)\n"
    )
    source = parse_source(file)
    assert source is not None
    assert app_keys([source]) == ()
    assert keys(tmp_path, body) == [("phone", "uploads")]


def test_a_name_that_was_given_what_a_function_made_is_what_that_made(tmp_path: Path) -> None:
    body = 'name = keyed(user.phone)\nawait current().store("uploads").put(name, b"")'
    assert keys(tmp_path, body) == [("name", "uploads")]
