"""A demo folder in, a verdict on every claim of its `claims.json` out. Standard library alone; never imports residency.

The demo says what it sent and what was acknowledged; this program believes none of it. It reads the SQLite files and
the log's bytes itself, in the public formats only: signed-note, tlog-checkpoint and tlog-tiles (C2SP), RFC 6962
hashing, Ed25519 (RFC 8032). What the law asks is worked out here anew from where each person was and whose citizen they
are. Run it as a separate, isolated process:

    python -I check_claims.py demo-data

One line per group of claims, then a verdict; exit 0 if all hold, 1 if one does not, 2 on wrong use.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

Claim = dict[str, Any]
WRITES = ("sign_up", "post", "unverified_post", "chat")
TABLES = {"people": ("id", "email"), "posts": ("id", "body"), "messages": ("id", "body")}
WIDTH = 256


class Broken(Exception):
    """A claim that does not hold, and why."""


# -- what the law asks, worked out here anew --------------------------------------------------------------------------


def lies_in_vietnam(claim: Claim) -> bool:
    """Whether this person's data must lie in Vietnam.

    Decree 333/2026 art. 19 looks at use on the territory, and a place that nobody knows counts as covered; Law 91/2025
    art. 20 follows a citizen abroad, for whom no transfer dossier has been filed.
    """
    return claim["country"] in ("VN", None) or claim["citizenship"] == "VN"


def must_be_verified(claim: Claim) -> bool:
    """Whether posting asks for a verified account: Decree 333/2026 art. 16.2, on the territory or who knows where."""
    return claim["country"] in ("VN", None)


def expected_refusal(claim: Claim) -> tuple[int, str] | None:
    """(status, reason) with which this request must be refused, None where it must be served."""
    if claim["kind"] == "export" and lies_in_vietnam(claim):
        # On the territory the home comes first; a citizen abroad lacks the filing that a transfer needs.
        return (451, "not_home") if claim["country"] in ("VN", None) else (451, "filing_missing")
    if claim["kind"] == "unverified_post" and must_be_verified(claim):
        return 403, "identity_missing"
    return None


# -- Ed25519, verification only (RFC 8032 section 5.1.7) --------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total


def _same(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def _x(y: int, sign: int) -> int | None:
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT % P
    if (x * x - square) % P != 0 or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _point(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    x = _x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


_BASE_Y = 4 * pow(5, P - 2, P) % P
_BASE_X = _x(_BASE_Y, 0) or 0
BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)


def signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) by the Ed25519 key `public` (32 bytes) holds over `message`."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = _point(public), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return _same(_times(s, BASE), _add(r, _times(challenge, a)))


# -- the log ----------------------------------------------------------------------------------------------------------


def read_checkpoint(log: Path) -> tuple[str, int, bytes]:
    """(origin, size, root) of the log's checkpoint, its signature verified against log.vkey."""
    name, key_hash, encoded = (log / "log.vkey").read_text().strip().split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    if key[:1] != b"\x01" or hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_hash:
        raise Broken("log.vkey is not an Ed25519 key whose hash matches")
    text, separator, signatures = (log / "checkpoint").read_bytes().decode().rpartition("\n\n")
    text += "\n"
    signed = False
    for line in signatures.splitlines():
        mark, signer, blob = line.split(" ")
        raw = base64.b64decode(blob, validate=True)
        if mark == "—" and signer == name and raw[:4].hex() == key_hash:
            if not signature_holds(key[1:], text.encode(), raw[4:]):
                raise Broken("the checkpoint's signature does not hold")
            signed = True
    if not separator or not signed:
        raise Broken(f"the checkpoint carries no signature by {name}")
    origin, size, root = text.split("\n")[:3]
    if origin != name:
        raise Broken("the checkpoint's origin is not the key's name")
    return origin, int(size), base64.b64decode(root, validate=True)


def tile_name(index: int, width: int) -> str:
    """tlog-tiles: groups of three digits, all but the last marked with x; a partial tile says how wide it is."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups)) + ("" if width == WIDTH else f".p/{width}")


def read_entries(log: Path, size: int) -> list[bytes]:
    """The bytes of each entry under the checkpoint, in order."""
    entries: list[bytes] = []
    for number in range((size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, size - number * WIDTH)
        path = log / "tile" / "entries" / tile_name(number, width)
        if not path.exists():
            path = log / "tile" / "entries" / tile_name(number, WIDTH)
        data, at = path.read_bytes(), 0
        for _ in range(width):
            length = int.from_bytes(data[at : at + 2], "big")
            entries.append(data[at + 2 : at + 2 + length])
            if at + 2 + length > len(data):
                raise Broken(f"{path.name} ends within entry {len(entries) - 1}")
            at += 2 + length
        if path.name == tile_name(number, width).rpartition("/")[2] and at != len(data):
            raise Broken(f"{path.name} has bytes after its entries")
    return entries


def node(left: bytes, right: bytes) -> bytes:
    """RFC 6962: the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1: the root over these leaf hashes, the left subtree the largest power of two."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root_of(hashes[:split]), root_of(hashes[split:]))


