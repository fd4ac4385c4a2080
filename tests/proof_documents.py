"""For tests: a deployment that has served one person, the log of it, and proofs and receipts of a small made-up log."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from residency.audit.checkpoint import format_verifier_key
from residency.audit.detail import commit, format_detail
from residency.audit.entry import Entry, format_entry
from residency.audit.merkle import inclusion_proof, leaf_hash, root_of
from residency.audit.proof_document import Detail, Item, format_proof, format_receipt
from residency.bootstrap import build
from residency.enforcement.current import Current
from residency.enforcement.request import Request
from tests.audit_log import INTENT, ORIGIN, SIGNER, VERIFIER
from tests.world import HANOI, HOME, handling, write_deployment

VKEY = format_verifier_key(VERIFIER)
ALIAS = "9f2c" * 8
OPENED = format_detail(
    {"account": "an", "address": "113.160.0.1", "port": 50_000, "at": 1_795_000_000_000_000}, b"s" * 16
)
HOSTILE = '<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=2</script>'
STORY = {
    language: {
        "title": f"{language} {HOSTILE}",
        "lead": [HOSTILE],
        "sections": [
            {
                "title": "Rules",
                "items": [
                    {"text": "a rule", "notes": ["its text"], "link": "https://law.example/1?a=1&b=<2>"},
                    {"text": "another", "notes": [HOSTILE], "link": "javascript:globalThis.hit=3"},
                ],
            }
        ],
    }
    for language in ("en", "vi")
}

_DEPLOYMENT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn]}
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""


def person(seq: int, **fields: object) -> Entry:
    """An entry about the person of ALIAS."""
    return replace(INTENT, id=f"0.{seq}", subject=ALIAS, activity="POST /v1/people", **fields)  # type: ignore[arg-type]


PERSON: Sequence[Entry] = (
    person(0, detail=commit(OPENED), jurisdictions=("VN",), finding=("territory:VN:established:network",)),
    replace(INTENT, id="0.1", kind="outcome", act="committed", of="0.0"),
    replace(INTENT, id="0.2", subject="ab" * 16),
    person(3, kind="refusal", effect="deny", reason="only_in_country", rules=("vn.d333.19.2",), sink=None),
    person(4, kind="decision", note=HOSTILE, presumed=("VN:citizenship",)),
)
"""A person's act with its outcome, somebody else's, a refusal, and an entry whose text would like to be a script."""


class SmallLog:
    """The tree over some entries, bytes that need not be right, under one checkpoint."""

    def __init__(self, entries: Sequence[bytes], text: str | None = None) -> None:
        self.entries = entries
        self.leaves = [leaf_hash(entry) for entry in entries]
        root = base64.b64encode(root_of(self.leaves)).decode()
        said = f"{ORIGIN}\n{len(entries)}\n{root}\n" if text is None else text
        self.note = f"{said}\n{SIGNER(said)}\n".encode()

    def item(self, index: int, detail: Detail | None = None, story: int | None = None) -> Item:
        """What a document holds of entry `index`."""
        nodes = inclusion_proof(
            index, len(self.leaves), lambda level, at: root_of(self.leaves[at << level : at + 1 << level])
        )
        proof = tuple(base64.b64encode(node).decode() for node in nodes)
        return Item(index, self.entries[index].decode(), proof, detail, story)


def small_log() -> SmallLog:
    """The log of PERSON."""
    return SmallLog([format_entry(entry) for entry in PERSON])


def proof(index: int = 0) -> str:
    """A proof of one entry of PERSON."""
    log = small_log()
    return format_proof(log.note, VERIFIER, log.item(index))


def receipt() -> str:
    """The receipt of the person, one detail opened, one decision told."""
    log = small_log()
    items = [log.item(0, Detail("VN", OPENED.decode()), 0), log.item(1), log.item(3), log.item(4, None, 0)]
    return format_receipt(log.note, VERIFIER, items, ALIAS, [STORY])


@dataclass(frozen=True)
class Served:
    """Where a deployment that has served lies."""

    policy: Path
    log: Path
    detail: Path
    keys: Path


def serve(folder: Path, people: Sequence[str] = ("an", "binh")) -> Served:
    """Let each person write once, from Hanoi."""
    policy = write_deployment(folder, _DEPLOYMENT, (HOME,))

    async def run() -> None:
        runtime = build(policy)
        await runtime.start()
        for who in people:
            here = runtime.point.admit(Request("POST", "/people", b"/people", (), (HANOI, 50_000)))
            assert isinstance(here, Current)
            with handling(here):
                await here.identify(who, {"verified_by": "phone"}, verified=True)
                await here.store("people").put(who, b"v")
        await runtime.aclose()

    asyncio.run(run())
    return Served(policy, folder / "audit" / "log", folder / "detail", folder / "keys")
