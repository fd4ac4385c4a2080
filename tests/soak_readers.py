"""For tests: who reads of others while an app is under load: colleagues at home and abroad, one, many, rows, lists.

They know what was acknowledged to whom; where they may read it, it is there. What is answered abroad is kept, to be
searched.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from tests.leaks import canary
from tests.world import HANOI, SINGAPORE

__all__ = ["KINDS", "Known", "Readers", "walked"]

KINDS = ("of", "row", "many", "list")
_LENGTH = 4  # pages that are read of one list


class Known(Protocol):
    """Somebody of whom is read, and what was acknowledged of theirs: names of rows, and names by keys."""

    who: str
    rows: set[str]
    keys: dict[str, str]


@dataclass
class Readers:
    """Colleagues of those who use the app. `covered` may be read at home only, `others` where their data lies."""

    client: httpx.AsyncClient
    urls: tuple[str, str]  # of the instance at home, and of the one abroad
    covered: Sequence[Known]
    others: Sequence[Known]
    answers: Counter[str]
    wrong: list[str]
    heard: bytearray = field(default_factory=bytearray)
    """All that was answered to readers abroad."""

    async def read(self, chance: random.Random) -> None:
        """One of them reads once."""
        abroad, edge = chance.random() < 0.5, chance.random() < 0.2
        kind = chance.choice(KINDS)
        # The instance at home presumes nothing of whom it does not know, and may look for them abroad.
        number = chance.randrange(1000)
        unknown = [canary(60_000_000 + number) if abroad and edge else f"nobody-{number}"]
        covered = [each for each in self.covered if each.rows]
        await getattr(self, f"_{kind}")(chance, abroad, self.urls[edge], covered, unknown)

    async def _ask(self, kind: str, abroad: bool, url: str, headers: Mapping[str, str], told: object = None) -> Any:
        """The answer as JSON, None where there is none."""
        who = {
            "x-forwarded-for": SINGAPORE if abroad else HANOI,
            "x-who": "reader-abroad" if abroad else "reader-home",
        }
        method = "GET" if told is None else "POST"
        try:
            answer = await self.client.request(method, f"{url}/{kind}", headers={**who, **headers}, json=told)
        except httpx.HTTPError:
            self.answers["hung up"] += 1
            return None
        code = "refused" if answer.status_code in (403, 451) else str(answer.status_code)
        by = "" if url == self.urls[0] else " by the other"
        self.answers[f"read {'abroad' if abroad else 'home'} {kind}{by} {code}"] += 1
        if abroad:
            self.heard += b"\n".join((*(b"%s: %s" % each for each in answer.headers.raw), answer.content, b""))
        if answer.status_code == 404 and kind == "row":
            return {}
        return answer.json() if answer.status_code == 200 else None

    async def _of(
        self, chance: random.Random, abroad: bool, url: str, covered: Sequence[Known], unknown: Sequence[str]
    ) -> None:
        whom = chance.choice([*covered, *covered, *self.others, None])
        wanted = set() if whom is None else set(whom.rows)
        told = await self._ask("of", abroad, url, {"x-of": unknown[0] if whom is None else whom.who})
        if told is None:
            return
        if not abroad and (gone := wanted - set(told["names"])):
            self.wrong.append(f"{len(gone)} rows of another were not there, of {len(wanted)}, in {told['sink']}")
        if abroad and whom in covered:
            self.wrong.append("somebody abroad was let read of who is at home")

    async def _row(
        self, chance: random.Random, abroad: bool, url: str, covered: Sequence[Known], unknown: Sequence[str]
    ) -> None:
        whom = chance.choice([*covered, *covered, *self.others, None])
        if whom is not None and not whom.keys:
            return
        key, name = (f"{unknown[0]}-of-nobody", None) if whom is None else chance.choice(list(whom.keys.items()))
        told = await self._ask("row", abroad, url, {"x-of": key})
        if told is None:
            return
        if not abroad and told.get("name") != name:
            self.wrong.append("a row that was acknowledged was not there" if name else "a row of nobody's was there")
        if abroad and told and whom in covered:
            self.wrong.append("somebody abroad was let read a row of who is at home")

    async def _many(
        self, chance: random.Random, abroad: bool, url: str, covered: Sequence[Known], unknown: Sequence[str]
    ) -> None:
        everybody = [*covered, *self.others]
        whom = chance.sample(everybody, min(len(everybody), 6))
        some = [each for each in chance.sample(everybody, min(len(everybody), 6)) if each.keys]
        keys = dict(chance.choice(list(each.keys.items())) for each in some)
        wanted = set().union(*(each.rows for each in whom), keys.values())
        asked = {"subjects": [*(each.who for each in whom), *unknown], "rows": [*keys, f"{unknown[0]}-of-nobody"]}
        told = await self._ask("many", abroad, url, {}, asked)
        if told is None or abroad:
            return
        if gone := wanted - set(told["names"]):
            self.wrong.append(f"{len(gone)} rows of many were not there, of {len(wanted)}")
        if (told["refused"], told["unknown"]) != (0, 1):
            self.wrong.append(f"of many {told['refused']} were refused and {told['unknown']} not known")

    async def _list(
        self, chance: random.Random, abroad: bool, url: str, covered: Sequence[Known], unknown: Sequence[str]
    ) -> None:
        by, cursor, whole = chance.choice(("id", "name")), "", True
        seen: Counter[str] = Counter()
        for _ in range(_LENGTH):
            told = await self._ask("list", abroad, url, _asked(by, 40, cursor))
            if told is None:
                return
            seen.update(each["id"] for each in told["people"])
            if abroad and url == self.urls[0] and "people-vn" not in told["missing"]:
                self.wrong.append("somebody abroad was told a list of who is at home")
            whole = whole and not told["missing"]
            cursor = told["cursor"]
            if not cursor:
                break
        # Names change meanwhile, so that in their order a row may come again; and a sink that was away tells its rows
        # once it is back, also those of whom was moved there from where they had been told.
        if by == "id" and whole and (twice := [key for key, times in seen.items() if times > 1]):
            self.wrong.append(f"{len(twice)} rows were listed twice, of {len(seen)}")


def _asked(by: str, limit: int, cursor: str) -> dict[str, str]:
    return {"x-by": by, "x-limit": str(limit), **({"x-cursor": cursor} if cursor else {})}


async def walked(client: httpx.AsyncClient, url: str, by: str) -> Counter[tuple[str, str, str]] | str:
    """(id, who, name) of everybody as a reader at home is told them, page by page; or why not."""
    seen: Counter[tuple[str, str, str]] = Counter()
    cursor = ""
    while True:
        headers = {"x-forwarded-for": HANOI, "x-who": "reader-home", **_asked(by, 500, cursor)}
        answer = await client.get(f"{url}/list", headers=headers)
        if answer.status_code != 200 or answer.json()["missing"]:
            return f"{answer.status_code} {answer.text[:200]}"
        told = answer.json()
        seen.update((each["id"], each["who"], each["name"]) for each in told["people"])
        cursor = told["cursor"]
        if not cursor:
            return seen
