"""Who may call: the gateways' own secrets, the token for everything else, and nobody without either."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable

import structlog
from fastapi import Request

from pipeline.gateways import GATEWAYS, Gateway, HookRequest, NoSecretError
from pipeline.gateways.verification import bearer, same
from pipeline.settings import Settings

TOLD_EVERY_S = 60.0
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

log = structlog.get_logger(__name__)


class Doorkeeper:
    """Lets requests pass that show their secret; says in the log which setting is missing, once a minute."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def check(self, gateway: Gateway, request: HookRequest, *, local: bool) -> None:
        """Returns if this request may pass. `local` tells that it comes from this machine.

        Raises:
            UnauthorizedError: it may not.
        """
        if local and self._settings.allow_unsigned_hooks:
            return
        try:
            gateway.verify(request, self._settings)
        except NoSecretError as error:
            self.tell(error.setting)
            raise

    def check_token(self, request: Request) -> None:
        """Returns if the request shows the API_TOKEN.

        Raises:
            UnauthorizedError: it does not.
        """
        self.check(GATEWAYS["media"], HookRequest(headers_of(request), b""), local=False)

    def check_metrics_token(self, request: Request) -> None:
        """Returns if the request shows the METRICS_TOKEN, or else the API_TOKEN.

        Raises:
            UnauthorizedError: it shows neither.
        """
        expected = self._settings.metrics_token
        given = bearer(headers_of(request).get("authorization", ""))
        if expected is None or not same(given, expected.get_secret_value()):
            self.check_token(request)

    def tell(self, setting: str) -> None:
        """Says in the log that a setting is missing."""
        with self._lock:
            now = self._clock()
            if now - self._told.get(setting, -TOLD_EVERY_S) < TOLD_EVERY_S:
                return
            self._told[setting] = now
        log.warning("hook refused: until its secret is set, nobody can be let in", setting=setting)


def headers_of(request: Request) -> dict[str, str]:
    """The headers by their lower-case names, as UTF-8: bytes that are none survive a comparison."""
    return {name.decode("latin-1"): value.decode("utf-8", "surrogateescape") for name, value in request.headers.raw}


def is_local(request: Request) -> bool:
    """Whether a request came from this machine to a loopback address of it, and is passed on for nobody else.

    A proxy or a tunnel on this machine calls from it too, but says for whom.
    """
    ends = (request.scope.get("client"), request.scope.get("server"))
    return all(end and _is_loopback(end[0]) for end in ends) and not any(name in request.headers for name in FORWARDED)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
