"""The house keeps its shape: small modules, tests that mirror them, words from the glossary, nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from residency import model
from residency.observe import names

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "residency"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.read_text().strip())
UNIT_TESTS = sorted((ROOT / "tests" / "unit").rglob("test_*.py"))
# DESIGN section 3: the words of the product, each explained in docs/glossary.md.
WORDS = (
    "Act Activity Anchor Caller Checkpoint ConsistencyProof Decision Deployment Duty Entry Filing Finding "
    "InclusionProof Jurisdiction Law Pin Region Register Rule Signal Sink Store Subject SubjectId Token Transfer Trust "
    "decide enforce format_ parse_ resolve seal unseal verify_ integrated published recorded"
).split()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def glossary() -> str:
    return (ROOT / "docs" / "glossary.md").read_text()


def test_no_module_has_more_than_400_lines() -> None:
    assert {name_of(path): lines for path in MODULES if (lines := path.read_text().count("\n")) > 400} == {}


def test_every_module_opens_with_what_comes_in_and_goes_out() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_every_public_function_and_class_says_what_it_is() -> None:
    silent = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_branch_is_exempt_from_coverage() -> None:
    assert [name_of(path) for path in MODULES if "pragma: no" + " cover" in path.read_text()] == []


def test_every_unit_test_mirrors_a_module_of_the_package() -> None:
    strays = []
    for path in UNIT_TESTS:
        place = PACKAGE / path.relative_to(ROOT / "tests" / "unit").parent
        module = path.stem.removeprefix("test_")
        if not (place / f"{module}.py").is_file() and not (place / module).is_dir():
            strays.append(name_of(path))
    assert strays == []


def test_the_glossary_explains_each_word_of_the_product() -> None:
    text = glossary()
    assert [word for word in WORDS if not re.search(rf"^\| [^|]*`{re.escape(word)}`[^|]*\|", text, re.MULTILINE)] == []


def test_the_glossary_knows_each_class_of_the_model() -> None:
    text = glossary()
    classes = [name for name in model.__all__ if isinstance(getattr(model, name), type)]
    assert [name for name in classes if f"`{name}`" not in text] == []


def test_nothing_tracked_names_this_checkout_or_a_home_folder() -> None:
    homes = [
        str(place) + "/" for place in (ROOT, Path.home()) if len(place.parts) > 2 or place == Path.home() != Path("/")
    ]
    found = [
        f"{name_of(path)}: {home}" for path in tracked_files() for home in homes if home.encode() in path.read_bytes()
    ]
    assert not found


def test_nothing_tracked_names_a_package_registry_host() -> None:
    # Where packages come from is each user's own setting; a host written down here would override it.
    hosts = [
        f"{host}.{domain}".encode()
        for host, domain in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("deb.debian", "org"),
        )
    ]
    found = [name_of(path) for path in tracked_files() if any(host in path.read_bytes() for host in hosts)]
    assert not found


def test_the_metrics_reference_lists_exactly_the_metrics_of_the_table() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    for spec in names.METRICS:
        labels = ", ".join(f"`{label}`" for label in spec.labels) or "–"
        assert f"| `{spec.name}` | {spec.kind} | {labels} | {spec.help} |" in page
    assert len(re.findall(r"^\| `residency_", page, re.MULTILINE)) == len(names.METRICS)
