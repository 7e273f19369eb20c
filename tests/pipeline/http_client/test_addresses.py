"""The rule that separates public addresses from special ones, tested over whole networks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.http_client.addresses import CLOUD_V4, SPECIAL_V4, SPECIAL_V6, is_public

PUBLIC = ("93.184.216.34", "8.8.8.8", "1.1.1.1", "157.240.0.60", "2a03:2880:f21c::1", "2606:4700::1111", "100.128.0.1")
# Copied from the IANA registries, independently of SPECIAL_V4 and SPECIAL_V6, to detect a network missing from them.
# fmt: off
SPECIAL = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64",
    "100:0:0:1::/64", "2001::/32", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001::/23",
    "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    "161.26.0.0/16", "166.8.0.0/14", "199.36.153.4/30", "199.36.153.8/30", "2600:2d00:2:1000::/56",
    "2600:2d00:2:2000::/56",
)
# Metadata services and the like, by cloud.
CLOUD_SERVICES = (
    "168.63.129.16",  # Azure
    "161.26.0.10", "161.26.0.6", "166.9.12.193",  # IBM
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.169.123", "169.254.169.253", "fd00:ec2::254",
    "fd00:ec2::23", "fd00:ec2::253",  # AWS
    "fd20:ce::254", "199.36.153.4", "199.36.153.11",  # Google
    "192.0.0.192", "fd00:c1::a9fe:a9fe",  # Oracle
    "100.100.100.200", "100.100.2.136",  # Alibaba
    "169.254.0.23", "169.254.42.42", "fd00:42::42", "169.254.169.255", "fd00:a9fe:a9fe::1",  # Tencent, Scaleway, Akamai
    "fe80::a9fe:a9fe",  # OpenStack
)
# fmt: on


@pytest.mark.parametrize("address", CLOUD_SERVICES)
def test_internal_services_of_clouds_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_internet_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.data())
def test_no_address_of_a_special_network_is_public(data: st.DataObject) -> None:
    network = ipaddress.ip_network(data.draw(st.sampled_from(SPECIAL)))
    assert not is_public(data.draw(st.ip_addresses(network=network)))


@pytest.mark.parametrize("network", SPECIAL)
def test_first_and_last_address_of_a_special_network_are_not_public(network: str) -> None:
    parsed = ipaddress.ip_network(network)
    assert not is_public(parsed[0])
    assert not is_public(parsed[-1])


@given(st.ip_addresses(v=4))
def test_ipv4_address_embedded_in_ipv6_is_not_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    embedded = [
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | number << 80),
        ipaddress.IPv6Address((0x2A03_2880 << 96) | 0x5EFE << 32 | number),
        ipaddress.IPv6Address((0x2A03_2880 << 96) | 0x0200_5EFE << 32 | number),
    ]
    assert not any(map(is_public, embedded))


@given(st.ip_addresses(v=4) | st.ip_addresses(network="2000::/3"))
def test_public_address_is_global_according_to_ipaddress(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=4))
def test_ipv4_is_public_exactly_outside_the_special_networks(address: ipaddress.IPv4Address) -> None:
    assert is_public(address) != any(address in network for network in SPECIAL_V4 + CLOUD_V4)


def test_special_ipv6_networks_are_within_global_unicast() -> None:
    assert all(network.subnet_of(ipaddress.IPv6Network("2000::/3")) for network in SPECIAL_V6)
