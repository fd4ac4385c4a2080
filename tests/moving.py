"""In: a folder, and where there are some two PostgreSQL. Out: people whose rows and objects lie in Singapore and belong
in Vietnam, the command that moves them, and a run of it that is killed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.postgres import Pair
from tests.world import write_deployment

__all__ = ["COMMAND", "COVERED", "between_files", "between_postgres", "killed"]

COMMAND = (sys.executable, "-c", "import sys; from residency.cli import main; sys.exit(main())", "move", "test.yaml")
COVERED = ("territory: not_covered", "territory: covered")
_COMMON = """
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
"""
_FILES = f"""
sinks:
  rows-sg: {{region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}}
  rows-vn: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}}
  files-sg: {{region: sg, provider: SG, keys: SG, encrypted: true, url: "file://files-sg"}}
  files-vn: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files-vn"}}
stores: {{people: [rows-sg, rows-vn], uploads: [files-sg, files-vn]}}
records:
  people:
    people: {{subject: id, data: [personal]}}
    letters: {{via: {{person: people}}, data: [content]}}
  uploads:
    "users/{{subject}}/": {{data: [personal]}}
{_COMMON.strip()}
  - {{route: "POST /people", subject: app, data: [personal], store: people}}
  - {{route: "POST /uploads", subject: app, data: [personal], store: uploads}}
"""
_ROWS = f"""
sinks:
  sg: {{region: sg, provider: SG, keys: SG, encrypted: true, url: "<sg>"}}
  vn: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "<vn>"}}
stores: {{people: [sg, vn]}}
records:
  people:
    letters: {{via: {{person: people}}, data: [content]}}
    people: {{subject: id, data: [personal]<times>}}
{_COMMON.strip()}
"""
_WRITES = ('  - {route: "POST /people", subject: app, data: [personal], store: people}',)


def between_files(folder: Path) -> None:
    """The deployment of two SQLite files, sg.db and vn.db, and two folders of objects."""
    write_deployment(folder, _FILES, replace=[COVERED])


def between_postgres(
    pair: Pair,
    folder: Path,
    tables: str,
    fill: str,
    *,
    times: str = "",
    activities: Sequence[str] = _WRITES,
    replace: Sequence[tuple[str, str]] = (COVERED,),
) -> tuple[str, str]:
    """The deployment of a database on each server, the first of which is filled; their names. `times` is more of what
    is told of people."""
    names = pair.sg.database(), pair.vn.database()
    pair.sg.query(tables + fill, names[0])
    pair.vn.query(tables, names[1])
    told = _ROWS.replace("<times>", times).replace("<sg>", pair.sg.url("asyncpg", names[0]))
    told = told.replace("<vn>", pair.vn.url("asyncpg", names[1])) + "\n".join(activities) + "\n"
    write_deployment(folder, told, replace=replace)
    return names


def killed(folder: Path, command: Sequence[str], chance: random.Random, most: float) -> bool:
    """Run it and kill it, up to `most` seconds after it first noted something; False where it had ended by then."""
    begun, journal = time.time(), folder / "audit" / "move.db-wal"
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    # Most of a run is its start; the moments after it are the ones that matter.
    while process.poll() is None and not (journal.exists() and journal.stat().st_mtime > begun):
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, most))
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True
