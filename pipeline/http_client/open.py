"""The clients of the settings: one for downloads and one for asking gateways, each with its pace."""

from __future__ import annotations

from pipeline.config.settings import Settings
from pipeline.http_client.client import HttpClient
from pipeline.http_client.host_rate import LocalRateLimiter


def open_download_client(settings: Settings) -> HttpClient:
    """The client for media servers and webhooks."""
    client = _open_client(settings, per_host=settings.fetch_per_host, read_timeout_s=settings.fetch_read_timeout_s)
    client.rate_limiter = LocalRateLimiter(settings.fetch_rate, share=share_of_rate(settings))
    return client


def open_gateway_client(settings: Settings) -> HttpClient:
    """The client for asking gateways again, which may be silent for longer than media servers."""
    client = _open_client(settings, per_host=settings.reupload_concurrency, read_timeout_s=settings.reupload_timeout_s)
    client.rate_limiter = LocalRateLimiter(reupload_rates(settings), share=share_of_rate(settings))
    return client


def reupload_rates(settings: Settings) -> dict[str, float]:
    """How many requests a second each gateway gets."""
    return {"*": settings.reupload_per_minute / 60}


def share_of_rate(settings: Settings) -> float:
    """The share of a host's rate for a process without Redis: as if all processes ran on this machine."""
    return 1 / settings.web_concurrency


def _open_client(settings: Settings, *, per_host: int, read_timeout_s: float) -> HttpClient:
    client = HttpClient(
        allow_private=settings.fetch_allow_private,
        ports=settings.fetch_ports,
        per_host=per_host,
        connect_timeout_s=settings.fetch_connect_timeout_s,
        read_timeout_s=read_timeout_s,
    )
    client.use_proxies(settings.fetch_proxies)
    return client
