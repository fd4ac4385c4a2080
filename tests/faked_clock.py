"""A file that says what time it is in; the environment of a process that goes by it out."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path


def faked(steps: Path) -> dict[str, str]:
    """Whoever is started so reads the time in `steps` at every look at the clock, so that it steps within their life.
    Mark the test `needs("faketime")`."""
    preload = subprocess.run(["faketime", "now", "env"], capture_output=True, text=True, check=True).stdout
    library = re.search(r"^LD_PRELOAD=(\S+)", preload, re.MULTILINE)
    assert library is not None
    return {
        **os.environ,
        "LD_PRELOAD": library[1],
        "FAKETIME_TIMESTAMP_FILE": str(steps),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # an administrator cannot step that one
        "TZ": "UTC",
    }
