"""Proofs and receipts as documents: entries, proofs, a signed checkpoint and its key in, one text out, and back.

What `parse_document` answers has the right form and is not believed yet: that is up to `audit.proof.judge`. Words in a
document (`what`, `stories`) are for people and prove nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, cast

from residency.audit.checkpoint import VerifierKey, format_verifier_key
from residency.audit.entry import parse_entry
from residency.errors import VerificationError

__all__ = [
    "DOCUMENT_LIMIT",
    "TLOG_PROOF",
    "Detail",
    "Document",
    "Item",
    "Story",
    "format_proof",
    "format_receipt",
    "format_tlog_proof",
    "parse_base64",
    "parse_document",
]

DOCUMENT_LIMIT: Final = 64 << 20
TLOG_PROOF: Final = "c2sp.org/tlog-proof@v1"
_VERSION: Final = 1
_INTEGER_LIMIT: Final = 2**53
_PLACE: Final = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")  # no sentence: it is shown, and proved by nothing

Story = Mapping[str, Any]
"""A decision told, by language ("en", "vi"): `title`, `lead` (texts), `sections` (title; items: text, notes, link)."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A regional detail that was opened: the country it was kept in, and its text with the salt."""

    country: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One entry as a document holds it: its number, its text, its inclusion proof (base64, nearest sibling first)."""

    index: int
    entry: str
    proof: tuple[str, ...]
    detail: Detail | None = None
    story: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A proof (`kind` "proof", one item) or a receipt ("receipt"). `key` is None where only the reader has one."""

    kind: str
    checkpoint: str
    key: str | None
    items: tuple[Item, ...]
    subject: str | None = None
    policy: str | None = None
    stories: tuple[Story, ...] = ()


def format_proof(note: bytes, key: VerifierKey, item: Item) -> str:
    """The proof document (JSON, one line feed at its end) of one entry under the signed checkpoint `note`."""
    policy = parse_entry(item.entry.encode()).policy
    origin = key.name
    document = {
        "v": _VERSION,
        "kind": "proof",
        "what": {
            "en": f"Proof that this entry is number {item.index} of the log {origin}, under a checkpoint that the log "
            "signed. Check it with `residency audit check-proof`, or in a browser with the page that "
            "`residency audit page` writes, and with the log's key from somewhere else than this file.",
            "vi": f"Bằng chứng rằng bản ghi này là số {item.index} của nhật ký {origin}, theo điểm kiểm tra mà nhật ký "
            "đã ký. Kiểm tra bằng `residency audit check-proof`, hoặc trong trình duyệt với trang do "
            "`residency audit page` tạo ra, và với khóa của nhật ký lấy từ nơi khác, không phải từ tệp này.",
        },
        "index": item.index,
        "entry": item.entry,
        "proof": list(item.proof),
        "checkpoint": note.decode(),
        "key": format_verifier_key(key),
        "policy": policy,
    }
    return _text(document)


def format_receipt(
    note: bytes, key: VerifierKey, items: Sequence[Item], subject: str | None = None, stories: Sequence[Story] = ()
) -> str:
    """The receipt document (JSON) of these entries; all of `subject`, an alias, where one is named."""
    origin = key.name
    document = {
        "v": _VERSION,
        "kind": "receipt",
        "what": {
            "en": f"What the log {origin} holds about one person or matter: {len(items)} entries, each with the proof "
            "that it is in the log. Opened personal details are in it: keep it as you would the person's own papers.",
            "vi": f"Những gì nhật ký {origin} ghi về một người hoặc một vụ việc: {len(items)} bản ghi, mỗi bản ghi kèm "
            "bằng chứng rằng nó nằm trong nhật ký. Tệp có thể chứa dữ liệu cá nhân: hãy giữ như giấy tờ của người đó.",
        },
        "subject": subject,
        "checkpoint": note.decode(),
        "key": format_verifier_key(key),
        "entries": [
            {
                "index": item.index,
                "entry": item.entry,
                "proof": list(item.proof),
                "detail": None if item.detail is None else {"country": item.detail.country, "text": item.detail.text},
                "story": item.story,
            }
            for item in items
        ],
        "stories": list(stories),
    }
    return _text(document)


def format_tlog_proof(note: bytes, item: Item) -> str:
    """The same proof as C2SP tlog-proof text. The entry itself goes along as `extra`, for who does not have it."""
    lines = [TLOG_PROOF, f"extra {_encoded(item.entry.encode())}", f"index {item.index}", *item.proof, ""]
    return "\n".join(lines) + "\n" + note.decode()