def check_tiles(log: Path, leaves: list[bytes]) -> int:
    """Compare every hash tile of every level with hashes computed from the entries; how many tiles there were."""
    level, hashes, seen = 0, leaves, 0
    while hashes:
        for number in range((len(hashes) + WIDTH - 1) // WIDTH):
            part = hashes[number * WIDTH : (number + 1) * WIDTH]
            path = log / "tile" / str(level) / tile_name(number, len(part))
            if not path.exists():
                path = log / "tile" / str(level) / tile_name(number, WIDTH)
            if path.read_bytes()[: len(part) * 32] != b"".join(part):
                raise Broken(f"tile {level}/{tile_name(number, len(part))} is not over these entries")
            seen += 1
        full = len(hashes) // WIDTH
        hashes = [root_of(hashes[i * WIDTH : (i + 1) * WIDTH]) for i in range(full)]
        level += 1
    return seen


# -- the check --------------------------------------------------------------------------------------------------------


class Checker:
    """Everything read once: the claims, the log's entries, the rows of each region's database."""

    def __init__(self, folder: Path) -> None:
        document = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        self.people: dict[str, Claim] = document["people"]
        self.claims: list[Claim] = [{**self.people[c["person"]], **c} for c in document["requests"]]
        self.kill: Claim | None = document["kill"]
        self.log = folder / document["places"]["log"]
        self.sinks: dict[str, str] = document["places"]["sinks"]
        self.home = {place: sink for sink, place in self.sinks.items()}
        self.rows = {sink: self._rows(folder / document["places"]["databases"][sink]) for sink in self.sinks}
        self.raw: list[bytes] = []
        self.entries: list[dict[str, Any]] = []

    @staticmethod
    def _rows(path: Path) -> dict[str, dict[str, str]]:
        """table -> id -> the text that marks the row as one request's."""
        if not path.exists():
            raise Broken(f"{path.name} is not there")
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("PRAGMA query_only = ON")
            found = {}
            for table, (key, mark) in TABLES.items():
                rows = connection.execute(f"SELECT {key}, {mark} FROM {table}").fetchall()  # noqa: S608 - our own names
                found[table] = dict(rows)
            return found
        finally:
            connection.close()

    def of(self, outcome: str, *kinds: str) -> list[Claim]:
        """Claims that ended so: acknowledged, refused, rejected (by the app itself) or unknown (no answer came)."""
        return [c for c in self.claims if c["outcome"] == outcome and (not kinds or c["kind"] in kinds)]

    def sinks_with(self, table: str, record: str) -> list[str]:
        """Sinks whose database holds this row."""
        return [sink for sink, tables in self.rows.items() if record in tables[table]]

    def expected_home(self, claim: Claim) -> str:
        """The sink where this person's data must lie."""
        home: str = self.home["VN" if lies_in_vietnam(claim) else "SG"]
        return home

    # Each check answers what it looked at, or raises Broken.

    def signature(self) -> str:
        """The checkpoint, and that the entries' bytes hash to what it signs."""
        origin, size, root = read_checkpoint(self.log)
        self.raw = read_entries(self.log, size)
        leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in self.raw]
        if root_of(leaves) != root:
            raise Broken(f"the {size} entries do not hash to the root that the checkpoint signs")
        tiles = check_tiles(self.log, leaves)
        return f"checkpoint of {origin} signed; {size} entries and {tiles} tiles hash to its root"

    def order(self) -> str:
        """Canonical entries, no gap in any slot, each outcome of one intent, at most one per intent."""
        following: Counter[str] = Counter()
        intents: set[str] = set()
        ended: set[str] = set()
        for index, data in enumerate(self.raw):
            entry = json.loads(data)
            plain = json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
            if plain != data:
                raise Broken(f"entry {index} is not in canonical form")
            slot, _, seq = entry["id"].partition(".")
            if int(seq) != following[slot]:
                raise Broken(f"entry {index} is {entry['id']} where {slot}.{following[slot]} was to come")
            following[slot] += 1
            if entry["kind"] == "intent":
                intents.add(entry["id"])
            elif entry["kind"] == "outcome":
                if entry["of"] in ended:
                    raise Broken(f"intent {entry['of']} has two outcomes")
                ended.add(entry["of"])
            self.entries.append(entry)
        if ended - intents:
            raise Broken(f"{len(ended - intents)} outcomes have no intent")
        return f"{len(intents)} intents, {len(ended)} outcomes, {len(intents - ended)} left open, no number missing"

    def homes(self) -> str:
        """Every acknowledged write lies in exactly one region: the right one."""
        count: Counter[str] = Counter()
        for claim in self.of("acknowledged", *WRITES):
            found, home = self.sinks_with(claim["table"], claim["record"]), self.expected_home(claim)
            if found != [home]:
                raise Broken(f"request {claim['n']}: its row lies in {found or 'no database'}, not in {home} alone")
            mark = self.rows[home][claim["table"]][claim["record"]]
            if mark != claim["mark"]:
                raise Broken(f"request {claim['n']}: its row in {home} is not what was sent")
            count[home] += 1
        if not count:
            raise Broken("no write was acknowledged at all")
        return ", ".join(f"{n} acknowledged writes in {sink} alone" for sink, n in sorted(count.items()))

    def recorded(self) -> str:
        """Every acknowledged write has its intent and its committed outcome in the log, on the sink where it lies."""
        committed = {e["of"] for e in self.entries if e["kind"] == "outcome" and e["act"] == "committed"}
        logged: Counter[tuple[str, str, str]] = Counter(
            (e["subject"], e["activity"], e["sink"])
            for e in self.entries
            if e["kind"] == "intent" and e["operation"] in ("write", "post") and e["id"] in committed
        )
        claimed: Counter[tuple[str, str, str]] = Counter()
        slack: Counter[tuple[str, str]] = Counter()
        for claim in self.of("acknowledged", *WRITES, "export"):
            sink = self.home["SG"] if claim["kind"] == "export" else self.expected_home(claim)
            claimed[claim["alias"], claim["activity"], sink] += 1
        for claim in self.of("unknown"):
            slack[claim["alias"], claim["activity"]] += 1
        for (alias, activity, sink), n in claimed.items():
            found = logged[alias, activity, sink]
            if not n <= found <= n + slack[alias, activity]:
                raise Broken(f"{activity} on {sink}: {n} writes acknowledged for one person, {found} in the log")
        return f"{sum(claimed.values())} acknowledged writes have an intent and a committed outcome in the log"

    def refusals(self) -> str:
        """What had to be refused was, with the reason; it is in no database, and its refusal is in the log."""
        for claim in self.claims:
            must = expected_refusal(claim)
            if claim["outcome"] == "refused" and must != (claim["status"], claim["reason"]):
                raise Broken(f"request {claim['n']} was refused as {claim['status']} {claim['reason']}, not {must}")
            if claim["outcome"] == "acknowledged" and must is not None:
                raise Broken(f"request {claim['n']} was served and had to be refused as {must}")
        refused = self.of("refused")
        rows = {mark for tables in self.rows.values() for found in tables.values() for mark in found.values()}
        for claim in refused:
            if claim["kind"] == "export":
                if claim["record"] in self.rows[self.home["SG"]]["people"]:
                    raise Broken(f"request {claim['n']} was refused, yet the row is in {self.home['SG']}")
            elif claim["mark"] in rows:
                raise Broken(f"request {claim['n']} was refused, yet what it sent is in a database")
            if not claim["rules"]:
                raise Broken(f"request {claim['n']} was refused without naming a rule")
        claimed = Counter((c["activity"], c["reason"], tuple(sorted(c["rules"]))) for c in refused)
        logged = Counter(
            (e["activity"], e["reason"], tuple(sorted(e["rules"]))) for e in self.entries if e["kind"] == "refusal"
        )
        for key, n in claimed.items():
            if logged[key] != n:
                raise Broken(f"{key[0]}: {n} refused as {key[1]} under {', '.join(key[2])}, {logged[key]} in the log")
        if not refused:
            raise Broken("nothing was refused at all")
        return f"{len(refused)} refusals, each for its reason, with its rule in the log, and in no database"

    def exports(self) -> str:
        """A copy in Singapore exists exactly for those whom no law keeps at home."""
        served = {c["record"] for c in self.of("acknowledged", "export")}
        for record in served:
            if record not in self.rows[self.home["SG"]]["people"]:
                raise Broken("an acknowledged export is not in Singapore's database")
        return f"exports to Singapore served: {len(served)}, only for people whom no Vietnamese law covers"

    def forged(self) -> str:
        """A forged X-Forwarded-For changes nothing: it landed where its honest twin from the same address did."""
        twins: dict[int, list[Claim]] = defaultdict(list)
        for claim in self.claims:
            if claim["twin"] is not None:
                twins[claim["twin"]].append(claim)
        for pair in twins.values():
            lies = {tuple(self.sinks_with(c["table"], c["record"])) for c in pair if c["outcome"] == "acknowledged"}
            kinds = {c["forged"] is None for c in pair}
            if len(pair) != 2 or len(lies) != 1 or kinds != {True, False} or len({c["source"] for c in pair}) != 1:
                raise Broken(f"requests {[c['n'] for c in pair]}: the forged one did not land where its twin did")
        if not twins:
            raise Broken("no forged header was tried")
        return f"{len(twins)} forged X-Forwarded-For headers changed nothing"

    def killed(self) -> str:
        """Every write acknowledged before the kill is still there; what was never acknowledged lies nowhere wrong."""
        if self.kill is None:
            raise Broken("the server was not killed")
        before = [c for c in self.of("acknowledged", *WRITES) if c["answered"] <= self.kill["answers_before"]]
        for claim in before:
            if not self.sinks_with(claim["table"], claim["record"]):
                raise Broken(f"request {claim['n']} was acknowledged before the kill and is lost")
        unknown = self.of("unknown", *WRITES)
        survived = 0
        for claim in unknown:
            for sink, tables in self.rows.items():
                if claim["mark"] in tables[claim["table"]].values():
                    survived += 1
                    if sink != self.expected_home(claim):
                        raise Broken(f"request {claim['n']}, never acknowledged, left a row in {sink}")
        starts = sum(e["kind"] == "system" and e["note"] == "start" for e in self.entries)
        if starts < 2:
            raise Broken(f"the log knows of {starts} starts; the server was killed and started again")
        return (
            f"kill -9 under load: {len(before)} writes acknowledged before it are all there; "
            f"{len(unknown)} were cut off, {survived} of them stored, none in the wrong region"
        )

    def strangers(self) -> str:
        """No row that nobody sent."""
        total = 0
        for sink, tables in self.rows.items():
            for table, rows in tables.items():
                sent = {c["mark"] for c in self.claims if c["table"] == table}
                total += len(rows)
                if set(rows.values()) - sent:
                    raise Broken(f"{table} in {sink} has rows that no request sent")
        return f"{total} rows in all databases, each sent by a request of the claims"

    def privacy(self) -> str:
        """No subject id, address, name or e-mail in any byte of the log."""
        everything = b"\n".join(path.read_bytes() for path in sorted(self.log.rglob("*")) if path.is_file())
        texts = b"\n".join(self.raw).decode()
        hunted = 0
        for person in self.people.values():
            for what in ("id", "name", "email", "source"):
                value = person[what]
                if value is None:
                    continue
                hunted += 1
                if value.encode() in everything or value in texts:
                    raise Broken(f"the {what} of a person stands in the log's bytes")
        return (
            f"{hunted} ids, names, e-mails and addresses hunted for: none stands in the log's {len(everything)} bytes"
        )


