"""For tests: proofs, receipts and keys, right and wrong in hundreds of ways, each of which two judges must judge alike.

Everything is drawn from a seed. What a log holds may be wrong here too: its entries, details and notes are signed and
proved properly, so that the judge has to look at the very form of them.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from residency.audit.checkpoint import format_verifier_key, note_signer
from residency.audit.cosignature import ed25519_cosigner
from residency.audit.detail import commit
from residency.audit.entry import format_entry
from residency.audit.note import format_signature
from residency.audit.proof_document import Detail, Item, format_receipt, format_tlog_proof
from tests.audit_log import ORIGIN, SIGNER, VERIFIER
from tests.proof_documents import ALIAS, OPENED, PERSON, VKEY, SmallLog, person, proof, receipt, small_log

Case = tuple[bytes, str | None, tuple[str, ...]]
"""A document, the reader's key, and the keys of witnesses that the reader trusts."""

_OTHER, _OTHER_KEY = note_signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
_WITNESS, _ = note_signer("witness.example", Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 4, 5, 0.5, 2**53 - 1, 2**53, "", "x", "\ud800", "\x00", [], {}, ["x"], [None],
    {"en": "x"},
)  # fmt: skip
_TOKENS = (
    " ", "\n", ",", ":", '"', "\\", "\\u0041", "\\ud800", "\\ud83d\\ude00", "\\/", "\u00e9", "\U0001f600",
    "0", "1", "-", ".0", "e0", "null", "true", "[]", "{}", "\t", "\x7f", "\u2028", "\ufeff", "a",
)  # fmt: skip


def cases(seed: int, each: int) -> Iterator[Case]:
    """About 25 times `each` cases."""
    chance = random.Random(seed)
    for data, key in _plain(chance, each):
        yield data, key, ()
    yield from _witnessed(chance, each)


def _plain(chance: random.Random, each: int) -> Iterator[tuple[bytes, str | None]]:
    log = small_log()
    texts = [proof(), proof(4), receipt(), format_tlog_proof(log.note, log.item(3))]
    for text in texts:
        yield text.encode(), VKEY
        yield text.encode(), None
        yield b"\xef\xbb\xbf" + text.encode(), VKEY
        for _ in range(each):
            yield _bytes(chance, text.encode()), VKEY
    for text in texts[:3]:
        for _ in range(3 * each):
            yield _values(chance, json.loads(text)), chance.choice((VKEY, VKEY, None))
    for key in _keys(chance, each):
        yield texts[0].encode(), key
        yield json.dumps({**json.loads(texts[0]), "key": key}).encode(), chance.choice((VKEY, key, None))
        yield texts[3].encode(), key
    for note in _notes(chance, log.note.decode(), each):
        yield json.dumps({**json.loads(texts[0]), "checkpoint": note}).encode(), VKEY
    yield from _entries(chance, 4 * each)
    yield from _details(chance, 2 * each)
    yield from _trees(chance, each)
    yield from _subjects(chance, each)


def _bytes(chance: random.Random, data: bytes) -> bytes:
    """The bytes with one thing done to them."""
    at, end = sorted((chance.randrange(len(data)), chance.randrange(len(data))))
    match chance.randrange(5):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + 1 :]
        case 2:
            return data[:at] + chance.choice(_TOKENS).encode() + data[at:]
        case 3:
            return data[:at]
        case _:
            return data[:end] + data[at:]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for name, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
            yield from _places(inner, (*path, name))


def _values(chance: random.Random, document: Any) -> bytes:
    """The document with one value replaced, dropped, doubled, changed in a letter, or exchanged with another."""
    path = chance.choice(list(_places(document)))
    place = document
    for step in path[:-1]:
        place = place[step]
    last = path[-1]
    match chance.randrange(5):
        case 0:
            del place[last]
        case 1 if isinstance(place, list):
            place.insert(last, place[chance.randrange(len(place))])
        case 2 if isinstance(place[last], str) and place[last]:
            text, at = place[last], chance.randrange(len(place[last]))
            place[last] = text[:at] + chance.choice((*_TOKENS, "")) + text[at + 1 :]
        case 3:
            place[last] = place[chance.choice(list(place))] if isinstance(place, dict) else chance.choice(place)
        case _:
            place[last] = chance.choice(_VALUES)
    return json.dumps(document).encode()


