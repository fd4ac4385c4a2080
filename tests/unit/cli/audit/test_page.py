"""The page is one file that carries a document as data, and may fetch or run nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.cli.audit import audit_app
from residency.cli.audit.page import document_in, page_with
from residency.errors import VerificationError
from tests.proof_documents import receipt

PAGE = page_with(None)


def sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_of_the_page_allows_its_own_script_and_style_and_nothing_else() -> None:
    script, style = re.search(r"<script>(.*?)</script>", PAGE, re.S), re.search(r"<style>(.*?)</style>", PAGE, re.S)
    assert script is not None
    assert style is not None
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', PAGE)
    assert policy is not None
    assert policy[1] == (
        f"default-src 'none'; script-src 'sha256-{sha256(script[1])}'; style-src 'sha256-{sha256(style[1])}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert len(re.findall(r"<script", PAGE)) == 2
    assert len(re.findall(r"<style", PAGE)) == 1


def test_the_page_names_no_other_file_and_builds_no_markup_from_text() -> None:
    assert not re.search(r"""(?:src|href)=["']|url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon""", PAGE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", PAGE)


def test_a_document_is_carried_as_data_and_read_back() -> None:
    page = page_with(receipt())
    assert page.count("</script>") == PAGE.count("</script>")
    assert "<img" not in page
    assert json.loads(document_in(page.encode())) == json.loads(receipt())


def test_other_bytes_are_a_document_themselves() -> None:
    assert document_in(b"{}") == b"{}"


def test_a_page_without_a_document_is_refused() -> None:
    for page in (PAGE, "<!DOCTYPE html><p>other</p>"):
        with pytest.raises(VerificationError):
            document_in(page.encode())


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    out = tmp_path / "verify.html"
    assert CliRunner().invoke(audit_app, ["page", "--out", str(out)]).exit_code == 0
    assert out.read_text() == PAGE
    assert CliRunner().invoke(audit_app, ["page"]).stdout == PAGE
    assert CliRunner().invoke(audit_app, ["page", "--out", str(tmp_path / "no" / "where")]).exit_code == 2
