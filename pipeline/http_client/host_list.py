"""A list of hosts that a download may go to, for files that no other server has."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.types import Network
from pipeline.errors import Code, PermanentError
from pipeline.http_client.addresses import is_within
from pipeline.http_client.host_patterns import normalized_host
from pipeline.http_client.ssrf_guard import LOCALHOST_ADDRESSES, Target, ip_address, is_localhost


class HostList:
    """Hosts by name, with a port or for every port; `*.example.com` for every name below it; `*` for all.

    Servers whose URL names an address within `networks` are included: these networks belong to the operator. `refusal`
    is the reason in the error for other hosts.
    """

    def __init__(self, names: Sequence[str], *, networks: Sequence[Network] = (), refusal: str) -> None:
        self._names = frozenset(name for name in names if not name.startswith("*"))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*"))
        self._networks = tuple(networks)
        self._refusal = refusal

    def includes(self, target: Target) -> bool:
        """Whether a download may go to this target."""
        host = normalized_host(target.host)
        if host in self._names or host.endswith(self._suffixes):
            return True
        return f"{host}:{target.port}" in self._names or self._is_in_networks(host)

    def check(self, target: Target) -> None:
        """
        Raises:
            PermanentError: `url_blocked`, if the target is not included.
        """
        if not self.includes(target):
            raise PermanentError(Code.URL_BLOCKED, f"{target.host} is not allowed: {self._refusal}")

    def _is_in_networks(self, host: str) -> bool:
        if not self._networks:
            return False
        addresses = LOCALHOST_ADDRESSES if is_localhost(host) else (host,)
        parsed = [address for text in addresses if (address := ip_address(text))]
        return any(is_within(address, self._networks) for address in parsed)
