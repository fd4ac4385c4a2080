"""The page that checks proofs and receipts, in a real Chromium, opened from disk: right is green, tampered is red, and
its verdict is Python's, whatever the file."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.audit.checkpoint import format_verifier_key
from residency.audit.cosignature import ed25519_cosigner, ml_dsa_cosigner
from residency.audit.proof import Step, judge
from residency.cli.audit.page import page_with
from residency.cli.audit.report_charts import bars
from residency.cli.audit.report_pieces import STYLE, figure, table
from residency.model import Reason
from residency.policy.explain_words import because
from tests.browser import Tab, chromium
from tests.proof_documents import HOSTILE, OPENED, VKEY, proof, receipt, small_log
from tests.proof_mutations import Case, cases
from tests.servers import eventually

DETAIL = OPENED.decode()
NOTE = small_log().note.decode()
ROOT, SIGNED = NOTE.split("\n")[2], NOTE.rstrip("\n").rpartition(" ")[2]

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "verify.html"
    file.write_text(page_with(None))
    return file


def carrying(tmp_path: Path, document: str) -> Path:
    file = tmp_path / "carrying.html"
    file.write_text(page_with(document))
    return file


def check(tab: Tab, page: Path, text: str, key: str = VKEY, fragment: str = "#lang=en") -> tuple[str, str]:
    """(verdict, failed step) after pasting text and key as a reader does, and pressing the button."""
    tab.open(page, fragment)
    tab.run(f"document.getElementById('text').value = {json.dumps(text)}")
    tab.run(f"document.getElementById('key').value = {json.dumps(key)}")
    tab.run("document.querySelector('button[type=submit]').click()")
    return verdict(tab)


def verdict(tab: Tab) -> tuple[str, str]:
    there = "document.getElementById('verdict')"
    found = tab.run(  # in one go, for a page that judges anew takes the old one away
        f"new Promise((done) => {{ const wait = () => {{ const at = {there}; "
        "at ? done([at.dataset.verdict, at.dataset.failed]) : setTimeout(wait, 5); }; wait(); })"
    )
    return str(found[0]), str(found[1])


def tampered(text: str, *path: str | int, to: Any) -> str:
    document = json.loads(text)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to(place[path[-1]]) if callable(to) else to
    return json.dumps(document)


def flip(text: str, at: int = 7) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[at] ^= 16
    return base64.b64encode(raw).decode()


def test_a_file_on_disk_is_a_secure_context_and_fetches_nothing(tab: Tab, tmp_path: Path) -> None:
    tab.events.clear()
    page = carrying(tmp_path, receipt())
    tab.open(page)
    assert tab.run("isSecureContext && location.protocol") == "file:"
    asked = [e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"]
    assert set(asked) <= {page.as_uri(), "about:blank"}
    assert [e for e in tab.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")] == []


def test_a_good_proof_is_green_and_told_in_words(tab: Tab, page: Path) -> None:
    assert check(tab, page, proof(3)) == ("good", "")
    text = tab.text()
    for words in (
        "This proof holds",
        "Entry 3",
        "refused",
        "The data may rest only in the country whose law covers it.",
    ):
        assert words in text
    assert "What this does not show" in text


def test_a_good_receipt_shows_its_entries_and_the_opened_detail(tab: Tab, page: Path) -> None:
    assert check(tab, page, receipt()) == ("good", "")
    text = tab.text()
    for words in ("This receipt holds", "Overview", "Entry 0", "Entry 1", "113.160.0.1", "50000", "is not proved"):
        assert words in text
    assert tab.run("document.querySelectorAll('#entries article').length") == 4


def test_a_receipt_that_the_page_carries_is_checked_when_it_is_opened_and_waits_for_the_readers_key(
    tab: Tab, tmp_path: Path
) -> None:
    page = carrying(tmp_path, receipt())
    tab.open(page, "#lang=en")
    assert verdict(tab) == ("odd", "")
    assert "The key came with the file" in tab.text()
    assert "stood in the log" not in tab.text()
    tab.run(
        f"document.getElementById('key').value = {json.dumps(VKEY)}; document.getElementById('form').requestSubmit()"
    )
    eventually(lambda: verdict(tab) == ("good", ""), what="the verdict by the reader's key")


WIDEST = "[document.documentElement.scrollWidth, innerWidth]"
CUT_OFF = "[...document.querySelectorAll('.wide')].filter((e) => e.scrollWidth > e.clientWidth).length"


@pytest.fixture
def phone(tab: Tab) -> Iterator[Tab]:
    """The tab, as wide as a phone."""
    tab.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
    yield tab
    tab.call("Emulation.clearDeviceMetricsOverride")


def test_on_a_phone_nothing_of_a_receipt_is_cut_off(phone: Tab, page: Path) -> None:
    assert check(phone, page, receipt()) == ("good", "")
    wide, window = phone.run(WIDEST)
    assert wide <= window
    assert phone.run("document.querySelectorAll('.wide').length") == 1
    assert phone.run(CUT_OFF) == 0


def test_on_a_phone_a_report_is_not_wider_than_the_window_and_its_tables_scroll(phone: Tab, tmp_path: Path) -> None:
    row = [f"a.name.of.{number}" for number in range(8)]
    chart = figure(bars({"POST /v1/people": 2}, "by route"))
    file = tmp_path / "report.html"
    viewport = '<meta name="viewport" content="width=device-width,initial-scale=1">'
    file.write_text(f"<!doctype html>{viewport}<style>{STYLE}</style>{table(row, [row], ' ' * 8)}{chart}")
    phone.call("Page.navigate", url=file.as_uri())
    phone.run("new Promise((done) => { document.readyState === 'complete' ? done() : onload = done; })")
    wide, window = phone.run(WIDEST)
    assert wide <= window
    assert phone.run(CUT_OFF) == 1


def test_all_of_it_is_told_in_vietnamese_too(tab: Tab, page: Path) -> None:
    assert check(tab, page, receipt(), fragment="#lang=vi") == ("good", "")
    text = tab.text()
    for words in (
        "Biên nhận này đúng",
        "Bản ghi 0",
        "Việt Nam (VN)",
        "bị từ chối",
        "Dữ liệu chỉ được lưu tại quốc gia",
    ):
        assert words in text
    assert tab.run("document.documentElement.lang") == "vi"
    tab.run("document.getElementById('language').click()")
    assert "This receipt holds" in tab.text()


TAMPERED: dict[str, tuple[str, Step]] = {
    "entry": (tampered(proof(), "entry", to=lambda text: text.replace("permit", "deny")), Step.INCLUSION),
    "form of the entry": (tampered(proof(), "entry", to=lambda text: text.replace(",", ", ", 1)), Step.ENTRY),
    "index": (tampered(proof(), "index", to=2), Step.INCLUSION),
    "node": (tampered(proof(), "proof", 0, to=flip), Step.INCLUSION),
    "node dropped": (tampered(proof(), "proof", to=lambda nodes: nodes[1:]), Step.INCLUSION),
    "root": (tampered(proof(), "checkpoint", to=lambda n: n.replace(ROOT, flip(ROOT))), Step.SIGNATURE),
    "size": (tampered(proof(), "checkpoint", to=lambda n: n.replace("\n5\n", "\n50\n")), Step.SIGNATURE),
    "signature": (tampered(proof(), "checkpoint", to=lambda n: n.replace(SIGNED, flip(SIGNED, 20))), Step.SIGNATURE),
    "key": (tampered(proof(), "key", to=lambda key: key[:-4] + "AAAA"), Step.KEY),
    "policy": (tampered(proof(), "policy", to="cd" * 32), Step.ENTRY),
    "end of the file": (proof()[:-40], Step.DOCUMENT),
    "salt": (tampered(receipt(), "entries", 0, "detail", "text", to=DETAIL.replace("73" * 16, "72" * 16)), Step.DETAIL),
    "detail": (tampered(receipt(), "entries", 0, "detail", "text", to=DETAIL.replace('"an"', '"am"')), Step.DETAIL),
    "subject": (tampered(receipt(), "subject", to="cd" * 16), Step.SUBJECT),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_was_tampered_with_is_red_and_names_the_step(tab: Tab, page: Path, what: str) -> None:
    document, step = TAMPERED[what]
    assert check(tab, page, document) == ("bad", step.value)
    text = tab.text()
    assert "This does not hold" in text
    assert "Failed step" in text
    assert tab.run("document.getElementById('entries').childElementCount") == 0


def test_another_key_than_the_one_in_the_file_is_red(tab: Tab, page: Path) -> None:
    other = "log.example+73b81021+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    assert check(tab, page, proof(), other) == ("bad", "key")


def test_witnesses_that_the_reader_trusts_must_have_cosigned(tab: Tab, page: Path) -> None:
    cosign, witness = ed25519_cosigner("witness.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    line = cosign(NOTE.rpartition("\n\n")[0] + "\n", 1_795_000_000)
    cosigned = tampered(proof(), "checkpoint", to=NOTE + line + "\n")
    keys = f"{VKEY}\n{format_verifier_key(witness)}\n"
    assert check(tab, page, cosigned, keys) == ("good", "")
    assert "witness.example (2026-11-18 11:06:40" in tab.text()
    assert check(tab, page, cosigned) == ("good", "")
    assert "also carries signatures by witness.example" in tab.text()
    assert check(tab, page, proof(), keys) == ("bad", "witness")


def test_a_witness_with_two_keys_is_asked_by_the_one_that_browsers_know(tab: Tab, page: Path) -> None:
    text = NOTE.rpartition("\n\n")[0] + "\n"
    cosign, first = ed25519_cosigner("witness.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    cosign_too, second = ml_dsa_cosigner("witness.example", MLDSA44PrivateKey.from_seed_bytes(b"w" * 32))
    cosigned = tampered(proof(), "checkpoint", to=f"{NOTE}{cosign(text, 7)}\n{cosign_too(text, 7)}\n")
    both = [format_verifier_key(first), format_verifier_key(second)]
    assert judge(cosigned.encode(), VKEY, both).holds
    assert check(tab, page, cosigned, "\n".join([VKEY, *both])) == ("good", "")
    assert check(tab, page, cosigned, f"{VKEY}\n{both[1]}") == ("unable", "")
    assert "ML-DSA-44" in tab.text()


def test_text_in_a_document_cannot_script_the_page(tab: Tab, page: Path, tmp_path: Path) -> None:
    assert check(tab, page, receipt()) == ("good", "")
    assert HOSTILE in tab.text()
    assert tab.run("globalThis.hit ?? null") is None
    assert tab.run("document.querySelectorAll('#entries img, #entries script').length") == 0
    links = tab.run("[...document.querySelectorAll('#entries a')].map((a) => a.getAttribute('href'))")
    assert {link for link in links if not link.startswith("#entry-")} == set()
    tab.open(carrying(tmp_path, receipt()))
    assert tab.run("globalThis.hit ?? null") is None
    assert tab.run("document.scripts.length") == 2


def test_a_browser_without_ed25519_says_so_and_claims_nothing(tab: Tab, page: Path) -> None:
    tab.open(page, "#lang=en")
    tab.run("crypto.subtle.importKey = () => Promise.reject(new DOMException('no', 'NotSupportedError'))")
    tab.run(f"document.getElementById('text').value = {json.dumps(proof())}")
    tab.run("document.getElementById('form').requestSubmit()")
    assert verdict(tab) == ("unable", "")
    assert "Not checked" in tab.text()


def test_a_file_can_be_dropped_and_the_page_used_without_a_mouse(tab: Tab, page: Path) -> None:
    tab.open(page, "#lang=en")
    tab.run(f"document.getElementById('key').value = {json.dumps(VKEY)}")
    tab.run(
        f"(() => {{ const all = new DataTransfer(); all.items.add(new File([{json.dumps(receipt())}], 'receipt.json'));"
        "document.dispatchEvent(new DragEvent('drop', { dataTransfer: all, cancelable: true })); })()"
    )
    assert verdict(tab) == ("good", "")
    assert tab.run("document.activeElement.id") == "verdict"
    named = "(e) => e.labels?.length || e.textContent || e.getAttribute('aria-labelledby')"
    assert tab.run(f"[...document.querySelectorAll('input, textarea, button')].every({named})") is True
    assert tab.run("document.querySelectorAll('[tabindex]:not([tabindex=\"-1\"])').length") == 0


def differences(tab: Tab, page: Path, seed: int, each: int) -> Counter[str]:
    """How many cases came to each verdict, once the page and Python have said the same of all of them."""
    tab.open(page)
    counted: Counter[str] = Counter()
    batch: list[Case] = []

    def compare() -> None:
        asked = json.dumps([[base64.b64encode(data).decode(), key, trusted] for data, key, trusted in batch])
        found = tab.run(
            f"(async () => {{ const told = []; for (const [data, key, trusted] of {asked}) {{"
            "const raw = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));"
            "const r = await residency.judge(raw, key, trusted);"
            "told.push([r.holds, r.failed, r.item, r.unable, r.anchored]); }"
            "return told; })()"
        )
        for (data, key, trusted), answer in zip(batch, found, strict=True):
            own = judge(data, key, trusted)
            failed = None if own.failed is None else own.failed.value
            assert answer[:3] == [own.holds, failed, own.item], (data[:3000], key, trusted, answer, own.problem)
            assert answer[3:] == [False, key is not None]
            counted[failed or "holds"] += 1
        batch.clear()

    for case in cases(seed, each):
        batch.append(case)
        if len(batch) == 200:
            compare()
    compare()
    return counted


def test_the_page_judges_as_python_does(tab: Tab, page: Path) -> None:
    counted = differences(tab, page, seed=1, each=60)
    print(dict(counted))
    assert set(counted) == {*(step.value for step in Step), "holds"}
    assert sum(counted.values()) > 1200


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2, 7))
def test_the_page_judges_as_python_does_of_very_many(tab: Tab, page: Path, seed: int) -> None:
    counted = differences(tab, page, seed, each=400)
    assert set(counted) == {*(step.value for step in Step), "holds"}


def test_the_page_gives_reasons_in_the_words_of_explain(page: Path) -> None:
    text = page.read_text()
    for reason in Reason:
        if because(reason, "en"):
            line = (
                f"  {reason.value}: {json.dumps([because(reason, 'en'), because(reason, 'vi')], ensure_ascii=False)},"
            )
            assert line in text
