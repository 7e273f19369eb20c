"""Everything that goes out over HTTP: to public addresses only, within limits of time and size."""

from pipeline.http_client.body import Body
from pipeline.http_client.client import HttpClient, Reply
from pipeline.http_client.deadline import Allowance
from pipeline.http_client.host_rate import HostRateLimiter, HostRates, LocalRateLimiter, Requester

__all__ = ["Allowance", "Body", "HostRateLimiter", "HostRates", "HttpClient", "LocalRateLimiter", "Reply", "Requester"]
