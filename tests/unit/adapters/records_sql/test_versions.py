"""Digests are believed of the same versions, of the same server, and for a while."""

from __future__ import annotations

import hashlib
import random

from residency.adapters.records_sql.versions import Version, Versions

AN: Version = ((0, b"0123456789"),)
BINH: Version = ((0, b"abcdefghij"), (1, b"klmnopqrst"))


def made(at: float = 100.0) -> Versions:
    versions = Versions()
    versions.keep({"an": "d1", "binh": "d2"}, {"an": AN, "binh": BINH}, "one", at)
    return versions


def test_who_has_the_same_versions_is_the_same_and_nobody_else() -> None:
    versions = made()
    assert versions.digests(["an", "binh", "chi"], 99.0, 101.0) == {"an": "d1", "binh": "d2"}
    assert versions.same(["an", "binh", "chi"], {"an": AN, "binh": AN, "chi": AN}, "one") == {"an"}
    assert versions.same(["an", "binh"], {"binh": BINH}, "one") == {"binh"}, "who has nothing now is not the same"


def test_of_another_start_of_the_server_or_another_file_nothing_is_the_same() -> None:
    assert made().same(["an"], {"an": AN}, "two") == set()
    assert made().same(["an"], {"an": AN}, None) == set()


def test_of_a_connection_that_was_opened_later_and_of_what_is_old_nothing_is_believed() -> None:
    assert made().digests(["an"], 100.5, 101.0) == {}
    assert made().digests(["an"], 99.0, 100.0 + 3600.0) == {}


def test_what_is_forgotten_is_believed_no_more() -> None:
    versions = made()
    assert versions.forget(["an", "chi"]) is True
    assert versions.forget(["an", "chi"]) is False
    assert versions.digests(["an", "binh"], 0.0, 101.0) == {"binh": "d2"}


def test_no_more_is_remembered_than_a_move_has_under_way() -> None:
    versions = made()
    for at in range(50):
        many = [f"{at}-{n}" for n in range(1000)]
        versions.keep(dict.fromkeys(many, "d"), dict.fromkeys(many, AN), "one", 100.0)
    known = versions.digests(["an", *[f"{at}-{n}" for at in range(50) for n in range(1000)]], 0.0, 101.0)
    assert len(known) == 40_000
    assert "49-999" in known
    assert "an" not in known


def test_what_takes_too_much_room_is_forgotten_first_come_first_gone() -> None:
    versions = made()
    for at in range(20):
        versions.keep({str(at): "d"}, {str(at): ((0, b"x" * 2_000_000),)}, "one", 100.0)
    known = versions.digests(["an", *map(str, range(20))], 0.0, 101.0)
    assert 10 <= len(known) <= 17
    assert "19" in known
    assert "an" not in known


def hashed(*rows: bytes) -> bytes:
    return hashlib.sha256(b"".join(sorted(rows))).digest()


def test_many_are_the_same_together_or_not_at_all() -> None:
    versions = made()
    tables = {0: hashed(b"0123456789", b"abcdefghij"), 1: hashed(b"klmnopqrst")}
    assert versions.all_same(["an", "binh"], tables, "one")
    assert versions.all_same(["binh", "an"], {**tables, 2: None}, "one"), "a table in which nobody has a row"
    assert not versions.all_same(["an", "binh"], tables, "two")
    assert not versions.all_same(["an", "binh"], tables, None)
    assert not versions.all_same(["an", "binh", "chi"], tables, "one")
    assert not versions.all_same(["an"], tables, "one")
    assert not versions.all_same(["an", "binh"], {0: tables[0], 1: None}, "one")
    assert not versions.all_same(["an", "binh"], {**tables, 2: hashed(b"9876543210")}, "one")
    assert not versions.all_same(["an", "binh"], {**tables, 1: hashed(b"klmnopqrsT")}, "one")


def test_the_order_of_rows_tells_nothing_and_any_other_version_does() -> None:
    chance = random.Random(4)
    for count in (1, 2, 6, 30):
        rows = [chance.randbytes(10) for _ in range(count)]
        versions = Versions()
        versions.keep({"an": "d"}, {"an": ((0, b"".join(rows)),)}, "one", 100.0)
        chance.shuffle(rows)
        assert versions.same(["an"], {"an": ((0, b"".join(rows)),)}, "one") == {"an"}
        assert versions.all_same(["an"], {0: hashed(*rows)}, "one")
        for other in (rows[1:], [*rows[1:], chance.randbytes(10)], [*rows, chance.randbytes(10)]):
            assert versions.same(["an"], {"an": ((0, b"".join(other)),)}, "one") == set()
            assert not versions.all_same(["an"], {0: hashed(*other)}, "one")
