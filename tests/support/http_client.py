"""HTTP clients for tests, and a resolver with fixed answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from pipeline.http_client import Deadline, DownloadLimits, HttpClient

LOOPBACK = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128")))


class Names:
    """A resolver that returns one list of addresses for each call, and the last one for all further calls."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def local_http_client(**given: Any) -> HttpClient:
    """A client that may connect to loopback, with short timeouts."""
    return HttpClient(**{"allow_private": LOOPBACK, "connect_timeout_s": 1, "read_timeout_s": 1, **given})


def download(
    http_client: HttpClient, url: str, *, max_bytes: int = 10_000_000, deadline_s: Any = 5, **given: Any
) -> bytes:
    """The whole body of one GET."""
    with http_client.download(url, limits=DownloadLimits(Deadline(deadline_s), max_bytes), **given) as body:
        return b"".join(body.chunks())