def parse_document(data: bytes) -> Document:
    """The proof or receipt that `data` is, of which nothing is believed yet. Raises: VerificationError."""
    if len(data) > DOCUMENT_LIMIT:
        raise VerificationError("the document is larger than 64 MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise VerificationError("the document is not UTF-8") from None
    if text.startswith(TLOG_PROOF + "\n"):
        return _tlog_proof(text)
    try:
        value = json.loads(text, parse_float=_whole, parse_constant=_no_number)
    except (ValueError, OverflowError, RecursionError):
        raise VerificationError("the document is neither JSON nor a tlog-proof") from None
    if not isinstance(value, dict) or value.get("kind") not in ("proof", "receipt"):
        raise VerificationError("the document is neither a proof nor a receipt")
    if type(value.get("v")) is not int or value["v"] != _VERSION:
        raise VerificationError("the document's version is not 1")
    if value["kind"] == "proof":
        _keys(value, "v kind what index entry proof checkpoint key policy")
        items: tuple[Item, ...] = (Item(*_proved(value)),)
        policy, subject, stories = _maybe(value["policy"]), None, cast("tuple[Story, ...]", ())
    else:
        _keys(value, "v kind what subject checkpoint key entries stories")
        policy, subject = None, _maybe(value["subject"])
        stories = tuple(_story(each) for each in _list(value["stories"]))
        items = tuple(_item(each, len(stories)) for each in _list(value["entries"]))
        if not items:
            raise VerificationError("the receipt holds no entry")
    what = _keys(value["what"], "en vi")
    _str(what["en"]), _str(what["vi"])
    return Document(value["kind"], _str(value["checkpoint"]), _str(value["key"]), items, subject, policy, stories)


def _tlog_proof(text: str) -> Document:
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")[1:]
    if not separator or not lines:
        raise VerificationError("a tlog-proof has no checkpoint")
    if not lines[0].startswith("extra "):
        raise VerificationError("a tlog-proof does not carry its entry as `extra`")
    try:
        entry = parse_base64(lines.pop(0).removeprefix("extra ")).decode()
    except ValueError:
        raise VerificationError("a tlog-proof's `extra` is not an entry in base64") from None
    number = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
    if not number.isascii() or not number.isdecimal() or str(int(number[:20])) != number:
        raise VerificationError("a tlog-proof has no index")
    if int(number) >= _INTEGER_LIMIT:
        raise VerificationError("an index is not an integer from 0 to 2^53")
    return Document("proof", note, None, (Item(int(number), entry, tuple(lines)),))


def _item(value: object, stories: int) -> Item:
    fields = _keys(value, "index entry proof detail story")
    detail, story = fields["detail"], fields["story"]
    opened = None
    if detail is not None:
        parts = _keys(detail, "country text")
        if _PLACE.fullmatch(_str(parts["country"])) is None:
            raise VerificationError("a detail's country is not a code of one")
        opened = Detail(parts["country"], _str(parts["text"]))
    if story is not None and (type(story) is not int or not 0 <= story < stories):
        raise VerificationError("an entry names a story that is not there")
    return Item(*_proved(fields), detail=opened, story=story)


def _proved(fields: Mapping[str, object]) -> tuple[int, str, tuple[str, ...]]:
    index = fields["index"]
    if type(index) is not int or not 0 <= index < _INTEGER_LIMIT:
        raise VerificationError("an index is not an integer from 0 to 2^53")
    return index, _str(fields["entry"]), tuple(_str(node) for node in _list(fields["proof"]))


def _story(value: object) -> Story:
    told = _keys(value, "en vi")
    for page in told.values():
        parts = _keys(page, "title lead sections")
        _str(parts["title"])
        for text in _list(parts["lead"]):
            _str(text)
        for section in _list(parts["sections"]):
            section = _keys(section, "title items")
            _str(section["title"])
            for item in _list(section["items"]):
                item = _keys(item, "text notes link")
                _str(item["text"]), _str(item["link"])
                for note in _list(item["notes"]):
                    _str(note)
    return told


def _keys(value: object, names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names.split()):
        raise VerificationError("the document does not have exactly the keys of version 1")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise VerificationError("the document holds something else where a list must stand")
    return value


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise VerificationError("the document holds something else where a text must stand")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise VerificationError("the document holds text that is not Unicode") from None
    return value


def _maybe(value: object) -> str | None:
    return None if value is None else _str(value)


def parse_base64(text: str) -> bytes:
    """The bytes that `text` is the base64 of. Raises: ValueError where base64 would not write them so."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if _encoded(raw) != text:
        raise ValueError("not canonical")
    return raw


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _text(document: Mapping[str, object]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _whole(text: str) -> int:
    # A JSON number is a double (RFC 8785): 1.0 is 1, to a browser too.
    number = float(text)
    if not number.is_integer():
        raise ValueError("not an integer")
    return int(number)


def _no_number(_text: str) -> NoReturn:
    raise ValueError("not a number")
