"""Two databases are compared address by address: what is counted is what a lookup of every address would count."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from residency.cli.locate_compare import compare, told_generally, told_of
from residency.signals.table_layers import Layer, layer_of

CODES = ("VN", "US", "DE")
Places = dict[str, str]


def layer(places: Places) -> Layer:
    return layer_of((ip_network(net), code) for net, code in places.items())


def place(places: Places, address: IPv4Address) -> str | None:
    inside = [(ip_network(net), code) for net, code in places.items()]
    found = [(net.prefixlen, code) for net, code in inside if address in net]
    return max(found)[1] if found else None


def networks() -> st.SearchStrategy[Places]:
    """Places within 8.8.0.0/24, at most four, of /24 to /30."""
    net = st.tuples(st.integers(0, 255), st.integers(24, 30)).map(
        lambda at: str(IPv4Network((0x08080000 + at[0], at[1]), strict=False))
    )
    return st.dictionaries(net, st.sampled_from(CODES), max_size=4)


@settings(max_examples=40)
@given(networks(), networks())
def test_what_is_counted_is_what_each_address_says(here: Places, there: Places) -> None:
    expected: Counter[tuple[str | None, str | None]] = Counter()
    for number in range(0x08080000, 0x08080100):
        address = IPv4Address(number)
        expected[place(here, address), place(there, address)] += 1
    counts = dict(compare(layer(here), layer(there))["ipv4"].counts)
    del expected[None, None], counts[None, None]
    assert counts == dict(expected)


@settings(max_examples=40)
@given(networks(), networks())
def test_exchanged_databases_tell_the_same_the_other_way_round(here: Places, there: Places) -> None:
    one = told_generally(compare(layer(here), layer(there))["ipv4"])
    other = told_generally(compare(layer(there), layer(here))["ipv4"])
    assert (one["same"], one["other"], one["agreement"]) == (other["same"], other["other"], other["agreement"])
    assert (one["only_here"], one["only_there"]) == (other["only_there"], other["only_here"])


@settings(max_examples=40)
@given(networks())
def test_a_database_agrees_with_itself(places: Places) -> None:
    family = compare(layer(places), layer(places))["ipv4"]
    told = told_generally(family)
    assert told["agreement"] == (1.0 if places else None)
    assert told["pairs"] == []
    for code in CODES:
        of = told_of(code, family)
        assert of["here"] == of["there"] == of["both"]
        assert (of["only_here"], of["only_there"], of["pairs"]) == (0, 0, [])


@settings(max_examples=40)
@given(networks(), networks(), st.sampled_from(CODES))
def test_one_country_is_as_in_the_general_table(here: Places, there: Places, code: str) -> None:
    family = compare(layer(here), layer(there))["ipv4"]
    of = told_of(code, family)
    assert of["here"] == of["both"] + of["only_here"]
    assert of["there"] == of["both"] + of["only_there"]
    general = told_generally(family)["countries"].get(code)
    if general is None:
        assert of["here"] == of["there"] == 0
    else:
        assert general == {key: of[key] for key in ("here", "there", "both", "agreement")}


def test_special_purpose_networks_are_left_out() -> None:
    family = compare(layer({"10.0.0.0/8": "VN", "8.0.0.0/8": "VN"}), layer({"10.0.0.0/8": "US"}))["ipv4"]
    assert told_of("VN", family)["here"] == 2**24


def test_ipv6_is_counted_in_48s_and_what_is_less_still_counts_in_the_share() -> None:
    here = layer({"2400:1000::/32": "VN", "2400:2000::/64": "VN"})
    told = told_of("VN", compare(here, layer({"2400:1000::/33": "VN"}))["ipv6"])
    assert (told["here"], told["both"], told["only_here"]) == (2**16, 2**15, 2**15)
    assert told["agreement"] == round(2**95 / (2**96 + 2**64), 6)
    assert told["agreement_where_both_know"] == 1.0


def test_examples_are_the_largest_networks_of_a_pair() -> None:
    here = layer(dict.fromkeys(("8.0.0.0/24", "9.0.0.0/20", "11.0.0.0/22", "12.0.0.0/16", "13.0.0.1/32"), "VN"))
    (pair,) = told_of("VN", compare(here, Layer())["ipv4"])["pairs"]
    assert (pair["here"], pair["there"]) == ("VN", None)
    assert pair["networks"] == ["12.0.0.0/16", "9.0.0.0/20", "11.0.0.0/22"]


def test_pairs_are_the_ten_largest() -> None:
    codes = "US DE FR GB NL SG HK JP KR TH LA KH".split()
    nets = [IPv4Network((0x08000000 + (at << 20), 12 + at)) for at in range(len(codes))]
    there = layer({str(net): code for net, code in zip(nets, codes, strict=True)})
    told = told_of("VN", compare(layer({"8.0.0.0/8": "VN"}), there)["ipv4"])
    assert [pair["there"] for pair in told["pairs"]] == [None, *codes[:9]]


def test_examples_of_ipv6_are_ipv6_networks() -> None:
    (pair,) = told_of("VN", compare(layer({"2400::/12": "VN"}), Layer())["ipv6"])["pairs"]
    assert [IPv6Network(text) for text in pair["networks"]] == [IPv6Network("2400::/12")]
