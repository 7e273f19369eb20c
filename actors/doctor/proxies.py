"""Checks of the proxies in FETCH_PROXY: each of them accepts connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from actors.doctor.finding import Finding, fail, ok
from pipeline.config.proxies import Proxy
from pipeline.config.settings import Settings
from pipeline.errors import RetryableError
from pipeline.http_client import HttpClient

REMEDY = "start the proxy or correct FETCH_PROXY; downloads through it fail until then"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """A finding for each proxy, without its login; a single one if there is none."""
    if not settings.fetch_proxies:
        yield ok("proxies", "FETCH_PROXY is not set: media servers are reached directly")
        return
    hosts: dict[Proxy | None, list[str]] = {}
    for pattern, proxy in settings.fetch_proxies.items():
        hosts.setdefault(proxy, []).append(pattern)
    with closing(HttpClient(connect_timeout_s=settings.fetch_connect_timeout_s)) as http_client:
        for proxy, patterns in hosts.items():
            yield _check(http_client, proxy, ", ".join(patterns))


def _check(http_client: HttpClient, proxy: Proxy | None, patterns: str) -> Finding:
    if proxy is None:
        return ok("proxies", f"{patterns}: directly")
    try:
        http_client.check_proxy(proxy)
    except RetryableError as error:
        return fail("proxies", f"{patterns}: {error.message}", REMEDY)
    login = "" if proxy.user is None else "; its login is tried with the first download"
    return ok("proxies", f"{patterns}: {proxy.name} accepts connections{login}")