def _keys(chance: random.Random, count: int) -> Iterator[str]:
    raw = VERIFIER.public
    yield from (
        "",
        " ",
        "+",
        "++",
        f" {VKEY}\r\n",
        VKEY + "+",
        VKEY.replace("+", " ", 1),
        "\u00a0" + VKEY,
        VKEY + "\u00a0",
    )
    yield format_verifier_key(_OTHER_KEY)
    for name in ("other.example", "a b", "a\u3000b", "a\u0085b", "a\ufeffb", "\x1c", "nhật-ký", "\U0001f512"):
        yield format_verifier_key(replace(VERIFIER, name=name))
    own = VERIFIER.key_hash.hex()
    for digest, key in ((own.upper(), b"\x01" + raw), (own, b"\x04" + raw), (own, raw), (own, b"\x01" + raw + b"\x00")):
        yield f"{ORIGIN}+{digest}+{base64.b64encode(key).decode()}"
    for _ in range(count):
        at = chance.randrange(len(VKEY))
        yield VKEY[:at] + chance.choice((*_TOKENS, "")) + VKEY[at + 1 :]


def _notes(chance: random.Random, note: str, count: int) -> Iterator[str]:
    root = note.split("\n")[2]
    short = base64.b64encode(bytes(31)).decode()
    texts = [
        f"{ORIGIN}\n5\n{root}\nmore\n",
        f"{ORIGIN}\n5\n{root}\n\nmore\n",
        f"{ORIGIN}\n5\n",
        f"{ORIGIN}\n5\n{short}\n",
    ]
    texts += [f"other.example\n5\n{root}\n", f"\n5\n{root}\n", f"{ORIGIN}\n5\n{root[:-1]}\n", f"{ORIGIN}\n5\n{root}=\n"]
    sizes = ("", "0", "05", "+5", " 5", "5 ", "4", "6", "8", "-5", "5.0", "٥", "9" * 19, "9" * 20, "1")
    texts += [f"{ORIGIN}\n{size}\n{root}\n" for size in sizes]
    for text in texts:
        yield f"{text}\n{SIGNER(text)}\n"
    text = note.rpartition("\n\n")[0] + "\n"
    own, other, witness = SIGNER(text), _OTHER(text), _WITNESS(text)
    forged = own[:-8] + "AAAAAA=="
    blocks = ((witness, own), (own, other), (other,), (witness,), (own, own), (own, forged), (forged, own), (own, ""))
    names = ("x", "a\u3000b", "a+b", "a\x85b", "nhật-ký", "")
    odd = [
        (f"— {name} {body}", own) for name in names for body in ("AAAA", "AAAAAA==", "AAAAAAA=", "AAAAAB==", "AAAAAAAA")
    ]
    for block in (
        *blocks,
        *odd,
        ("x", own),
        (witness,) * 99 + (own,),
        (witness,) * 100 + (own,),
        (own + " ",),
        ("-" + own[1:],),
        (f"— {ORIGIN} AAAA", own),
    ):
        yield f"{text}\n" + "".join(line + "\n" for line in block)
    yield from (note[:-1], note + "\n", "\n" + note, note.replace("\n", "\r\n"), note + "\n" * 3, "\n\n", "")
    for _ in range(count):
        at = chance.randrange(len(note))
        yield note[:at] + chance.choice((*_TOKENS, "")) + note[at + 1 :]


