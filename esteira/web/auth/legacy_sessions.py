"""Session tokens of versions before gateways were part of a session's name.

Such a token names a session without its gateway. It is accepted only while a single gateway has a session with this
name, so it never opens another one's. New tokens name the gateway.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.gateways import UnauthorizedError
from pipeline.services import services

KNOWN_FOR_S = 30.0
MAX_KNOWN = 1000


class LegacySessions:
    """The gateway of each session that such a token has named lately."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, str | None]] = {}  # session → when it was read, its only gateway

    def gateway_of(self, session: str) -> str:
        """The only gateway that has a session with this name.

        Raises:
            UnauthorizedError: there is none, or more than one.
            RetryableError: `catalogue`.
        """
        read_at, gateway = self._known.get(session, (float("-inf"), None))
        if self._clock() - read_at >= KNOWN_FOR_S:
            gateways = services().catalogue.sessions.gateways_of(session)
            gateway = gateways[0] if len(gateways) == 1 else None
            if len(self._known) >= MAX_KNOWN:
                self._known = {}
            self._known[session] = self._clock(), gateway
        if gateway is None:
            raise UnauthorizedError(
                "this token of an older version names no gateway, and not exactly one gateway has its session: issue a "
                "new one with `esteira token SESSION --gateway NAME`"
            )
        return gateway