GROUPS: tuple[tuple[str, Callable[[Checker], str]], ...] = (
    ("log", Checker.signature),
    ("order", Checker.order),
    ("homes", Checker.homes),
    ("recorded", Checker.recorded),
    ("refused", Checker.refusals),
    ("exports", Checker.exports),
    ("forged", Checker.forged),
    ("killed", Checker.killed),
    ("rows", Checker.strangers),
    ("privacy", Checker.privacy),
)


def check(folder: Path) -> list[tuple[str, bool, str]]:
    """(group, holds, what was seen) of every group of claims, all of them even where an early one fails."""
    try:
        checker = Checker(folder)
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error, Broken) as error:
        return [("claims", False, f"cannot be read: {type(error).__name__}: {error}")]
    results = []
    for name, group in GROUPS:
        try:
            results.append((name, True, group(checker)))
        except Broken as broken:
            results.append((name, False, str(broken)))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            results.append((name, False, f"cannot be read: {type(error).__name__}: {error}"))
    return results


def main(arguments: list[str]) -> int:
    """Print one line per group and a verdict; 0 holds, 1 does not hold, 2 wrong use."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -I check_claims.py DEMO_DATA_FOLDER", file=sys.stderr)
        return 2
    results = check(Path(arguments[0]))
    for name, holds, text in results:
        print(f"{'holds' if holds else 'FAILS'}  {name:<9} {text}")
    broken = [name for name, holds, _ in results if not holds]
    print("VERDICT  " + ("every claim holds" if not broken else "does not hold: " + ", ".join(broken)))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
