"""The command line: `residency …`. Exit 0 = holds, 1 = does not hold, 2 = wrong use."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    # Servers find an app's modules in the folder they are started from; `identity.callable` is to be found here too.
    # Last of all places, so that nothing that lies there stands in for what is installed.
    with suppress(OSError):  # a folder that is gone
        sys.path.append(str(Path.cwd()))

    from residency.cli.app import app_for

    app_for(sys.argv[1:])()
