"""The command line: `residency …`. Exit 0 = holds, 1 = does not hold, 2 = wrong use."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    from residency.cli.app import app_for

    app_for(sys.argv[1:])()
