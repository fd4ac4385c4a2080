"""Any header and any claim: a value or no signal, never an exception; canonical; never inside the trusted ranges."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from residency.jurisdiction.resolve import resolve
from residency.model.finding import Anchor, Presume, Signal, Trust
from residency.signals.address import (
    Peer,
    RightmostTrustedCount,
    RightmostTrustedRange,
    Server,
    SingleHeader,
    Strategy,
    UnsafeLeftmostNonPrivate,
)
from residency.signals.forwarded import names_port, read_element, rewritten
from residency.signals.identity import ClaimMap, bearer, identity
from residency.signals.inet import Ranges, canonical, is_public, read_hop
from residency.signals.network import beside
from residency.signals.peer import Headers
from tests.world import HANOI, NETWORK, SINGAPORE

TRUSTED = Ranges(["10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32"])
PROXY = ("10.0.0.1", 4000)

addresses = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
    st.ip_addresses(v=6, network="2001:db8::/32").map(str),
    st.ip_addresses(v=4).map(lambda a: f"::ffff:{a}"),
    st.ip_addresses(v=4).map(lambda a: f"64:ff9b::{a}"),
)
elements = st.one_of(
    addresses.map(str.encode),
    addresses.map(lambda a: (f"[{a}]:8080" if ":" in a else f"{a}:8080").encode()),
    addresses.map(lambda a: f" {a.upper()}\t".encode()),
    st.sampled_from([b"", b"unknown", b"_x", b"1.2.3", b"010.1.1.1", b"[", b"]", b"[::1", b"::1%", b"fe80::1%eth0"]),
    st.binary(max_size=60),
)
nodes = st.one_of(
    elements.map(lambda e: b"for=" + e),
    elements.map(lambda e: b'For="' + e + b'";proto=https'),
    addresses.map(lambda a: (f'for="[{a}]:1"' if ":" in a else f"for={a}").encode()),
)
headers = st.lists(
    st.one_of(
        st.tuples(st.just(b"x-forwarded-for"), st.lists(elements, max_size=8).map(b",".join)),
        st.tuples(st.just(b"forwarded"), st.lists(st.one_of(nodes, elements), max_size=6).map(b",".join)),
        st.tuples(st.just(b"x-real-ip"), elements),
        st.tuples(st.sampled_from([b"x-forwarded-for", b"forwarded", b"x-real-ip", b"host"]), st.binary(max_size=60)),
    ),
    max_size=3,
)
peers = st.one_of(
    st.none(), st.just(PROXY), st.tuples(st.one_of(addresses, st.text(max_size=40)), st.integers(0, 65535))
)


STRATEGIES = (
    Peer,
    Server,
    lambda: SingleHeader("x-real-ip", TRUSTED),
    lambda: RightmostTrustedCount(2),
    lambda: RightmostTrustedCount(1, TRUSTED, unix=True),
    lambda: RightmostTrustedCount(2, TRUSTED, "forwarded"),
    lambda: RightmostTrustedRange(TRUSTED),
    lambda: RightmostTrustedRange(TRUSTED, unix=True),
    lambda: RightmostTrustedRange(TRUSTED, header="forwarded"),
    UnsafeLeftmostNonPrivate,
    lambda: UnsafeLeftmostNonPrivate("forwarded"),
)


@given(st.sampled_from(STRATEGIES), peers, headers)
def test_a_client_is_none_or_canonical_and_never_one_of_our_proxies(
    made: Callable[[], Strategy], peer: tuple[str, int] | None, lines: list[tuple[bytes, bytes]]
) -> None:
    strategy = made()
    found = strategy.client(peer, lines)
    assert found.strategy == strategy.name
    assert found.address is None or canonical(found.address) == found.address
    assert found.address is None or found.problem is None
    if found.address is not None and getattr(strategy, "trusted", None):
        assert not TRUSTED.contains(found.address)
    assert strategy.client(peer, lines) == found == made().client(peer, lines)


@given(st.sampled_from(STRATEGIES[2:9]), addresses, st.integers(1, 65535), headers)
def test_a_peer_that_is_no_proxy_of_ours_gets_its_own_address_or_none(
    made: Callable[[], Strategy], host: str, port: int, lines: list[tuple[bytes, bytes]]
) -> None:
    strategy = made()
    if getattr(strategy, "trusted", None) and not TRUSTED.contains(host):
        assert strategy.client((host, port), lines).address in (None, canonical(host))


@st.composite
def rfc_elements(draw: st.DrawFn, address: str) -> bytes:
    """One well-formed element of a Forwarded header whose `for` is `address`: what a proxy of ours may write."""
    node = f"[{address}]" if ":" in address else address
    node += draw(st.sampled_from(["", ":4711", ":_p"]))
    quoted = ":" in node or draw(st.booleans())
    pairs = [draw(st.sampled_from(["for", "For", "FOR"])).encode() + b"=" + (f'"{node}"' if quoted else node).encode()]
    for name in draw(st.lists(st.sampled_from([b"by", b"host", b"ext", b"e2"]), unique=True)):
        # A proxy that escapes what has to be: any text may stand there, commas, quotes and whole elements too.
        text = draw(st.text(st.sampled_from('",;=\\ for=8.8.8.8\t\xe9'))).encode("latin-1")
        pairs.append(name + b'="' + re.sub(rb'(["\\])', rb"\\\1", text) + b'"')
    return draw(st.sampled_from([b"", b" ", b"\t"])) + b";".join(draw(st.permutations(pairs)))


@given(addresses.flatmap(lambda a: st.tuples(st.just(a), rfc_elements(a))))
def test_a_well_formed_forwarded_element_is_its_address(case: tuple[str, bytes]) -> None:
    found = read_element(case[1])
    assert found is not None
    assert found[0] == canonical(case[0])


hostile = st.one_of(
    st.binary(max_size=60),
    st.text(st.sampled_from('",;=\\ \nfor=8.8.8.8[]:')).map(lambda t: t.encode("latin-1")),
)


@given(st.data(), addresses.filter(lambda a: not TRUSTED.contains(a)), st.lists(hostile), st.booleans())
def test_what_a_client_writes_left_of_its_own_address_changes_nothing(
    data: st.DataObject, own: str, forged: list[bytes], rfc: bool
) -> None:
    header = "forwarded" if rfc else "x-forwarded-for"
    known = [data.draw(rfc_elements(a)) if rfc else a.encode() for a in (own, "10.3.3.3", "10.4.4.4")]
    left = b",".join(forged)
    lines = (
        [b",".join([left, *known])],
        [left, *known],
        [left, b",".join(known)],
        [b",".join([left, known[0]]), b",".join(known[1:])],
        [*forged, b",".join(known[:2]), known[2]],
    )
    range_, count = RightmostTrustedRange(TRUSTED, header=header), RightmostTrustedCount(3, TRUSTED, header)
    for each in lines:
        sent = [(header.encode(), line) for line in each]
        # A forged element that equals the proxy's own host and port could only name the proxy a rewritten peer.
        if not any(rewritten(*PROXY, line) for line in each):
            assert range_.client(PROXY, sent).address == canonical(own)
            assert count.client(PROXY, sent).address == canonical(own)


APPENDING = (
    ("x-forwarded-for", RightmostTrustedRange(TRUSTED)),
    ("forwarded", RightmostTrustedRange(TRUSTED, header="forwarded")),
    ("x-forwarded-for", RightmostTrustedCount(1, TRUSTED)),
    ("forwarded", RightmostTrustedCount(1, TRUSTED, "forwarded")),
    ("x-real-ip", SingleHeader("x-real-ip", TRUSTED)),
    ("x-forwarded-for", Server()),
)
NOBODY_PRESUMED = ((Anchor.TERRITORY, Presume.NOT_COVERED),)
written = st.lists(
    st.one_of(
        st.sampled_from([SINGAPORE.encode(), b"for=" + SINGAPORE.encode(), b"10.9.9.9", b"for=10.9.9.9", b"unknown"]),
        hostile,
        elements,
    ),
    max_size=9,
)


def as_uvicorn(sent: Headers) -> tuple[str, int]:
    """Whom uvicorn takes for the peer: the rightmost that it does not believe, of all lines."""
    peer = PROXY
    told = b", ".join(line for name, line in sent if name == b"x-forwarded-for").decode("latin-1")
    for host in reversed(told.split(",")):
        peer = (host.strip(), 0)
        if canonical(peer[0]) is None or not TRUSTED.contains(peer[0]):
            break
    return peer


@given(
    st.sampled_from(APPENDING),
    st.sampled_from([HANOI, "2001:ee0::1"]),
    written,
    written,
    headers,
    st.booleans(),
)
def test_nothing_that_a_client_writes_before_or_behind_the_body_takes_it_out_of_its_law(
    how: tuple[str, Strategy],
    own: str,
    before: list[bytes],
    behind: list[bytes],
    other: list[tuple[bytes, bytes]],
    joins: bool,
) -> None:
    # A proxy that appends, in a line of its own or to the last, or overwrites; and passes on what stands behind the
    # body, which the server then puts among the headers.
    header, strategy = how
    name = header.encode()
    told = (f'for="[{own}]"' if ":" in own else f"for={own}") if header == "forwarded" else own
    if header == "x-real-ip":
        lines = [told.encode()]
    elif joins and before:
        lines = [*before[:-1], before[-1] + b", " + told.encode()]
    else:
        lines = [*before, told.encode()]
    sent = [(name, line) for line in (*lines, *behind)]
    sent += [pair for pair in other if pair[0] != name]
    if behind:
        sent.append((b"transfer-encoding", b"chunked"))
    found = strategy.client(as_uvicorn(sent) if strategy.name == "server" else PROXY, sent)
    if found.problem is not None:
        return  # refused
    sim = Signal(Anchor.TERRITORY, "DE", Trust.NETWORK, "jwt.sim")
    for signals in ((), (sim,)):
        finding = resolve(beside(found, (*NETWORK.signals_of(found), *signals)), None, NOBODY_PRESUMED)
        assert finding.covered("VN", Anchor.TERRITORY)
        assert finding.covered("VN", Anchor.COLLECTION)


def test_a_header_in_very_many_lines_is_read_once() -> None:
    # Joined line by line it would cost the square of its length: minutes for this one.
    lines = [(b"x-forwarded-for", b"1.1.1.1")] * 200_000 + [(b"x-forwarded-for", HANOI.encode())]
    assert RightmostTrustedRange(TRUSTED).client(PROXY, lines).address == HANOI


@example(b"x" * 9000)
@example(b"," * 9000)
@example(b'"' * 9000)
@example(b'x="' + b"\\" * 9000)
@given(st.binary(max_size=200))
def test_an_oversized_left_side_changes_nothing_either(left: bytes) -> None:
    for header, own in (("x-forwarded-for", b"14.160.0.1, 10.3.3.3"), ("forwarded", b'for="14.160.0.1",for=10.3.3.3')):
        strategy = RightmostTrustedRange(TRUSTED, header=header)
        assert strategy.client(PROXY, [(header.encode(), left * 40 + b"," + own)]).address == "14.160.0.1"


@given(st.tuples(addresses, st.integers(1, 65535)), st.binary(max_size=20), st.binary(max_size=20), st.booleans())
def test_a_header_that_names_no_port_is_nowhere_a_peer_came_from(
    peer: tuple[str, int], left: bytes, right: bytes, rfc: bool
) -> None:
    own = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
    own = f'for="{own}"' if rfc else own
    for header in (left, left + own.encode() + right, left + b"," + own.encode() + b";" + right):
        assert names_port(header) or not rewritten(*peer, header)
    assert rewritten(*peer, left + b"," + own.encode() + b"," + right)


@given(st.one_of(elements, st.binary()))
def test_a_hop_is_none_or_canonical(element: bytes) -> None:
    found = read_hop(element)
    assert found is None or (canonical(found[0]) == found[0] and read_hop(found[0].encode()) == found)


def nat64(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    inside = address in ip_network("64:ff9b::/96")
    return ip_address(int(address) & 0xFFFFFFFF) if inside else None  # type: ignore[return-value]


@given(st.one_of(addresses, st.text()))
def test_canonical_agrees_with_the_standard_library(text: str) -> None:
    address = canonical(text)
    if address is not None:
        expected = ip_address(text.split("%")[0] if ":" in text else text)
        assert ip_address(address) == (getattr(expected, "ipv4_mapped", None) or nat64(expected) or expected)
        assert isinstance(is_public(address), bool)


@given(st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=6), addresses)
def test_ranges_contain_what_the_standard_library_says(networks: list[tuple[object, int]], address: str) -> None:
    texts = [
        str(ip_network(f"{a}/{min(n, 32) if '.' in str(a) and ':' not in str(a) else n}", strict=False))
        for a, n in networks
    ]
    wraps = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))
    kept = [text for text in texts if not (":" in text and any(map(ip_network(text).overlaps, wraps)))]
    plain = canonical(address)
    assert plain is not None
    assert Ranges(kept).contains(address) is any(ip_address(plain) in ip_network(text) for text in kept)


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["VN", "phone", "c1"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
NAMES = ("sub", "nationality", "country", "identity_verified_by", "age", "consents")


@given(st.dictionaries(st.sampled_from(NAMES), values), st.booleans())
def test_any_claims_are_signals_or_none_and_unverified_ones_never_more_than_declared(
    claims: dict[str, object], verified: bool
) -> None:
    said = identity(claims, ClaimMap(), verified=verified, source="jwt")
    assert {signal.trust for signal in said.signals} <= {Trust.VERIFIED if verified else Trust.DECLARED}
    assert verified or not said.evidence


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"host"]), st.binary(max_size=40)), max_size=3))
def test_any_authorization_header_is_a_token_or_none(lines: list[tuple[bytes, bytes]]) -> None:
    token = bearer(lines)
    assert token is None or token
