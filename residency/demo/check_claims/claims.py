"""A demo folder in, a verdict on every claim of its `claims.json` out. Standard library alone; never imports residency.

The demo says what it sent and what was acknowledged; this program believes none of it. It reads the SQLite files and
the log's bytes itself. What the law asks is worked out here anew from where each person was and whose citizen they are.
One line per group of claims, then a verdict; exit 0 if all hold, 1 if one does not, 2 on wrong use.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .log import Broken, check_tiles, read_checkpoint, read_entries, root_of

Claim = dict[str, Any]
WRITES = ("sign_up", "post", "unverified_post", "chat")
MAIL = "mail-sg"
TABLES = {
    "people": ("id", "email"), "posts": ("id", "body"), "messages": ("id", "body"), "subscriptions": ("id", "email"),
}  # fmt: skip


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
    if claim["kind"] == "newsletter" and claim["country"] in ("VN", None):
        return 451, "not_home"  # the dossier that was filed speaks of transfers, and not of what stays at home
    if claim["kind"] == "unverified_post" and must_be_verified(claim):
        return 403, "identity_missing"
    return None


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
        databases = document["places"]["databases"]
        self.rows = {sink: self._rows(folder / databases[sink]) for sink in (*self.sinks, MAIL)}
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
        for claim in self.of("acknowledged", *WRITES, "export", "newsletter"):
            sink = {"export": self.home["SG"], "newsletter": MAIL}.get(claim["kind"]) or self.expected_home(claim)
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

    def mailings(self) -> str:
        """The mailing service abroad knows exactly those who were served, whom a dossier lets go or no law holds."""
        served = {c["record"]: c["mark"] for c in self.of("acknowledged", "newsletter")}
        if self.rows[MAIL]["subscriptions"] != served or sum(map(len, self.rows[MAIL].values())) != len(served):
            raise Broken(f"{MAIL} does not hold exactly the subscriptions that were acknowledged")
        if any(self.rows[sink]["subscriptions"] for sink in self.sinks):
            raise Broken("a subscription lies outside the mailing service")
        abroad = sum(lies_in_vietnam(c) for c in self.of("acknowledged", "newsletter"))
        if not abroad:
            raise Broken("nobody whom Law 91/2025 follows abroad was served by the mailing service")
        return f"{len(served)} addresses at the mailing service, {abroad} of them on the dossier that was filed for it"

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
    ("mailings", Checker.mailings),
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
        print("usage: python -IS residency/demo/check_claims DEMO_DATA_FOLDER", file=sys.stderr)
        return 2
    results = check(Path(arguments[0]))
    for name, holds, text in results:
        print(f"{'holds' if holds else 'FAILS'}  {name:<9} {text}")
    broken = [name for name, holds, _ in results if not holds]
    print("VERDICT  " + ("every claim holds" if not broken else "does not hold: " + ", ".join(broken)))
    return 1 if broken else 0
