"""The HTTP client through which everything goes out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urljoin

from pipeline.config.settings import Network
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client.body import Body
from pipeline.http_client.connection import StreamedResponse, TruncatedError
from pipeline.http_client.connection_pool import Slots
from pipeline.http_client.deadline import Allowance, Deadline
from pipeline.http_client.host_rate import HostRateLimiter, LocalRateLimiter, Requester, enter
from pipeline.http_client.response_parser import REDIRECTS, ProtocolError
from pipeline.http_client.responses import check_encoding, check_status, refusal_of, retry_after
from pipeline.http_client.ssrf_guard import Resolver, SsrfGuard, Target, parse_url, system_resolver
from pipeline.http_client.transport import NO_HEADERS, GuardedRequest, Transport

MAX_REDIRECTS = 5
TURN_S = 2.0  # how long a thread waits for its turn at a host before it makes itself useful elsewhere
MAX_THROWN_AWAY = 64 * 1024  # bytes of an answer to a post that are read so that its connection can be kept


@dataclass(frozen=True)
class Reply:
    """What a server said. `refusal` is the error that its status means, `retry_after` its wish in seconds, if any."""

    body: bytes = field(repr=False)
    refusal: PipelineError | None = None
    retry_after: float | None = None


class PostResult(NamedTuple):
    """What a receiver answered: a status, and the wait in seconds that it asks for, if any. Its words are not kept."""

    status: int
    retry_after: float | None = None


class HttpClient:
    """Sends requests to public addresses only, and keeps connections for the next ones. Safe for many threads.

    Every address that a name has is checked, and the connection goes to a checked one: a name that means something else
    a moment later changes nothing. Knows no proxies, no cookies and no passwords from the environment.

    `allow_private` names networks that are let through on any port; `ports` are those of public servers. `tls` and
    `resolver` replace the system's trusted certificates and its name service.
    The attribute `pace` says when files may be asked of a host; nobody has to wait unless it is set.
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
        self._guard = SsrfGuard(allow_private=allow_private, ports=ports, resolver=resolver)
        self._slots = Slots(per_host)
        self.rate_limiter: HostRateLimiter = LocalRateLimiter({})
        self._connect_timeout_s = connect_timeout_s
        self._transport = Transport(
            self._guard, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s, tls=tls
        )

    @contextmanager
    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        credentials: Mapping[str, str] = NO_HEADERS,
        trusted: str | None = None,
        deadline_s: Allowance,
        max_bytes: int,
        requester: Requester | None = None,
    ) -> Iterator[Body]:
        """Fetches a file, across at most five redirects. `credentials` are headers for the URL's own origin only.

        `trusted` is the URL of a server that the settings name: what lies at its origin is fetched wherever it stands.

        `deadline_s` bounds the whole from its turn at the host to the last byte: in seconds, or as a function from
        the bytes received so far (0 at first) to seconds.

        A `comer` takes its turn at each host that has a rate, the first one and those that it is redirected to.

        Raises:
            PermanentError: `url_blocked`, `url_scheme`, `too_large`, `fetch_tls`, `fetch_redirect`, `fetch_protocol`,
                and what `refusal_of` says.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout`, `fetch_reset`, `fetch_unavailable`.
            BusyError: `fetch_busy`, if as many files as are allowed are being fetched from this host.
            PacedError: `fetch_busy`, if it is not the comer's turn there.
        """
        clock = None
        target = self._guard.target(url, trusted=parse_url(trusted).origin if trusted else None)
        sent = {**headers, **credentials} if credentials else headers
        for _ in range(MAX_REDIRECTS + 1):
            with self._slots.hold(target.host, timeout_s=TURN_S):
                if requester:
                    enter(self.rate_limiter, target.host, requester)
                clock = clock or Deadline(deadline_s)  # waiting for a turn is not the server's slowness
                with self._transport.send(GuardedRequest("GET", target, headers=sent, clock=clock)) as exchange:
                    answer = exchange.raw
                    if answer.status not in REDIRECTS:
                        check_status(answer, target.host, introduced=sent is not headers)
                        check_encoding(answer)
                        yield Body(answer, max_bytes=max_bytes, host=target.host)
                        return
                    place = self._redirected(target, answer)
            # Once away from the first origin, credentials do not come back: a redirect may lead there again.
            sent = sent if place.origin == target.origin else headers
            target = place
        raise PermanentError(Code.FETCH_REDIRECT, f"{target.host} redirects too often")

    def ask(self, url: str, *, credentials: Mapping[str, str], timeout_s: float, max_bytes: int) -> Reply:
        """Asks a server that explains its refusals: the whole answer, whatever its status. Redirects are not followed.

        A refusal whose explanation is too large or breaks off comes with an empty body.

        Raises:
            PermanentError: `url_blocked`, `url_scheme`, `too_large`, `fetch_tls` or `fetch_protocol`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout`, `fetch_reset` or `fetch_truncated`.
            BusyError: `fetch_busy`, as in `get`.
        """
        target = self._guard.target(url)
        with self._slots.hold(target.host, timeout_s=TURN_S):
            request = GuardedRequest("GET", target, headers=credentials, clock=Deadline(timeout_s))
            with self._transport.send(request) as exchange:
                answer = exchange.raw
                refusal = refusal_of(answer, target.host, introduced=bool(credentials))
                body = b""
                try:
                    check_encoding(answer)
                    body = b"".join(Body(answer, max_bytes=max_bytes, host=target.host).chunks())
                except PipelineError:
                    if not refusal:
                        raise
                return Reply(body, refusal, retry_after(answer.headers.get("Retry-After")))

    def post(self, url: str, body: bytes, *, headers: Mapping[str, str], timeout_s: float) -> PostResult:
        """Sends `body` and tells the status of the answer. Redirects are not followed; the answer is thrown away.

        A receiver may see the same request twice, if its server closes a kept connection just then.

        Raises:
            PermanentError: `url_blocked`, `url_scheme`, `fetch_tls` or `fetch_protocol`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout` or `fetch_reset`.
        """
        clock = Deadline(timeout_s)
        target = self._guard.target(url)
        headers = {"Content-Length": str(len(body)), **headers}
        request = GuardedRequest("POST", target, headers=headers, clock=clock, body=body)
        with self._transport.send(request) as exchange:
            answer = exchange.raw
            # The status is known: whatever is wrong with the rest costs the connection only.
            with suppress(OSError, ProtocolError, TruncatedError):
                answer.discard(MAX_THROWN_AWAY)
            return PostResult(answer.status, retry_after(answer.headers.get("Retry-After")))

    def check(self, url: str) -> None:
        """Whether this URL may be used, as far as can be told now: each use checks again.

        A name that does not resolve just now passes.

        Raises:
            PermanentError: `url_blocked` or `url_scheme`.
        """
        target = self._guard.target(url)
        with suppress(RetryableError):
            self._guard.addresses(target, timeout_s=self._connect_timeout_s)

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._transport.close()

    def _redirected(self, target: Target, answer: StreamedResponse) -> Target:
        location = answer.headers.get("Location")
        if not location:
            raise PermanentError(Code.FETCH_REDIRECT, f"{target.host} redirects to nowhere")
        # Headers are read as Latin-1, servers send UTF-8.
        location = location.encode("latin-1", "replace").decode("utf-8", "replace")
        try:
            place = self._guard.target(urljoin(target.url, location), trusted=target.origin if target.trusted else None)
        except (PermanentError, ValueError) as error:
            raise PermanentError(Code.URL_BLOCKED, f"{target.host} redirects to a forbidden place") from error
        if target.scheme == "https" and place.scheme == "http":
            raise PermanentError(Code.URL_BLOCKED, f"{target.host} redirects from https to http")
        return place
