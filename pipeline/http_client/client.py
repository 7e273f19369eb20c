"""The HTTP client that every outgoing request goes through."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict

from pipeline.config.proxies import Proxy
from pipeline.config.types import Network
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client.adapter import DEFAULT_HEADERS, NO_HEADERS, GuardedAdapter, GuardedRequest
from pipeline.http_client.body import Body
from pipeline.http_client.connection import StreamedResponse, TruncatedError
from pipeline.http_client.connection_pool import HostSlots
from pipeline.http_client.deadline import Deadline
from pipeline.http_client.exchanges import ApiReply, ApiRequest, DownloadLimits, PostResult, Reply
from pipeline.http_client.host_patterns import HostPatterns
from pipeline.http_client.host_rate import HostRateLimiter, LocalRateLimiter, Requester, check_rate
from pipeline.http_client.response_parser import REDIRECTS, ProtocolError
from pipeline.http_client.responses import check_encoding, parse_retry_after, status_error
from pipeline.http_client.ssrf_guard import Resolver, SsrfGuard, Target, join_url, parse_url, system_resolver

MAX_REDIRECTS = 5
HOST_SLOT_WAIT_S = 2.0  # how long a thread waits for a free slot of a host before it does other work
MAX_DISCARDED = 64 * 1024  # bytes of a webhook's response that are read so that its connection can be kept
MAX_REPLY_BYTES = 64 * 1024  # of an API


class HttpClient:
    """Sends requests to public addresses only, and keeps connections open for further requests. Safe for many threads.

    Every address of a host name is checked, and the connection goes to a checked address: a name that resolves to
    another address a moment later changes nothing. Uses no proxies, no cookies and no passwords from the environment.

    `allow_private` lists networks that are allowed on any port; `ports` are the allowed ports of public servers.
    `tls` and `resolver` replace the system's trusted certificates and its name resolution.
    Set the attribute `rate_limiter` to limit how many files per second are requested from a host.
    """

    def __init__(
        self,
        *,
        allow_private: Sequence[Network] = (),
        ports: Sequence[int] = (80, 443),
        per_host: int = 8,
        connect_timeout_s: float = 5,
        read_timeout_s: float = 15,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver = system_resolver,
    ) -> None:
        self.rate_limiter: HostRateLimiter = LocalRateLimiter({})
        self._guard = SsrfGuard(allow_private=allow_private, ports=ports, resolver=resolver)
        self._slots = HostSlots(per_host)
        self._connect_timeout_s = connect_timeout_s
        self._adapter = GuardedAdapter(
            self._guard,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            tls=tls,
            max_reply_bytes=MAX_REPLY_BYTES,
        )
        self._session = _ApiSession(self._adapter)

    def use_proxies(self, proxies: Mapping[str, Proxy | None]) -> None:
        """Sends downloads and API calls through these proxies, by the name of the host or a pattern; None is direct.

        Webhooks, and servers from the settings, are reached directly.
        """
        self._adapter.proxies = HostPatterns(proxies)

    def check_proxy(self, proxy: Proxy) -> None:
        """Connects to a proxy, and closes the connection before the login.

        Raises:
            RetryableError: `fetch_proxy`.
        """
        self._adapter.check_proxy(proxy)

    @contextmanager
    def download(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        credentials: Mapping[str, str] = NO_HEADERS,
        trusted_url: str | None = None,
        limits: DownloadLimits,
        requester: Requester | None = None,
    ) -> Iterator[Body]:
        """Requests a file, and follows at most five redirects.

        `headers` are sent to every server, `credentials` only to the origin of the URL. `trusted_url` is the URL of a
        server from the settings: URLs of its origin are allowed at any address.

        A `requester` is subject to the rate limit of each host, also of hosts that it is redirected to.

        Raises:
            PermanentError: `url_blocked`, `url_scheme`, `too_large`, `fetch_tls`, `fetch_redirect`, `fetch_protocol`,
                and those of `status_error`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout`, `fetch_reset`, `fetch_proxy`,
                `fetch_unavailable`.
            BusyError: `fetch_busy`, if FETCH_PER_HOST files are being downloaded from this host.
            PacedError: `fetch_busy`, if the host's rate limit is reached.
        """
        target = self._guard.check_url(url, trusted_origin=parse_url(trusted_url).origin if trusted_url else None)
        deadline, max_bytes, hosts = limits
        if hosts:
            hosts.check(target)
        sent = {**headers, **credentials} if credentials else headers
        for number in range(MAX_REDIRECTS + 1):
            wait_began = time.monotonic()
            with self._slots.hold(target.host, timeout_s=HOST_SLOT_WAIT_S):
                if requester:
                    check_rate(self.rate_limiter, target.host, requester)
                if number == 0:  # waiting for a slot is not the server's slowness; redirecting to a busy host is
                    deadline.postpone(time.monotonic() - wait_began)
                with self._adapter.open(GuardedRequest("GET", target, deadline, sent, proxied=True)) as response:
                    if response.status not in REDIRECTS:
                        if error := status_error(response, target.host, authenticated=sent is not headers):
                            raise error
                        check_encoding(response.headers)
                        yield Body(response, max_bytes=max_bytes, host=target.host)
                        return
                    redirected = self._redirect_target(target, response)
                    if hosts:
                        hosts.check(redirected)
            # Credentials are not sent again after leaving the first origin, even if a redirect leads back there.
            sent = sent if redirected.origin == target.origin else headers
            target = redirected
        raise PermanentError(Code.FETCH_REDIRECT, f"{target.host} redirects more than {MAX_REDIRECTS} times")

    def call_api(self, url: str, *, headers: Mapping[str, str], timeout_s: float) -> ApiReply:
        """GETs JSON from an API. Returns the reply whatever its status; redirects are not followed.

        If the body of an error reply is too large or breaks off, the reply's content is None.

        Raises:
            PermanentError: `url_blocked`, `url_scheme`, `too_large`, `fetch_tls` or `fetch_protocol`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout`, `fetch_reset` or `fetch_truncated`.
            BusyError: `fetch_busy`, as in `download`.
        """
        target = self._guard.check_url(url)
        with (
            self._slots.hold(target.host, timeout_s=HOST_SLOT_WAIT_S),
            self._session.get(
                target.url, headers=dict(headers), timeout=timeout_s, stream=True, allow_redirects=False
            ) as response,
        ):
            error = status_error(response, target.host, authenticated=bool(headers))
            retry_after = parse_retry_after(response.headers.get("Retry-After"))
            try:
                return ApiReply(_json(response), error, retry_after)
            except PipelineError:
                if not error:
                    raise
                return ApiReply(None, error, retry_after)

    @contextmanager
    def exchange(self, request: ApiRequest, *, trusted_url: str, deadline: Deadline) -> Iterator[Reply]:
        """Sends a request to the server at `trusted_url`, which may have any address. Redirects are not followed.

        Raises:
            PermanentError: `url_blocked`, `url_scheme`, `fetch_tls` or `fetch_protocol`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout` or `fetch_reset`.
            BusyError: `fetch_busy`, as in `download`.
        """
        target = self._guard.check_url(request.url, trusted_origin=parse_url(trusted_url).origin)
        headers = {**request.headers, "Content-Length": str(len(request.body))} if request.body else request.headers
        wait_began = time.monotonic()
        with self._slots.hold(target.host, timeout_s=HOST_SLOT_WAIT_S):
            deadline.postpone(time.monotonic() - wait_began)
            guarded = GuardedRequest(request.method, target, deadline, headers, request.body)
            with self._adapter.open(guarded) as response:
                yield Reply(response, target.host, authenticated=bool(request.headers))

    def post(self, url: str, body: bytes, *, headers: Mapping[str, str], timeout_s: float) -> PostResult:
        """POSTs `body` to a webhook and returns the status. Redirects are not followed, the response is discarded.

        The URL is one of the settings: it may name this machine, on any port. Downloads from there are refused all the
        same, and use other connections.

        A receiver may get the same request twice, if its server closes a kept connection at that moment.

        Raises:
            PermanentError: `url_blocked`, `url_scheme`, `fetch_tls` or `fetch_protocol`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout` or `fetch_reset`.
        """
        deadline = Deadline(timeout_s)
        target = self._guard.check_url(url, own_machine=True)
        headers = {"Content-Length": str(len(body)), **headers}
        with self._adapter.open(GuardedRequest("POST", target, deadline, headers, body)) as response:
            # The status is known: an error in the rest only costs the connection.
            with suppress(OSError, ProtocolError, TruncatedError):
                response.discard(MAX_DISCARDED)
            return PostResult(response.status, parse_retry_after(response.headers.get("Retry-After")))

    def check_url(self, url: str, *, own_machine: bool = False) -> None:
        """Checks whether this URL may be requested. Each request checks it again; a name that does not resolve passes.

        `own_machine`: it is the URL of a webhook, which may name this machine.

        Raises:
            PermanentError: `url_blocked` or `url_scheme`.
        """
        target = self._guard.check_url(url, own_machine=own_machine)
        with suppress(RetryableError):
            self._guard.resolve(target, timeout_s=self._connect_timeout_s)

    def close(self) -> None:
        """Closes the kept connections."""
        self._session.close()

    def _redirect_target(self, target: Target, response: StreamedResponse) -> Target:
        location = response.headers.get("Location")
        if not location:
            raise PermanentError(Code.FETCH_REDIRECT, f"{target.host} redirects without a Location")
        # Headers are decoded as Latin-1, and servers send UTF-8.
        location = location.encode("latin-1", "replace").decode("utf-8", "replace")
        try:
            redirected = self._guard.check_url(
                join_url(target.url, location), trusted_origin=target.origin if target.trusted else None
            )
        except PermanentError as error:
            raise PermanentError(Code.URL_BLOCKED, f"{target.host} redirects to a URL that is not allowed") from error
        if target.scheme == "https" and redirected.scheme == "http":
            raise PermanentError(Code.URL_BLOCKED, f"{target.host} redirects from https to http")
        return redirected


class _ApiSession(requests.Session):
    """A session whose requests all go through the guarded adapter, and which follows no redirects."""

    def __init__(self, adapter: GuardedAdapter) -> None:
        super().__init__()
        self.trust_env = False  # no proxies, no .netrc
        self.headers = CaseInsensitiveDict(DEFAULT_HEADERS)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002  the signature of requests
        return None


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None
