"""An app that stores objects, and its copier, are killed with SIGKILL between all that they do."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from residency.adapters.sink_files import FilesSink
from residency.model import Region
from tests.copies_world import TEXT, command, copies_world
from tests.killed import Tried

CODE = """
import json
import anyio
from residency.adapters.copies_worker import work_off
from residency.adapters.outbox_objects import ObjectLedger, ObjectMarks, ObjectOutbox, notes
from residency.adapters.sink_files import FilesSink
from residency.bootstrap import build
from residency.wiring.copies import stores_of
from residency.wiring.deciding import CopyDeciding
from tests.killed import serve

notes._GRACE = 0  # who was killed has nothing on its way any more, and nobody waits a quarter of an hour here
STEPS = [(FilesSink, "put"), (FilesSink, "delete"), (ObjectOutbox, "take"), (ObjectOutbox, "done"),
         (ObjectMarks, "read"), (ObjectMarks, "write"), (ObjectMarks, "forget"),
         (ObjectLedger, "read"), (ObjectLedger, "write"), (CopyDeciding, "begin"), (CopyDeciding, "settled")]

async def main(writes):
    runtime.copies.works = False
    await runtime.start()
    try:
        home = next(sink for sink in runtime.stores.sinks_of("uploads") if sink.name == "vn")
        for key, value in writes:
            await (home.delete(key) if value is None else home.put(key, value.encode()))
            print("acknowledged", key, flush=True)
        (store,) = stores_of(runtime)
        for copier in store.copiers:
            await copier.outbox.leave("killed")  # the lease of who was killed has ended
            await copier.outbox.release()
            assert await work_off(copier, "killed")
    finally:
        await runtime.aclose()

runtime = build("test.yaml", reload=False)
serve(lambda words: anyio.run(main, json.loads(words)), STEPS)
"""
OBJECTS = (
    TEXT.replace("sqlite:///./vn.db", "file://vn")
    .replace("sqlite:///./sg.db", "file://sg")
    .replace("people: [vn, sg]", "uploads: [vn, sg]")
    .replace("copies: {people:", "copies: {uploads:")
    .replace("store: people", "store: uploads")
)
STEPS = 80  # more than there are
BEGIN, END = OBJECTS.index("records:"), OBJECTS.index("registers:")
OBJECTS = OBJECTS[:BEGIN] + 'records: {uploads: {"users/{subject}/": {data: [personal]}}}\n' + OBJECTS[END:]


def lies(folder: Path) -> dict[str, bytes]:
    """What a folder has, but for what is ours."""

    async def look() -> dict[str, bytes]:
        sink = FilesSink("x", Region("vn-han", "VN"), folder)
        await sink.start()
        found = {meta.key: await sink.get(meta.key) async for meta in sink.list()}
        return {key: value for key, value in found.items() if value is not None and not key.startswith(".residency/")}

    return anyio.run(look)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "every"),
    [
        ("new", 9),
        ("deleted", 9),
        pytest.param("new", 1, marks=pytest.mark.slow),
        pytest.param("deleted", 1, marks=pytest.mark.slow),
    ],
)
def test_killed_at_each_step_no_object_is_lost_and_its_copy_is_what_home_has(
    tmp_path: Path, kind: str, every: int
) -> None:
    file = copies_world(tmp_path, ["an"], text=OBJECTS)
    truth = fill(tmp_path / "vn") if kind == "deleted" else {}
    command("prepare", file)
    past = set(truth.items())
    steps: set[str] = set()
    how = ""
    with Tried(tmp_path, CODE) as app:
        assert app.run(0, "[]") == ([], "ended 0")
        assert lies(tmp_path / "sg") == truth
        for at in range(1, STEPS, every):
            key = f"users/an/{kind}-{at}"
            value = None if kind == "deleted" else b"written"
            said, how = app.run(at, json.dumps([(key, None if value is None else value.decode())]))
            steps.update(said)
            home = lies(tmp_path / "vn")
            assert home.get(key) in ({value} if f"acknowledged {key}" in said else {value, truth.get(key)}), at
            truth.pop(key, None)
            truth |= {key: home[key]} if key in home else {}
            assert home == truth, at
            past |= set(home.items())
            assert set(lies(tmp_path / "sg").items()) <= past, f"{at}: abroad before it was at home"
            if how != "killed":
                break
            assert app.run(0, "[]") == ([], "ended 0")
            assert lies(tmp_path / "sg") == home, f"{at}: the next copier makes good"
    assert how == "ended 0"
    wanted = {"FilesSink put", "FilesSink delete", "ObjectOutbox done", "CopyDeciding begin"}
    wanted.add("ObjectMarks write" if kind == "new" else "ObjectMarks forget")
    assert every > 1 or wanted <= steps
    assert lies(tmp_path / "sg") == lies(tmp_path / "vn")
    (told,) = json.loads(command("status", file, "--json").stdout)
    assert (told["pending"], told["held"]) == (0, {})


def fill(folder: Path) -> dict[str, bytes]:
    """What lies at home from the beginning."""
    objects = {f"users/an/deleted-{at}": b"old" for at in range(1, STEPS)}

    async def put() -> None:
        sink = FilesSink("x", Region("vn-han", "VN"), folder)
        await sink.start()
        for key, value in objects.items():
            await sink.put(key, value)

    anyio.run(put)
    return objects
