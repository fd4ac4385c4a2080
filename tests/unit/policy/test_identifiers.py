"""Keys that are somebody's personal data, where a store lies abroad: told with their line, and what to do."""

from __future__ import annotations

import pytest

from residency.policy.activities import AppRoute
from residency.policy.compiler import Policy, compile_policy
from residency.policy.identifiers import AppColumn, AppKey, AppTable, Identifiers
from residency.policy.parser import parse_deployment, parse_law

DEPLOYMENT = """\
residency: 1
kind: deployment
name: keyed
mode: enforce
operator: {established_in: VN}
laws: ["*"]
fields: {handle: personal}
regions: {han: {country: VN}, sin: {country: SG}}
sinks:
  vn: {region: han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
  sg: {region: sin, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  files-vn: {region: han, provider: VN, keys: VN, encrypted: true, url: "file://vn"}
  files-sg: {region: sin, provider: SG, keys: SG, encrypted: true, url: "file://sg"}
  cache-sg: {region: sin, provider: SG, keys: SG, encrypted: true, scope: cache, url: "memory:cache"}
  llm-sg: {region: sin, provider: SG, keys: SG, encrypted: true, url: "https://llm.example/"}
stores: {people: [vn, sg], home: [vn], uploads: [files-vn, files-sg], cache: [cache-sg], llm: [llm-sg]}
signals: {identity: {jwt: {jwks: keys.json, audience: a}}}
records:
%s
activities:
  - {%s}
"""
LAW = """\
residency: 1
kind: law
jurisdiction: VN
instrument: Act
in_force: {from: 2020-01-01}
checked: {date: 2026-11-21, confidence: high, source: test}
detectors: [{data: personal, fields: ["so_dinh_danh*"]}]
rules:
  - {id: vn.a, article: art. 1, text: test, applies: {anchor: territory, data: personal}, duty: {copies: VN}}
"""
GOOD = 'route: "GET /people/{id}", subject: path.id, data: [personal], store: people'
KINDS = {
    "files-vn": "objects",
    "files-sg": "objects",
    "cache-sg": "cache",
    "llm-sg": "service",
    "vn": "rows",
    "sg": "rows",
}


def policy(activity: str = GOOD, records: str = "  people: {}", *, law: str = LAW) -> Policy:
    data = (DEPLOYMENT % (records, activity)).encode()
    laws = (parse_law(law.encode(), "law.yaml", "vn/a"),)
    return compile_policy(
        parse_deployment(data, "d.yaml", {}), laws, (), "0" * 64, sources=(("deployment/keyed", data),)
    )


def told(activity: str = GOOD, records: str = "  people: {}", *, law: str = LAW) -> list[str]:
    """What is told of a deployment file, as `line: level: message`."""
    found = Identifiers(policy(activity, records, law=law), KINDS).of_deployment()
    return [f"{each.problem.line}: {each.level}: {each.problem.message}" for each in found]


def test_a_deployment_with_random_keys_is_told_nothing() -> None:
    records = (
        "  people: {person: {subject: id, data: [personal]}, letter: {via: {person_id: person}, data: [content]}}\n"
        '  uploads: {"users/{subject}/": {data: [content]}, "by-hash/{phone_hash}": {data: [content]}}'
    )
    assert told(records=records) == []


@pytest.mark.parametrize("name", ["phone", "email", "so_dinh_danh_ca_nhan", "handle"])
def test_a_personal_parameter_of_a_route_whose_store_lies_abroad_is_told_at_the_route(name: str) -> None:
    (line,) = told(f'route: "GET /people/{{{name}}}", subject: path.{name}, data: [personal], store: people')
    assert line.startswith(f"21: warning: activity `GET /people/{{{name}}}`: parameter `{name}` is personal data")
    assert "store `people` lies abroad (`sg` in SG, for people under the law of VN)" in line
    assert "about(row=…)" in line


@pytest.mark.parametrize(
    ("subject", "words"),
    [("header.x-phone", "header.x-phone"), ("jwt.email", "jwt.email"), ("jwt.phone_number", "jwt.phone")],
)
def test_a_subject_that_is_a_personal_header_or_claim_is_told_at_the_subject(subject: str, words: str) -> None:
    (line,) = told(f'route: "GET /me", subject: {subject}, data: [personal], store: people')
    assert line.startswith(f"21: warning: activity `GET /me`: subject `{words}")
    assert "random id" in line


@pytest.mark.parametrize("subject", ["jwt.sub", "header.x-account", "app", "user", "none"])
def test_other_subjects_are_told_nothing(subject: str) -> None:
    assert told(f'route: "GET /me", subject: {subject}, data: [personal], store: people') == []