def _entries(chance: random.Random, count: int) -> Iterator[tuple[bytes, str | None]]:
    """Proofs of entries that stand in a log, whatever form they have."""
    right = [format_entry(entry).decode() for entry in PERSON]
    odd: list[str] = ["", "null", "[]", "{}", '"x"', "1", "\ufeff" + right[0], "[" * 3000]
    odd += [
        right[0].replace('"v":1', f'"v":{number}') for number in ("1.0", "1e0", "-0", "2", "null", '"1"', "true", "01")
    ]
    # Text that is not Unicode, and text that is, escaped without need.
    odd += [
        right[0].replace('"note":null', f'"note":"{text}"') for text in ("\\ud800", "x\\udc00", "\\u0000", "\\u0041")
    ]
    at = '"at":1795000000000000'
    odd += [
        right[0].replace(at, f'"at":{n}')
        for n in ("0", "-0", "-1", "9007199254740991", "9007199254740992", "1e3", "null")
    ]
    filler = '"note":"' + "x" * (65_535 - len(right[0].encode()) + len("null") - 2) + '"'
    odd += [right[0].replace('"note":null', filler), right[0].replace('"note":null', filler[:-1] + 'x"')]
    fields = list(json.loads(right[0]))
    for _ in range(count):
        entry = json.loads(chance.choice(right))
        match chance.randrange(4):
            case 0:
                entry[chance.choice(fields)] = chance.choice(
                    (*_VALUES, "permit", "intent", "0.1", "ab" * 32, "AB" * 32, ["x", ""])
                )
                odd.append(json.dumps(entry, ensure_ascii=False, separators=(",", ":"), sort_keys=True))
            case 1:
                items = list(entry.items())
                chance.shuffle(items)
                odd.append(json.dumps(dict(items), ensure_ascii=False, separators=(",", ":")))
            case _:
                text, place = chance.choice(right), 0
                place = chance.randrange(len(text))
                odd.append(text[:place] + chance.choice((*_TOKENS, "")) + text[place + chance.randrange(2) :])
    whole = [text for text in odd if _encodes(text)]
    log = SmallLog([text.encode() for text in whole])
    for index, text in enumerate(whole):
        policy = _policy(text)
        document = {
            **json.loads(proof()),
            "checkpoint": log.note.decode(),
            "index": index,
            "entry": text,
            "policy": policy,
        }
        yield json.dumps({**document, "proof": list(log.item(index).proof)}).encode(), VKEY


def _details(chance: random.Random, count: int) -> Iterator[tuple[bytes, str | None]]:
    """Receipts of entries that commit to details of whatever form."""
    right = OPENED.decode()
    odd = [
        right,
        "{}",
        "null",
        "[]",
        "",
        '{"salt":""}',
        '{"salt":7}',
        '{"salt":"' + "ab" * 16 + '"}',
        '{"salt":"' + "AB" * 16 + '"}',
    ]
    odd += [
        right.replace("50000", number)
        for number in ("5e4", "50000.0", "-0", "true", "null", "[]", "9007199254740992", '""')
    ]
    odd += [right.replace('"port"', name) for name in ('""', '"é"', '"__proto__"', '"zort"', '"salt"', '"port" ')]
    for _ in range(count):
        at = chance.randrange(len(right))
        odd.append(right[:at] + chance.choice((*_TOKENS, "")) + right[at + chance.randrange(2) :])
    whole = [text for text in odd if _encodes(text)]
    log = SmallLog([format_entry(person(n, detail=commit(text.encode()))) for n, text in enumerate(whole)])
    for index, text in enumerate(whole):
        yield format_receipt(log.note, VERIFIER, [log.item(index, Detail("VN", text))]).encode(), VKEY


