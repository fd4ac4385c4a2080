"""Matching paths: what is ambiguous is never classified, and the table finds what a plain search finds."""

from __future__ import annotations

from urllib.parse import quote, unquote

from hypothesis import assume, given
from hypothesis import strategies as st

from residency.errors import PathError
from residency.model import Activity, Operation, SubjectSource
from residency.policy.activities import ActivityTable

segments = st.sampled_from(["a", "b", "c", "{p}", "{q}"])
templates = st.lists(
    st.tuples(st.lists(segments, min_size=1, max_size=4), st.booleans(), st.sampled_from(["GET", "POST", "ANY"])),
    min_size=1, max_size=8,
)  # fmt: skip
paths = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=5)
wild = st.text(alphabet="ab/.%2eEfF5cC0A\\\n\x00;:@ é", max_size=16)


def routes(drawn: list[tuple[list[str], bool, str]]) -> list[Activity]:
    """Activities of distinct shapes; a parameter's name is its place, so that none stands twice."""
    found: dict[tuple[str, ...], Activity] = {}
    for parts, rest, method in drawn:
        named = [f"{{p{i}}}" if part.startswith("{") else part for i, part in enumerate(parts)]
        path = "/" + "/".join([*named, *(["{rest:path}"] if rest else [])])
        found[(method, path)] = Activity(
            f"{method} {path}", method, path, SubjectSource("none"), frozenset({"personal"}), Operation.READ
        )
    return list(found.values())


def takes(activity: Activity, method: str, parts: list[str]) -> tuple[int, ...] | None:
    """Whether a route takes a path, and how well: 0 literal, 1 parameter, 2 rest, segment by segment."""
    if activity.method not in (method, "ANY"):
        return None
    template = activity.path[1:].split("/")
    ranks: list[int] = []
    for index, part in enumerate(template):
        if part == "{rest:path}":
            return (*ranks, 2) if len(parts) > index else None
        if index >= len(parts):
            return None
        if part.startswith("{"):
            if not parts[index]:
                return None
            ranks.append(1)
        elif part == parts[index]:
            ranks.append(0)
        else:
            return None
    return tuple(ranks) if len(parts) == len(template) else None


@given(templates, paths, st.sampled_from(["GET", "POST", "PUT"]))
def test_the_best_route_is_the_one_a_plain_search_finds(
    drawn: list[tuple[list[str], bool, str]], parts: list[str], method: str
) -> None:
    table = ActivityTable(routes(drawn), framework="starlette")
    path = "/" + "/".join(parts)
    assume("//" not in path)
    fitting = {}
    for activity in table.activities:
        rank = takes(activity, method, path[1:].split("/"))
        if rank is not None:
            fitting[(rank, activity.method == "ANY")] = activity
    match = table.match(method, path, path.encode())
    assert match.activity == (fitting[min(fitting)] if fitting else None)


@given(wild)
def test_whatever_is_matched_reads_one_way_only(path: str) -> None:
    activity = Activity("all", "GET", "/{rest:path}", SubjectSource("none"), frozenset({"personal"}), Operation.READ)
    raw = quote(path, safe="/%.;:@").encode()
    decoded = unquote(raw.decode())
    try:
        match = ActivityTable([activity]).match("GET", decoded, raw)
    except PathError:
        return
    assert match.activity is activity
    inner = decoded[1:].split("/")
    assert decoded.startswith("/")
    assert all(part not in (".", "..") for part in inner)
    assert all(inner[:-1])
    assert not any(ord(c) < 32 or c in "\x7f\\" for c in decoded)
    # What the server decoded to a slash was a slash before: nobody can hide a segment in another.
    assert raw.count(b"/") == decoded.count("/")
    assert match.params["rest"] == decoded[1:]