def test_the_subject_of_tokens_and_sessions_is_told_where_it_is_personal() -> None:
    data = (DEPLOYMENT % ("  people: {}", GOOD)).replace("audience: a}", "audience: a, subject: email}")
    laws = (parse_law(LAW.encode(), "law.yaml", "vn/a"),)
    found = Identifiers(compile_policy(parse_deployment(data.encode(), "d.yaml", {}), laws, (), "0" * 64), KINDS)
    (line,) = [f"{each.problem.line}: {each.problem.message}" for each in found.of_deployment()]
    assert line.startswith("17: `jwt.subject: email` is personal data and becomes the id of subjects; store `people`")


def test_what_lies_at_home_alone_and_what_has_no_store_is_told_nothing() -> None:
    records = "  home: {person: {subject: phone, data: [personal]}}"
    for store in (", store: home", ""):
        activity = f'route: "GET /people/{{phone}}", subject: path.phone, data: [personal]{store}'
        assert told(activity, records) == []


def test_home_is_the_country_of_the_law() -> None:
    records = "  home: {person: {subject: phone, data: [personal]}}"
    (line,) = told(
        records=records,
        law=LAW.replace("jurisdiction: VN", "jurisdiction: LA")
        .replace("vn.a", "la.a")
        .replace("copies: VN", "copies: LA"),
    )
    assert "store `home` lies abroad (`vn` in VN, for people under the law of LA)" in line


def test_a_table_whose_people_are_told_apart_by_personal_data_is_told_at_its_column() -> None:
    records = (
        "  people:\n    person: {subject: phone, data: [personal]}\n    letter: {via: {phone: person}, data: [content]}"
    )
    first, second = told(records=records)
    assert first.startswith("20: warning: table `person`: column `phone` is personal data and tells people apart")
    assert "sql.uuid7_key" in first
    assert second.startswith("21: warning: table `letter`: column `phone` holds keys that are personal data")


def test_names_of_objects_and_keys_of_caches_are_told_by_their_placeholders() -> None:
    records = '  uploads: {"users/{email}/": {data: [content]}}\n  cache: {"profile:{phone}": {data: [personal]}}'
    first, second = told(records=records)
    assert first.startswith("19: warning: `users/{email}/`: `{email}` is personal data in the name of an object")
    assert second.startswith("20: warning: `profile:{phone}`: `{phone}` is personal data in the key of a cache")
    assert "keyed hash" in first
    assert "keyed hash" in second


def test_objects_under_a_subject_that_is_personal_data_are_told_at_their_pattern() -> None:
    activity = 'route: "PUT /files", subject: jwt.email, data: [content], store: uploads'
    found = told(activity, '  uploads: {"users/{subject}/": {data: [content]}}')
    assert [line.partition(":")[0] for line in found] == ["21", "19"]
    assert "takes its subject from `jwt.email`" in found[1]


def test_without_laws_nobody_is_abroad() -> None:
    data = (DEPLOYMENT % ("  people: {}", GOOD.replace("id", "phone"))).replace('laws: ["*"]', "laws: none").encode()
    none = compile_policy(parse_deployment(data, "d.yaml", {}), (), (), "0" * 64)
    assert list(Identifiers(none, KINDS).of_deployment()) == []


def test_a_parameter_that_only_the_app_calls_personal_is_told_at_its_activity() -> None:
    found = Identifiers(policy(), KINDS)
    routes = [AppRoute(frozenset({"GET"}), "/people/{phone}"), AppRoute(frozenset({"POST"}), "/people/{email}")]
    (line,) = [each.problem.message for each in found.of_routes(routes)]
    assert "your app calls its parameter `phone`" in line
    assert list(found.of_routes([AppRoute(frozenset({"GET"}), "/people/{person_id}")])) == []


def column(name: str, **of: object) -> AppColumn:
    return AppColumn(name, "m.py", 7, **of)  # type: ignore[arg-type]  # flags and a kind


def of_tables(*tables: AppTable, records: str = "  people: {person: {subject: id, data: [personal]}}") -> list[str]:
    found = Identifiers(policy(records=records), KINDS).of_tables(tables)
    return [f"{each.problem}".partition(":")[0] + f":{each.level}: {each.problem.message}" for each in found]


def test_a_primary_key_that_is_personal_is_a_warning_and_a_unique_one_a_note() -> None:
    (key,) = of_tables(AppTable("person", "m.py", 3, (column("phone", primary=True), column("name"))))
    assert key.startswith("m.py:warning: `person.phone` is personal data and the table's key; store `people`")
    (unique,) = of_tables(AppTable("person", "m.py", 3, (column("id", primary=True), column("email", unique=True))))
    assert unique.startswith("m.py:note: `person.email` is personal data and unique")
    (typed,) = of_tables(AppTable("person", "m.py", 3, (column("contact", kind="PhoneNumberType", primary=True),)))
    assert "`person.contact` is personal data" in typed
    assert of_tables(AppTable("person", "m.py", 3, (column("id", primary=True), column("phone")))) == []


