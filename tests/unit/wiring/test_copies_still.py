"""What moves between sinks one of which gets copies loses no more than what moves between others."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from residency.bootstrap import build
from residency.errors import UsageError
from residency.wiring.copies_still import legs_between
from tests.copies_world import change, copies_world


def test_rows_that_nobody_tells_of_go_with_no_move_into_or_out_of_a_sink_of_copies(tmp_path: Path) -> None:
    file = copies_world(tmp_path)
    change(tmp_path, "sg", "CREATE TABLE badges (person TEXT REFERENCES people (id) ON DELETE SET NULL)")

    async def look() -> None:
        runtime = build(file, reload=False)
        runtime.copies.works = False
        await anyio.to_thread.run_sync(runtime.open)
        try:
            vn, sg = runtime.stores.sinks_of("people")
            with pytest.raises(UsageError, match="'badges'"):
                await legs_between(runtime, "people", sg, vn)
        finally:
            await runtime.aclose()

    anyio.run(look)
