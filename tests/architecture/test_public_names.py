"""What `residency` exports is small, pinned, documented, and costs nothing to import."""

from __future__ import annotations

import inspect
import subprocess
import sys

import residency

# The public contract: a name is added here in the same change as in the changelog, and never taken away in a minor.
PUBLIC = [
    "Current",
    "Decision",
    "Effect",
    "NoDecision",
    "NotFound",
    "PolicyError",
    "Reason",
    "Refused",
    "Residency",
    "ResidencyError",
    "ResidencyMiddleware",
    "SubjectUnknown",
    "Unavailable",
    "UnknownStore",
    "UsageError",
    "about",
    "about_many",
    "build",
    "current",
    "gather",
    "http",
    "identify",
    "load",
    "sql",
]


def test_the_exported_names_are_exactly_these_sorted_and_at_most_25() -> None:
    assert residency.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC
    assert len(PUBLIC) <= 25


def test_every_exported_name_exists_and_says_what_it_is() -> None:
    for name in PUBLIC:
        value = getattr(residency, name)
        assert inspect.getdoc(value), name


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    assert not hasattr(residency, "nonsense")


def test_importing_residency_imports_no_framework_and_no_driver() -> None:
    forbidden = {
        "fastapi",
        "litestar",
        "sqlalchemy",
        "starlette",
        "httpx",
        "geoip2",
        "cryptography",
        "pydantic",
        "rich",
    }
    program = f"import sys, residency; print(sorted({forbidden!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_middleware_imports_no_optional_extra() -> None:
    optional = {"fastapi", "litestar", "sqlalchemy", "httpx", "httpx2", "uvicorn", "websockets"}
    program = f"import sys; from residency import ResidencyMiddleware; print(sorted({optional!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
