"""`residency demo`: options in, the demo played out. Exit 0 = every claim held, 1 = one did not, 2 = wrong use."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]

_NEEDS = ("fastapi", "uvicorn", "websockets", "httpx", "sqlalchemy", "aiosqlite")

Once = Annotated[bool, typer.Option("--once", help="Play it without a terminal, check every claim, and exit.")]
Folder = Annotated[
    Path, typer.Option("--folder", metavar="DIR", help="Where databases, keys and logs go; a demo's folder is wiped.")
]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="The server's port; another if it is taken.")]
Seed = Annotated[int, typer.Option("--seed", help="Other people from other addresses.")]


def demo(once: Once = False, folder: Folder = Path("demo-data"), port: Port = 8000, seed: Seed = 20260819) -> None:
    """Play the whole thing: an API, real traffic from six countries, refusals, a kill -9, and an independent check.

    Needs the demo extra. Writes under ./demo-data/ only and leaves no process behind.

    Example: residency demo --once --folder /tmp/demo
    """
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"residency demo needs {', '.join(missing)}: pip install 'residency[demo]'\n")
        raise typer.Exit(2)
    from residency.demo.run import FolderTaken, Options, run

    try:
        code = run(Options(folder=folder, once=once, port=port, seed=seed))
    except FolderTaken as taken:
        sys.stderr.write(f"{taken}\n")
        raise typer.Exit(2) from None
    raise typer.Exit(code)
