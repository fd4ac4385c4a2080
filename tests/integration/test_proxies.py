"""The client's address through nginx and Envoy, both ways round, before uvicorn; clients forge it at every hop.

Just the two proxies are `trusted`. What is asserted is what the handler sees as the audit entry's detail, and in one
test that detail itself, opened where it lies. How the proxies stand is told in proxies/net.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import parse_detail
from residency.audit.journal import RECORDS_AT, scan
from tests.detail_world import open_detail
from tests.integration.proxies.net import (
    BALANCER,
    CHAINS,
    CLIENT,
    ENVOY,
    HANOI,
    HANOI6,
    SERVERS,
    SINGAPORE,
    Net,
    running_net,
)

pytestmark = [pytest.mark.needs("nginx"), pytest.mark.needs("envoy")]

chains = pytest.mark.parametrize("chain", CHAINS)
strategies = pytest.mark.parametrize("name", SERVERS["bare"][1])


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory, nginx: Path, envoy: Path) -> Iterator[Net]:
    """Both chains, running."""
    with running_net(tmp_path_factory.mktemp("net"), nginx, envoy) as running:
        yield running


@strategies
@chains
def test_the_client_that_the_edge_saw_is_the_one_of_the_audit_entry(net: Net, chain: str, name: str) -> None:
    assert net.edge(chain, name) == {"address": HANOI, "laws": ["VN"]}
    assert net.edge(chain, name, announced=HANOI6)["address"] == HANOI6
    assert net.edge(chain, name, announced=SINGAPORE) == {"address": SINGAPORE, "laws": []}


FORGED = {
    "every header that anybody reads": [
        b"X-Forwarded-For: 165.21.0.1", b"Forwarded: for=165.21.0.1;by=127.0.0.2", b"X-Real-IP: 165.21.0.1",
        b"CF-Connecting-IP: 165.21.0.1", b"True-Client-IP: 165.21.0.1", b"X-Envoy-External-Address: 165.21.0.1",
        b"X-Forwarded: for=165.21.0.1", b"Client-IP: 165.21.0.1",
    ],
    "our own proxies to its right": [
        b"X-Forwarded-For: 165.21.0.1, 127.0.0.2, 127.0.0.3", b"X-Real-IP: 127.0.0.2",
        b'Forwarded: for=165.21.0.1, for=127.0.0.2, for="127.0.0.3:80"',
    ],
    "a hundred hops of ours": [
        b"X-Forwarded-For: 165.21.0.1" + b", 127.0.0.2" * 100, b"Forwarded: for=165.21.0.1" + b",for=127.0.0.3" * 100,
    ],
    "a hundred hops": [b"X-Forwarded-For: " + b", ".join([b"165.21.0.1"] * 100)],
    "eight kilobytes": [
        b"X-Forwarded-For: " + b"165.21.0.1, " * 683 + b"127.0.0.2",
        b"Forwarded: " + b"for=165.21.0.1, " * 512 + b"for=127.0.0.2",
    ],
    "eight kilobytes that are no list": [b"X-Forwarded-For: " + b"1" * 8192, b"Forwarded: for=" + b"1" * 8192],
    "several lines": [
        b"X-Forwarded-For: 165.21.0.1", b"X-Forwarded-For: 127.0.0.3", b"X-Forwarded-For:",
        b"Forwarded: for=165.21.0.1", b"Forwarded: for=127.0.0.3", b"X-Real-IP: 165.21.0.1", b"X-Real-IP: 127.0.0.2",
    ],
    "names in other cases": [b"x-FORWARDED-for: 165.21.0.1", b"FORWARDED: FOR=165.21.0.1", b"x-real-ip: 165.21.0.1"],
    "names with underscores": [b"X_Forwarded_For: 165.21.0.1", b"X_Real_IP: 165.21.0.1"],
    "nothing": [b"X-Forwarded-For: ", b"Forwarded: ", b"X-Real-IP: "],
    "commas": [b"X-Forwarded-For: ,,,", b"Forwarded: ,;,=,"],
    "words": [b"X-Forwarded-For: unknown, localhost, 0x7f.1, 127.1", b"Forwarded: for=unknown, for=_hidden, by=x"],
    "bytes that are no text": [b"X-Forwarded-For: \xff\xfe\x80", b"Forwarded: for=\xff\xfe"],
    "two addresses in one element": [b"Forwarded: for=165.21.0.1;for=127.0.0.2;for=127.0.0.3"],
}  # fmt: skip
# A client that leaves a quote open may hide in it all that our proxies append: then nobody is named, or the true one.
UNQUOTED = {
    "an open quote": b'Forwarded: for="165.21.0.1',
    "an open quote behind a name": b'Forwarded: for=165.21.0.1;x="',
    "an open quote, then our own": b'Forwarded: for=165.21.0.1, for="127.0.0.2, for=127.0.0.3',
    "a backslash at the end": b'Forwarded: for="165.21.0.1\\',
    "a closed quote around an element": b'Forwarded: for=165.21.0.1;x=", for=127.0.0.2"',
    "a quote that ours would close": b'Forwarded: for=165.21.0.1, x=", for=',
}


@pytest.mark.parametrize("lines", FORGED.values(), ids=FORGED)
@strategies
@chains
def test_what_a_client_writes_for_the_edge_changes_nothing(
    net: Net, chain: str, name: str, lines: Sequence[bytes]
) -> None:
    assert net.edge(chain, name, *lines)["address"] == HANOI
    # The same with the true and the forged address exchanged, so that no answer is right by chance.
    swapped = [line.replace(SINGAPORE.encode(), HANOI.encode()) for line in lines]
    assert net.edge(chain, name, *swapped, announced=SINGAPORE)["address"] == SINGAPORE


@pytest.mark.parametrize("line", UNQUOTED.values(), ids=UNQUOTED)
@strategies
@chains
def test_an_open_quote_names_nobody_else(net: Net, chain: str, name: str, line: bytes) -> None:
    found = net.edge(chain, name, line)["address"]
    assert found in ((HANOI, None) if name.endswith("forwarded") else (HANOI,))


@pytest.mark.parametrize("header", [b"X-Forwarded-For", b"Forwarded", b"X-Real-IP"])
@strategies
@chains
def test_a_header_named_as_one_hops_own_takes_no_address_away(net: Net, chain: str, name: str, header: bytes) -> None:
    found = net.edge(chain, name, b"Connection: close, " + header, b"X-Forwarded-For: 165.21.0.1")
    # Envoy refuses a request that disowns X-Forwarded-For.
    assert found == {"status": 400} or found["address"] == HANOI


@pytest.mark.parametrize("line", [b"X-Forwarded-For: a\x00b", b"X-Forwarded-For : 165.21.0.1", b" X-Forwarded-For: 1"])
@strategies
@chains
def test_what_is_no_header_never_gets_past_the_proxies_as_one(net: Net, chain: str, name: str, line: bytes) -> None:
    found = net.edge(chain, name, line)
    assert found == {"status": 400} or found["address"] == HANOI


@strategies
@chains
def test_whom_the_balancer_does_not_know_has_the_balancers_address(net: Net, chain: str, name: str) -> None:
    request = f"PROXY UNKNOWN\r\nGET /bare/{name} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 165.21.0.1\r\n\r\n"
    status, body = net.raw(CHAINS[chain][0], request.encode(), BALANCER)
    assert (status, json.loads(body)["address"]) == (200, BALANCER)


@pytest.mark.parametrize("name", ["range", "range-forwarded", "single"])
@chains
def test_who_finds_the_second_proxy_is_itself(net: Net, chain: str, name: str) -> None:
    for lines in ([], *FORGED.values()):
        assert net.inner(chain, name, *lines)["address"] == CLIENT, lines
    for line in UNQUOTED.values():
        assert net.inner(chain, name, line)["address"] in (CLIENT, None), line


@pytest.mark.parametrize("name", ["count", "count-forwarded"])
@chains
def test_who_finds_the_second_proxy_is_nobody_to_a_count(net: Net, chain: str, name: str) -> None:
    # It is one hop short there, so the count leads to what the client wrote itself.
    for lines in ([], *FORGED.values(), *([line] for line in UNQUOTED.values())):
        assert net.inner(chain, name, *lines)["address"] in (CLIENT, None), lines


@strategies
def test_who_finds_the_server_is_itself(net: Net, name: str) -> None:
    for lines in ([], *FORGED.values(), *([line] for line in UNQUOTED.values())):
        assert net.get("BARE", f"/bare/{name}", *lines)["address"] == CLIENT, lines


@strategies
def test_only_the_balancer_announces_clients(net: Net, name: str) -> None:
    # nginx answers a stranger's PROXY line with the stranger's own address; Envoy closes the connection.
    assert net.get("NGINX_EDGE", f"/bare/{name}", announced=SINGAPORE)["address"] == CLIENT
    assert net.get("ENVOY_EDGE", f"/bare/{name}", announced=SINGAPORE) == {"status": 0}
    for inner in ("NGINX_INNER", "ENVOY_INNER"):
        assert net.get(inner, f"/bare/{name}", announced=SINGAPORE) == {"status": 400}


def test_each_strategy_reads_the_header_that_it_names(net: Net) -> None:
    lines = [b"X-Forwarded-For: 1.0.0.1, 127.0.0.2", b"Forwarded: for=1.0.0.2, for=127.0.0.2", b"X-Real-IP: 1.0.0.3"]
    found = {name: net.get("BARE", f"/bare/{name}", *lines, source=ENVOY)["address"] for name in SERVERS["bare"][1]}
    assert found == {
        "range": "1.0.0.1", "range-forwarded": "1.0.0.2", "count": "1.0.0.1", "count-forwarded": "1.0.0.2",
        "single": "1.0.0.3",
    }  # fmt: skip


@pytest.mark.parametrize("hop", ["unknown", "_hidden", "", "127.0.0.2, ", "127.0.0.2.", "127.0.0.02", "[127.0.0.2"])
@strategies
def test_a_proxy_of_ours_that_names_nobody_is_not_passed_over(net: Net, name: str, hop: str) -> None:
    listed = "".join(f"for={element}," for element in hop.split(","))
    lines = [f"X-Forwarded-For: 165.21.0.1, {hop}", f"Forwarded: for=165.21.0.1, {listed}", f"X-Real-IP: {hop}"]
    answer = net.get("BARE", f"/bare/{name}", *(line.encode() for line in lines), source=ENVOY)
    assert answer["address"] is None


@strategies
@chains
def test_the_detail_beside_the_audit_entry_names_the_true_client(net: Net, chain: str, name: str) -> None:
    net.edge(chain, name, *FORGED["every header that anybody reads"])
    folder = net.folder / "bare"
    key = KeysFiles(folder / "keys").secret("detail-vn")
    segments = (folder / name / "detail" / "journal").glob("*/*.seg")
    records = [record for segment in segments for record in scan(segment.read_bytes(), RECORDS_AT, None).records]
    newest = max(records, key=lambda record: record.seq)
    detail = parse_detail(open_detail("VN", newest.payload, key)[1])
    assert (detail["address"], detail["port"]) == (HANOI, None)


def is_refused(answer: Mapping[str, Any]) -> bool:
    return answer.get("status") == 503 and answer["reason"] in ("peer_rewritten", "setup")


@pytest.mark.parametrize("name", ["range", "range-forwarded"])
@chains
def test_a_server_that_believes_everybodys_header_is_not_believed(net: Net, chain: str, name: str) -> None:
    for what, lines in FORGED.items():
        for answer, true in (
            (net.edge(chain, name, *lines, server="rewriting"), HANOI),
            (net.inner(chain, name, *lines, server="rewriting"), CLIENT),
        ):
            # With nothing leftmost such a server leaves the peer alone, and the walk may go on from there.
            walked = what in ("nothing", "commas") and answer.get("address") == true
            assert walked or is_refused(answer), what


@chains
def test_a_server_that_believes_everybody_is_no_strategy(net: Net, chain: str) -> None:
    for what, lines in FORGED.items():
        assert is_refused(net.edge(chain, "server", *lines, server="rewriting")), what


@chains
def test_a_server_that_believes_just_our_proxies_must_be_named_as_the_strategy(net: Net, chain: str) -> None:
    for what, lines in FORGED.items():
        assert is_refused(net.edge(chain, "range", *lines, server="believing")), what
        assert net.edge(chain, "server", *lines, server="believing")["address"] == HANOI, what
        assert net.inner(chain, "server", *lines, server="believing")["address"] == CLIENT, what
