"""What `pip install` brings: the built wheel, unpacked where nothing of the repository can be seen, still works."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

USE = """
import residency, json
from pathlib import Path
from residency.adapters.mmdb import embedded
from residency.adapters.policy_files import available_laws, load
assert Path(residency.__file__).is_relative_to(Path.cwd()), residency.__file__
policy = load("d.yaml")
print(json.dumps({
    "laws": sorted(available_laws(())),
    "compiled": [law.name for law in policy.laws],
    "country": embedded().country("113.160.0.1"),
}))
"""

DEPLOYMENT = """\
residency: 1
kind: deployment
name: installed
mode: enforce
operator: {established_in: [VN], roles: [controller]}
laws: [vn/*]
regions: {vn: {country: VN}}
sinks: {a: {region: vn, provider: VN, keys: VN, encrypted: true, url: "memory:"}}
stores: {people: [a]}
activities:
  - {route: "POST /v1/people", subject: app, data: [personal], operation: write, store: people}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    (built,) = out.glob("residency-*.whl")
    return built


def test_the_wheel_carries_laws_schemas_country_data_types_and_the_demo(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "residency/_laws/vn/decree-333-2026.yaml",
        "residency/_schema/deployment.json",
        "residency/data/country/iptoasn-country.mmdb",
        "residency/data/country/SOURCE.json",
        "residency/data/country/LICENSE",
        "residency/demo/demo.yaml",
        "residency/demo/register.yaml",
        "residency/demo/check_claims/__main__.py",
        "residency/py.typed",
    ):
        assert needed in names


def test_an_installed_wheel_finds_laws_and_country_data_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (tmp_path / "d.yaml").write_text(DEPLOYMENT)
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"country": "VN"' in done.stdout
    assert done.stdout.count("vn/decree-333-2026") == 2
