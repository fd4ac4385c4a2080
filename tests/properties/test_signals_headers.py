"""Any header and any claim: a value or no signal, never an exception; canonical; never inside the trusted ranges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from residency.model.finding import Trust
from residency.signals.address import Peer, RightmostTrustedRange, Server
from residency.signals.identity import ClaimMap, bearer, identity
from residency.signals.inet import Ranges, canonical, is_public, parse_hop

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
headers = st.lists(
    st.lists(elements, max_size=8).map(b",".join).map(lambda v: (b"x-forwarded-for", v)), min_size=0, max_size=3
)
peers = st.one_of(st.none(), st.tuples(st.one_of(addresses, st.text(max_size=40)), st.integers(0, 65535)))


@given(peers, headers)
def test_a_client_is_none_or_canonical_and_never_one_of_our_proxies(
    peer: tuple[str, int] | None, lines: list[tuple[bytes, bytes]]
) -> None:
    for strategy in (RightmostTrustedRange(TRUSTED), RightmostTrustedRange(TRUSTED, unix=True), Peer(), Server()):
        found = strategy.client(peer, lines)
        assert found.strategy == strategy.name
        assert found.address is None or canonical(found.address) == found.address
        assert found.address is None or found.problem is None
        if isinstance(strategy, RightmostTrustedRange) and found.address is not None:
            assert not TRUSTED.contains(found.address)
        assert strategy.client(peer, lines) == found


@given(
    st.lists(addresses.filter(lambda a: not TRUSTED.contains(a)), min_size=1, max_size=1),
    st.lists(st.binary(max_size=90)),
)
@example(["14.160.0.1"], [b"x" * 9000, b"," * 9000])
def test_what_a_client_writes_left_of_its_own_address_changes_nothing(own: list[str], forged: list[bytes]) -> None:
    plain = RightmostTrustedRange(TRUSTED).client(PROXY, [(b"x-forwarded-for", own[0].encode())])
    line = b",".join([*forged, own[0].encode(), b"10.3.3.3"])
    assert plain.address == canonical(own[0])
    # A forged element that equals the proxy's own host and port could only name the proxy a rewritten peer.
    if b"10.0.0.1:4000" not in line:
        assert RightmostTrustedRange(TRUSTED).client(PROXY, [(b"x-forwarded-for", line)]) == plain
        apart = [(b"x-forwarded-for", part) for part in (*forged, own[0].encode() + b", 10.3.3.3")]
        assert RightmostTrustedRange(TRUSTED).client(PROXY, apart) == plain


@given(st.one_of(elements, st.binary()))
def test_a_hop_is_none_or_canonical(element: bytes) -> None:
    address = parse_hop(element)
    assert address is None or (canonical(address) == address and parse_hop(address.encode()) == address)


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
