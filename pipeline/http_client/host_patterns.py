"""Values of hosts by name or pattern, as FETCH_RATE and FETCH_PROXY have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class HostPatterns(Generic[T]):
    """A value for each host.

    An exact name takes precedence over a pattern (`*.example.com` for every name below it), the longest pattern over
    shorter ones, and `*` comes last.
    """

    def __init__(self, values: Mapping[str, T]) -> None:
        self._names = {name: value for name, value in values.items() if not name.startswith("*")}
        patterns = [(name[1:], value) for name, value in values.items() if name.startswith("*")]
        self._suffixes = sorted(patterns, key=lambda pattern: -len(pattern[0]))

    def of(self, host: str) -> T | None:
        """The value of a host; None if neither its name nor a pattern has one."""
        host = normalized_host(host)
        if host in self._names:
            return self._names[host]
        return next((value for suffix, value in self._suffixes if host.endswith(suffix)), None)


def normalized_host(host: str) -> str:
    """A host's name in lower case and without the final dot, as in the settings."""
    return host.rstrip(".").lower()
