from ipaddress import ip_address

import pytest

from vlp_core.errors import UserError
from vlp_core.web.addresses import Gate, is_name, is_public, literal
from vlp_core.web.settings import Fetch

PRIVATE = [
    "127.0.0.1",
    "127.255.0.3",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.8",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "ff02::1",
    "100::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_off_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Gate().allows("a.example", address, 80)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "127.0.1"],
)
def test_every_spelling_of_an_address_is_read_as_the_c_library_reads_it(host: str) -> None:
    assert literal(host) == ip_address("127.0.0.1")


@pytest.mark.parametrize("host", ["example.org", "a.test", "127.0.0.1.example.org", "0x7g", "", "."])
def test_a_name_is_no_address(host: str) -> None:
    assert literal(host) is None and is_name(host)


@pytest.mark.parametrize("host", ["face:b00k", "::1%", "::ffff:0177.0.0.1", "256.1.1.1", "127.0.0.0.1"])
def test_what_only_looks_like_an_address_is_neither(host: str) -> None:
    assert literal(host) is None and not is_name(host)


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "allowed"),
    [
        ("127.0.0.1:8801", "127.0.0.1", "127.0.0.1", 8801, True),
        ("127.0.0.1:8801", "a.example", "127.0.0.1", 8801, True),
        ("127.0.0.1:8801", "127.0.0.1", "::ffff:127.0.0.1", 8801, True),
        ("127.0.0.1:8801", "127.0.0.1", "127.0.0.1", 8802, False),
        ("127.0.0.1:8801", "127.0.0.2", "127.0.0.2", 8801, False),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", 99, True),
        ("10.0.0.0/8", "10.2.3.4", "10.2.3.4", 80, True),
        ("10.0.0.0/8", "11.2.3.4", "192.168.0.1", 80, False),
        ("[::1]:80", "::1", "::1", 80, True),
        ("[::1]:80", "::1", "::1", 81, False),
        ("::1", "::1", "::1", 81, True),
        ("nas.lan:80", "NAS.lan.", "192.168.0.1", 80, True),
        ("nas.lan:80", "evil.lan", "192.168.0.1", 80, False),
    ],
)
def test_allow_private_opens_what_it_names_and_no_more(
    entry: str, host: str, address: str, port: int, allowed: bool
) -> None:
    assert Gate(allow_private=[entry]).allows(host, address, port) is allowed


def test_a_mapping_matches_names_by_glob_whatever_their_case_and_opens_no_address() -> None:
    gate = Gate(resolve=["one.test=127.0.0.1:1", "*.test=127.0.0.1:2"])
    found = {name: gate.mapped(name) for name in ("one.test", "TWO.test.", "test", "a.test.example")}
    assert {name: entry and entry.port for name, entry in found.items()} == {
        "one.test": 1,
        "TWO.test.": 2,
        "test": None,
        "a.test.example": None,
    }
    assert not gate.allows("127.0.0.1", "127.0.0.1", 2)
    assert not Gate(resolve=["*=127.0.0.1:2"]).allows("127.0.0.1", "127.0.0.1", 2)


@pytest.mark.parametrize(
    ("flag", "settings"),
    [
        ("--fetch.allow-private", {"allow_private": ("localhost",)}),
        ("--fetch.allow-private", {"allow_private": ("127.0.0.1:99999",)}),
        ("--fetch.allow-private", {"allow_private": ("",)}),
        ("--fetch.resolve", {"resolve": ("*.test",)}),
        ("--fetch.resolve", {"resolve": ("*.test=127.0.0.1",)}),
        ("--fetch.resolve", {"resolve": ("=127.0.0.1:80",)}),
        ("--fetch.resolve", {"resolve": ("*.test=somewhere:80",)}),
        ("--fetch.connections", {"connections": 0}),
        ("--fetch.deadline-s", {"deadline_s": 0.0}),
        ("--fetch.encode-quality", {"encode_quality": 101}),
        ("--fetch.user-agent", {"user_agent": "two words"}),
        ("--fetch.workers", {"workers": -1}),
        ("--fetch.per-host-rate", {"per_host_rate": -1.0}),
        ("--fetch.nameservers", {"nameservers": ("ns.example",)}),
        ("--fetch.nameservers", {"nameservers": ("127.0.0.1:dns",)}),
        ("--fetch.contact", {"contact": "me"}),
        ("--fetch.contact", {"contact": "https://example.org/)\r\nCookie: a"}),
    ],
)
def test_settings_that_cannot_be_right_name_their_flag(flag: str, settings: dict) -> None:
    with pytest.raises(UserError, match=f"^{flag} "):
        Fetch(**settings)