def _trees(chance: random.Random, count: int) -> Iterator[tuple[bytes, str | None]]:
    """Proofs in trees of many sizes, right ones and ones of another index or with other nodes."""
    for _ in range(count):
        size = chance.choice((1, 2, 3, chance.randrange(1, 70)))
        log = SmallLog([format_entry(person(n)) for n in range(size)])
        item = log.item(chance.randrange(size))
        nodes = list(item.proof)
        match chance.randrange(5):
            case 0:
                item = replace(item, index=chance.randrange(size + 2))
            case 1:
                nodes = nodes[: chance.randrange(len(nodes) + 1)]
            case 2:
                nodes.append(base64.b64encode(chance.randbytes(chance.choice((31, 32, 33)))).decode())
            case 3:
                chance.shuffle(nodes)
            case _:
                pass
        held = Item(item.index, item.entry, tuple(nodes))
        yield format_receipt(log.note, VERIFIER, [held]).encode(), VKEY
        yield format_tlog_proof(log.note, held).encode(), VKEY


def _subjects(chance: random.Random, count: int) -> Iterator[tuple[bytes, str | None]]:
    """Receipts that hold any entries of the log, of one person or of nobody."""
    log = small_log()
    for _ in range(count):
        held = [log.item(index) for index in sorted(chance.sample(range(5), chance.randrange(1, 6)))]
        subject = chance.choice((ALIAS, ALIAS, "ab" * 16, "", None))
        yield format_receipt(log.note, VERIFIER, held, subject).encode(), VKEY


def _witnessed(chance: random.Random, count: int) -> Iterator[Case]:
    """Proofs under checkpoints that witnesses cosigned, as they ought to or not."""
    note = small_log().note.decode()
    text = note.rpartition("\n\n")[0] + "\n"
    private = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (7, 8)]
    (one, one_key), (two, two_key) = (ed25519_cosigner(f"witness.example/{n}", key) for n, key in enumerate(private))
    first, second = format_verifier_key(one_key), format_verifier_key(two_key)
    late = (2**63).to_bytes(8, "big") + private[0].sign(f"cosignature/v1\ntime {2**63}\n{text}".encode())
    untimed = bytes(8) + private[0].sign(text.encode())
    good = one(text, 1_795_000_000)
    of_others = one(text.replace("\n5\n", "\n6\n"), 1_795_000_000)
    odd = [format_signature(one_key, signed) for signed in (late, untimed, untimed[:-1], b"x")]
    odd += [one(text, 0), of_others, good[:-8] + "AAAAAA==", good.replace("example/0", "example/9")]
    blocks: list[tuple[str, ...]] = [
        (),
        (good,),
        (good, two(text, 7)),
        (one(text, 0), good),
        (good, good),
        (good, of_others),
    ]
    blocks += [(line,) for line in odd] + [(good, line) for line in odd]
    mldsa = f"{ORIGIN}+00000000+{base64.b64encode(b'm' * 1313).decode()}"
    keys = [(), (first,), (second,), (first, second), (first, first), (VKEY,), ("",), (f" {first}\n",), (mldsa,)]
    keys.append((first.replace("+", "+0", 1),))
    for block in blocks:
        cosigned = note + "".join(line + "\n" for line in block)
        for trusted in keys:
            document = {**json.loads(proof()), "checkpoint": cosigned}
            yield json.dumps(document).encode(), VKEY, trusted
    yield json.dumps({**json.loads(proof()), "key": first}).encode(), first, (first,)
    for _ in range(count):
        cosigned, at = note + good + "\n", chance.randrange(len(note) + len(good))
        cosigned = cosigned[:at] + chance.choice((*_TOKENS, "")) + cosigned[at + 1 :]
        yield json.dumps({**json.loads(proof()), "checkpoint": cosigned}).encode(), VKEY, (first,)
        at = chance.randrange(len(first))
        key = first[:at] + chance.choice((*_TOKENS, "")) + first[at + 1 :]
        yield json.dumps({**json.loads(proof()), "checkpoint": note + good + "\n"}).encode(), VKEY, (key,)


def _encodes(text: str) -> bool:
    try:
        return len(text.encode()) <= 70_000
    except UnicodeEncodeError:
        return False


def _policy(text: str) -> Any:
    """What a document would say the entry's policy is, where it says one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    policy = value.get("policy") if isinstance(value, dict) else None
    return policy if isinstance(policy, str) and _encodes(policy) else None