def test_a_key_that_counts_up_alike_is_an_error_where_records_name_its_table() -> None:
    (named,) = of_tables(AppTable("person", "m.py", 3, (), "number"))
    assert named.startswith("m.py:error: table `person` counts `number` up in each sink of store `people`: two people")
    assert (
        of_tables(AppTable("person", "m.py", 3, (), "id"), records="  home: {person: {subject: id, data: [personal]}}")
        == []
    )


@pytest.mark.parametrize("counted", [("id", ""), ("", "id")])
def test_who_is_new_cannot_be_numbered_by_a_database_that_is_chosen_by_who_they_are(counted: tuple[str, str]) -> None:
    (told,) = of_tables(AppTable("person", "m.py", 3, (), *counted))
    assert told.startswith(
        "m.py:error: table `person`: `id` tells people apart, and the database counts it: who is new"
    )
    assert of_tables(AppTable("person", "m.py", 3, (), "", "number")) == []


def test_a_foreign_key_to_what_may_lie_elsewhere_is_told_at_its_column() -> None:
    records = """  people:
    person: {subject: id, data: [personal]}
    letter: {via: {sender: person}, data: [content]}
    seen: {subject: who, data: [log]}
    tag: {data: [content]}"""
    tag = AppTable("tag", "m.py", 1, (column("id"), column("made_by", refers=("person",))))
    letter = [column(name, refers=("person",)) for name in ("sender", "reader")]
    found = of_tables(
        tag,
        AppTable("letter", "m.py", 2, (*letter, column("tag", refers=("tag",)), column("price", refers=("price",)))),
        AppTable("seen", "m.py", 3, (column("who", refers=("person",)),)),
        records=records,
    )
    assert [each.partition(". Where")[0].partition(": they")[0] for each in found] == [
        "m.py:warning: `letter.reader` refers to `person`: somebody else's rows, as far as `records` tell",
        "m.py:note: `letter.tag` refers to `tag`, whose rows are nobody's",
        "m.py:note: `letter.price` refers to `price`, whose rows are nobody's",
    ]


def test_a_table_of_a_store_that_nobody_named_is_looked_at_where_there_is_one_store_of_rows() -> None:
    assert of_tables(AppTable("other", "m.py", 3, (column("phone", primary=True),), "id")) == []  # people, or home?
    alone = DEPLOYMENT.replace("home: [vn], ", "") % ("  people: {}", GOOD)
    laws = (parse_law(LAW.encode(), "law.yaml", "vn/a"),)
    found = Identifiers(compile_policy(parse_deployment(alone.encode(), "d.yaml", {}), laws, (), "0" * 64), KINDS)
    table = AppTable("other", "m.py", 3, (column("phone", primary=True),), "id")
    assert [each.level for each in found.of_tables([table])] == ["warning", "warning"]


def test_what_the_source_makes_part_of_keys_is_told_by_kind_of_store() -> None:
    found = Identifiers(policy(), KINDS)
    keys = [AppKey("phone", "a.py", 1, store) for store in ("uploads", "cache", "llm", "home", None)]
    objects, cache, service, subject = [each.problem.message for each in found.of_keys(keys)]
    assert "part of the name of an object; store `uploads`" in objects
    assert "part of the key of a cache" in cache
    assert "part of the path of a service's URL" in service
    assert "becomes the id of a subject" in subject
    assert list(found.of_keys([AppKey("account_id", "a.py", 1, "uploads")])) == []


def test_a_table_without_a_name_in_the_records_of_a_store_that_has_some_is_told_at_its_line() -> None:
    alone = DEPLOYMENT.replace("home: [vn], ", "")
    laws = (parse_law(LAW.encode(), "law.yaml", "vn/a"),)
    for records, told in (
        ("  people: {person: {subject: id, data: [personal]}}", [("unnamed_table", 3)]),
        ("  people: {person: {subject: id, data: [personal]}, other: {data: [content]}}", []),
        ("  people: {}", []),
    ):
        deployment = parse_deployment((alone % (records, GOOD)).encode(), "d.yaml", {})
        found = Identifiers(compile_policy(deployment, laws, (), "0" * 64), KINDS)
        reports = list(found.of_tables([AppTable("person", "m.py", 2, ()), AppTable("other", "m.py", 3, ())]))
        assert [(each.kind, each.problem.line) for each in reports] == told
        assert all("table `other`" in each.problem.message for each in reports)
