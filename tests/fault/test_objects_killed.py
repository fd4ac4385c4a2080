"""`kill -9` while objects are stored in a folder: each key has its old value or its new one, and nothing else stays."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio

from residency.adapters.sink_files import FilesSink
from residency.model import Region

WRITER = """
import sys
from pathlib import Path
import anyio
from residency.adapters.sink_files import FilesSink
from residency.model import Region

async def main():
    sink = FilesSink("x", Region("vn-han", "VN"), Path(sys.argv[1]))
    await sink.start()
    print("up", flush=True)
    number = 0
    while True:
        number += 1
        value = number.to_bytes(4, "big") * 50_000
        await sink.put("whole", value)
        upload = await sink.upload("x" * 300)
        for at in range(0, len(value), 30_000):
            await upload.write(value[at : at + 30_000])
        await upload.commit()
        print(number, flush=True)

anyio.run(main)
"""


def test_a_killed_writer_leaves_whole_values_none_older_than_it_told_and_no_half_written_file(tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(8):
        folder = tmp_path / str(number)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.stdout.readline()
            time.sleep(chance.random() / 20)
            process.send_signal(signal.SIGKILL)
            told = process.stdout.read().split()

        async def look(folder: Path = folder, last: int = int(told[-1]) if told else 1) -> None:
            sink = FilesSink("x", Region("vn-han", "VN"), folder)
            await sink.start()
            assert [meta.key async for meta in sink.list()] == ["whole", "x" * 300]
            for key in ("whole", "x" * 300):
                value = await sink.get(key)
                assert value is not None
                assert value == value[:4] * 50_000
                assert int.from_bytes(value[:4], "big") in (last, last + 1)

        anyio.run(look)
        assert list(folder.rglob(".tmp-*")) == []
