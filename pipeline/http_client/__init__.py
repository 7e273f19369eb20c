"""The HTTP client: connects to public addresses only, within limits of time and size."""

from pipeline.http_client.body import Body
from pipeline.http_client.client import HttpClient
from pipeline.http_client.deadline import Deadline
from pipeline.http_client.exchanges import ApiReply, ApiRequest, DownloadLimits, Reply
from pipeline.http_client.host_list import HostList
from pipeline.http_client.host_rate import HostRateLimiter, HostRates, LocalRateLimiter, Requester

__all__ = [
    "ApiReply",
    "ApiRequest",
    "Body",
    "Deadline",
    "DownloadLimits",
    "HostList",
    "HostRateLimiter",
    "HostRates",
    "HttpClient",
    "LocalRateLimiter",
    "Reply",
    "Requester",
]
