"""The README and the documents say what is so: files they name exist, links lead somewhere, the sample policy holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from residency import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_every_file_of_the_table_to_change_x_open_y_exists() -> None:
    table = README[README.index("## To change X") : README.index("## Working on it")]
    named = [path for path in re.findall(r"`([\w./<>-]+)`", table) if "<" not in path]
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_project_leads_to_a_file(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    here = [target for target in targets if target and "://" not in target]
    assert [target for target in here if not (document.parent / target).exists()] == []


def test_the_sample_deployment_of_the_readme_holds(tmp_path: Path) -> None:
    (sample,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    file = tmp_path / "deployment.yaml"
    file.write_text(sample)
    policy = load(file, {"PEOPLE_VN_URL": "memory:", "PEOPLE_SG_URL": "memory:"})
    assert policy.deployment.name == "social-api"


def test_the_readme_names_the_two_commands_and_make_has_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
