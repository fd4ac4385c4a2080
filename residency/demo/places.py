"""Where a demo's things lie and what to try next: a folder and ports in, lines for the screen out."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from shlex import quote

__all__ = ["CHECKER", "DATABASES", "POLICY", "SINKS", "places"]

POLICY = Path(__file__).with_name("demo.yaml")
CHECKER = Path(__file__).with_name("check_claims")
SINKS = {"people-vn": "VN", "people-sg": "SG"}
DATABASES = (*SINKS, "mail-sg")


def places(folder: Path, server: int | None, proxy: int | None) -> list[tuple[str, str]]:
    """(name, value) lines, commands as they can be pasted where this runs. Ports None = the server is gone."""
    log = _short(folder / "audit" / "log")
    residency = _program()
    lines = [
        ("Vietnam's database", _short(folder / "people-vn.sqlite")),
        ("Singapore's database", _short(folder / "people-sg.sqlite")),
        ("the mailing service's", _short(folder / "mail-sg.sqlite")),
        ("the audit log", log),
        ("what was claimed", _short(folder / "claims.json")),
        ("the server's output", _short(folder / "server.log")),
        ("the deployment file", _short(POLICY)),
        ("the app", _short(POLICY.with_name("app.py"))),
        ("try", f"{residency} audit verify {log}"),
        ("", f"{residency} audit show {log} --last 10"),
        ("", f"{residency} audit register {log}"),
        (
            "",
            f"DEMO_DATA={quote(str(folder))} {residency} explain --policy {_short(POLICY)} "
            "--route 'POST /v1/people' --ip 14.160.0.1",
        ),
        ("", f"{_short(Path(sys.executable))} -IS {_short(CHECKER)} {_short(folder)}"),
    ]
    if server is not None:
        lines += [("open", f"http://127.0.0.1:{server}/docs"), ("", f"http://127.0.0.1:{server}/metrics")]
    if proxy is not None:
        form = quote('{"name":"You","email":"you@example.org"}')
        lines.append(
            (
                "be somebody",
                f"curl -s http://127.0.0.1:{proxy}/v1/people -H 'x-demo-source: 14.160.0.1' "
                f"-H 'content-type: application/json' -d {form}",
            )
        )
    return lines


def _program() -> str:
    """How `residency` is called here: by name where that is this very installation, else by its path."""
    own = Path(sys.executable).with_name("residency")
    found = shutil.which("residency")
    if not own.exists() or (found is not None and Path(found) == own):
        return "residency"
    return _short(own)


def _short(path: Path) -> str:
    """The path as it can be pasted, relative to the working folder where it lies below it."""
    here = Path.cwd()
    return quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
