"""Who may call: gateways by their own secrets, everybody else by the API_TOKEN or by a pass made with it."""

from __future__ import annotations

import ipaddress
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from fastapi import Request
from starlette.exceptions import HTTPException

from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.gateways import GATEWAYS, Gateway, HookRequest, NoSecretError, UnauthorizedError
from pipeline.gateways.verification import bearer_token, constant_time_equal
from pipeline.models import Record
from pipeline.security.tokens import TokenSigner

TOLD_EVERY_S = 60.0
# What a proxy or a tunnel adds for those it calls for, and a browser for the page that sends.
FORWARDED = frozenset(
    {
        *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"),
        *("cf-connecting-ip", "true-client-ip", "origin", "sec-fetch-site"),
    }
)
OWN_NAME = re.compile(r"(localhost|[0-9.]+|\[[0-9a-f:.]+\])(?::[0-9]+)?", re.IGNORECASE)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who asks: somebody who may see everything, or one session, or one attachment."""

    session: str | None = None
    media_id: str | None = None

    def sees(self, record: Record) -> bool:
        """Whether this attachment exists for the caller."""
        return self.session in {None, record.session} and self.media_id in {None, record.id}


class Authenticator:
    """Lets requests pass that show their secret; says in the log what is missing or wrong, once a minute each."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._signer = _signer(settings)
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def verify_hook(self, gateway: Gateway, request: HookRequest, *, local: bool) -> None:
        """Returns if this request may pass. `local` tells that it comes from this machine.

        Raises:
            UnauthorizedError: it may not.
        """
        if local and self._settings.allow_unsigned_hooks:
            return
        try:
            gateway.verify(request, self._settings)
        except NoSecretError as error:
            self.warn_missing_secret(error.setting)
            raise
        except UnauthorizedError as error:
            # Some gateways keep to themselves what they are answered.
            name = next(name for name, one in GATEWAYS.items() if one is gateway)
            if self._is_due(name):
                log.warning("hook refused: its secret is missing or wrong", gateway=name, remedy=error.message)
            raise

    def authenticate(self, request: Request) -> Caller:
        """Who shows the API_TOKEN, which opens everything, or a session's token.

        Raises:
            UnauthorizedError: it is neither.
        """
        given = HookRequest(request_headers(request), b"")
        token = bearer_token(given.header("authorization"))
        session = self._signer.session_of(token) if self._signer and token.isascii() else None
        if session is None:
            self.verify_hook(GATEWAYS["media"], given, local=False)
        return Caller(session)

    def authenticate_content(self, request: Request) -> Caller:
        """As `admit`, but a signed link will do, which opens the content that it names.

        Raises:
            UnauthorizedError: nothing that it shows opens anything.
        """
        asked = request.query_params
        if "signature" not in asked or "authorization" in request.headers:
            return self.authenticate(request)
        media_id = request.path_params["media_id"]
        if not (self._signer and self._signer.is_valid_link(media_id, asked.get("expires", ""), asked["signature"])):
            raise UnauthorizedError("this link is wrong or has expired")
        return Caller(media_id=media_id)

    def require_api_token(self, request: Request) -> None:
        """Returns if the request shows the API_TOKEN.

        Raises:
            UnauthorizedError: it does not.
            HTTPException: 403, if it shows a session's token, which changes nothing and sees no other's figures.
        """
        if self.authenticate(request) != Caller():
            raise HTTPException(403, "a session's token only reads: this needs the API_TOKEN")

    def authenticate_token(self, token: str) -> tuple[Caller, int | None]:
        """Who a token lets in, and when it expires in Unix seconds; None for the API_TOKEN, which does not.

        Raises:
            UnauthorizedError: it is neither the API_TOKEN nor a session's token.
        """
        shown = self._signer.read(token) if self._signer and token.isascii() else None
        if shown is not None:
            return Caller(shown.session), shown.expires
        self.verify_hook(GATEWAYS["media"], HookRequest({"authorization": f"Bearer {token}"}, b""), local=False)
        return Caller(), None

    def signer(self) -> TokenSigner:
        """Raises SettingsError if the API_TOKEN is too short to make any."""
        return self._signer or TokenSigner(self._settings.api_token)

    def require_metrics_token(self, request: Request) -> None:
        """Returns if the request shows the METRICS_TOKEN, or else the API_TOKEN.

        Raises:
            UnauthorizedError: it shows neither.
        """
        expected = self._settings.metrics_token
        given = bearer_token(request_headers(request).get("authorization", ""))
        if expected is None or not constant_time_equal(given, expected.get_secret_value()):
            self.require_api_token(request)

    def warn_missing_secret(self, setting: str) -> None:
        """Says in the log that a setting is missing."""
        if self._is_due(setting):
            log.warning("hook refused: until its secret is set, nobody can be let in", setting=setting)

    def _is_due(self, what: str) -> bool:
        with self._lock:
            now = self._clock()
            if now - self._told.get(what, -TOLD_EVERY_S) < TOLD_EVERY_S:
                return False
            self._told[what] = now
        return True


def request_headers(request: Request) -> dict[str, str]:
    """The headers by their lower-case names, as UTF-8: bytes that are none survive a comparison."""
    return {name.decode("latin-1"): value.decode("utf-8", "surrogateescape") for name, value in request.headers.raw}


def is_local_request(request: Request) -> bool:
    """Whether a request came from this machine to a loopback address of it, and is passed on for nobody else.

    A proxy, a tunnel or a browser on this machine calls from it too. It says for whom, or asks for the name that they
    used, or speaks HTTP/1.0 as proxies do that are not told otherwise; one that hides all of it cannot be told apart.
    """
    ends = (request.scope.get("client"), request.scope.get("server"))
    asked = OWN_NAME.fullmatch(request.headers.get("host", ""))
    direct = request.scope.get("http_version") != "1.0" and FORWARDED.isdisjoint(request.headers.keys())
    addresses = [end[0] for end in ends if end] + ([asked[1].strip("[]")] if asked else [])
    return direct and len(addresses) == 3 and all(map(_is_loopback, addresses))


def _is_loopback(address: str) -> bool:
    if address.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _signer(settings: Settings) -> TokenSigner | None:
    try:
        return TokenSigner(settings.api_token)
    except SettingsError:
        return None
