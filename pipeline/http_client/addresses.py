"""Which IP addresses are public, as tables with their sources.

Python's `is_global` is wrong for addresses that contain another one (NAT64, 6to4, IPv4-compatible), for site-local
addresses and for multicast, and differs between versions. Therefore the rule is written out here.
"""

from __future__ import annotations

import ipaddress

from pipeline.config.types import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA IPv4 Special-Purpose Address Registry (RFC 6890 and its successors), and RFC 5771 for multicast.
SPECIAL_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network, RFC 791
            "10.0.0.0/8",  # private use, RFC 1918
            "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
            "127.0.0.0/8",  # loopback, RFC 1122
            "169.254.0.0/16",  # link-local, also the metadata service of clouds, RFC 3927
            "172.16.0.0/12",  # private use, RFC 1918
            "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.31.196.0/24",  # AS112, RFC 7535
            "192.52.193.0/24",  # AMT, RFC 7450
            "192.88.99.0/24",  # 6to4 relays, RFC 7526
            "192.168.0.0/16",  # private use, RFC 1918
            "192.175.48.0/24",  # AS112, RFC 7534
            "198.18.0.0/15",  # benchmarking, RFC 2544
            "198.51.100.0/24",  # documentation, RFC 5737
            "203.0.113.0/24",  # documentation, RFC 5737
            "224.0.0.0/4",  # multicast, RFC 5771
            "240.0.0.0/4",  # reserved and broadcast, RFC 1112
        ),
    )
)

# Addresses that are registered as public, but that clouds route to their own services inside a customer's network.
# Other clouds' metadata services are within the special networks: 169.254.0.0/16 (169.254.169.254, 169.254.170.2),
# 192.0.0.192 (Oracle), 100.100.100.200 (Alibaba), fd00:ec2::254 (AWS), fd20:ce::254 (Google).
CLOUD_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "161.26.0.0/16",  # IBM Cloud: infrastructure services
            "166.8.0.0/14",  # IBM Cloud: private endpoints of services
            "168.63.129.16/32",  # Azure: the host of a virtual machine ("wire server"), with its certificates and DNS
            "199.36.153.4/30",  # Google Cloud: restricted.googleapis.com
            "199.36.153.8/30",  # Google Cloud: private.googleapis.com
        ),
    )
)

# IANA IPv6 Global Unicast Address Assignments: every assigned address is in this network. Outside are loopback, `::`,
# IPv4-mapped and IPv4-compatible ones, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard-only (100::/64), SRv6 SIDs
# (5f00::/16), unique local (fc00::/7), link-local (fe80::/10), site-local (fec0::/10) and multicast (ff00::/8).
GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")

# IANA IPv6 Special-Purpose Address Registry: the exceptions within global unicast; and those of clouds.
SPECIAL_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo, benchmarking, AMT, ORCHID, DRIP
            "2001:db8::/32",  # documentation, RFC 3849
            "2002::/16",  # 6to4 carries an IPv4 address, RFC 3056
            "2600:2d00:2:1000::/56",  # Google Cloud: restricted.googleapis.com, not announced publicly
            "2600:2d00:2:2000::/56",  # Google Cloud: private.googleapis.com, not announced publicly
            "2620:4f:8000::/48",  # AS112, RFC 7534
            "3fff::/20",  # documentation, RFC 9637
        ),
    )
)

_REFUSED_V4 = SPECIAL_V4 + CLOUD_V4

# RFC 5214 §6.1: an ISATAP interface identifier is 0000:5efe or 0200:5efe and an IPv4 address, under any prefix.
ISATAP_MARKS = frozenset({0x00005EFE, 0x02005EFE})


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return (
        address in GLOBAL_UNICAST_V6
        and not any(address in network for network in SPECIAL_V6)
        and (int(address) >> 32) & 0xFFFFFFFF not in ISATAP_MARKS
    )


def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether one of the networks contains the address; a zone id (`fe80::1%eth0`) is ignored."""
    return any(address in network for network in networks)
