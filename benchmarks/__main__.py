"""Every benchmark, one after the other: addresses to middleware, as listed below. What cannot run here is said.

    python -m benchmarks [NAME…] [--quick]

Each compares its variants within one run of its own; compare figures within one table only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Final

from benchmarks.verdict import MISSED, end

NAMES: Final = {
    "addresses": "the country of an address, beside seven other ways",
    "strategy": "the client's address, beside the package forwarded",
    "pins": "a subject's pin, beside a question to Redis",
    "stage": "from headers to finding, beside a bare Starlette request",
    "routes": "which activity a request is, from 10 to 2,000 routes",
    "policy": "a decision, beside Cedar, Casbin and Rego",
    "audit": "an entry of the audit trail, beside JSON lines, SQLite and pymerkle",
    "verify": "a log of a million entries verified, beside hashing alone",
    "rows": "a SQLAlchemy unit of work, routed beside plain",
    "services": "a call of a service through its store, beside plain httpx",
    "objects": "an object stored and read through its store, beside obstore",
    "gather": "a list over two sinks, beside the slower of them alone",
    "move": "rows moved home between two PostgreSQL, beside COPY",
    "middleware": "the whole middleware, in process and under uvicorn",
}


def main() -> None:
    """Run what is asked for; exit 1 where one did not run to its end, 3 where one missed a bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see that all of it works")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(NAMES)}")
    failed, missed = [], []
    for number, name in enumerate(options.names or NAMES, 1):
        print(f"==> {number}/{len(options.names or NAMES)} {name}: {NAMES[name]}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if options.quick else [])]
        code = subprocess.run(command, check=False).returncode
        if code == MISSED:
            missed.append(name)
        elif code:
            failed.append(name)
    if missed:
        print(f"A bar was missed: {', '.join(missed)} (above is which, and docs/reference says what is known of it)")
    if failed:
        print(f"NOT RUN to its end: {', '.join(failed)} (above is why; peers come with pip install -e '.[bench]')")
        raise SystemExit(1)
    end(not missed)


if __name__ == "__main__":
    main()
