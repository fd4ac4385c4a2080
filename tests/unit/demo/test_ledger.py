"""The ledger: a request is claimed before it is sent, and its end is added once it is known."""

from __future__ import annotations

import json
from pathlib import Path

from residency.demo.ledger import Ledger
from residency.demo.traffic import Person

ANNA = Person("p1", "Anna", "anna@example.org", "5.6.7.8", "DE", None, True)


def ledger(folder: Path) -> Ledger:
    made = Ledger(folder)
    made.know(ANNA)
    return made


def test_a_request_without_an_answer_stays_unknown(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    claim = book.send("sign_up", "POST /v1/people", ANNA, table="people", mark=ANNA.email)
    assert (claim["outcome"], claim["status"], claim["record"]) == ("unknown", None, None)
    assert book.count("unknown") == 1


def test_answers_are_numbered_in_the_order_they_came_and_the_kill_knows_how_many(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    first, second, third = (book.send("post", "POST /v1/posts", ANNA, table="posts", mark=str(n)) for n in range(3))
    book.acknowledged(second, 201, "r2", "aa")
    book.refused(first, 403, "identity_missing", ["vn.d333.16.2"])
    assert book.killed() == 2
    book.rejected(third, 401)
    assert [claim["answered"] for claim in (first, second, third)] == [2, 1, 3]
    assert book.kill == {"answers_before": 2}


def test_later_requests_carry_the_id_and_alias_of_the_sign_up(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.signed_up(ANNA, "the-id", "aa")
    assert book.send("read", "GET /v1/people/{id}", ANNA, table="people", mark=ANNA.email)["record"] == "the-id"
    post = book.send("post", "POST /v1/posts", ANNA, table="posts", mark="text")
    assert (post["record"], post["alias"]) == (None, "aa")


def test_the_file_is_written_whole_and_names_places_below_the_folder(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    path = book.write({"people-vn": "people-vn.sqlite"}, {"people-vn": "VN"}, tmp_path / "audit" / "log")
    document = json.loads(path.read_text())
    assert document["places"]["log"] == "audit/log"
    assert document["people"]["p1"]["country"] == "DE"
    assert [file.name for file in tmp_path.iterdir()] == ["claims.json"]
