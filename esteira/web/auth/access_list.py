"""The users' tokens and what was ended, as this process last read them from the catalogue.

A request is checked against this copy, so it never waits for the database. A background task reads it every REFRESH_S
seconds: a revoked token ends within that time in every process. While the catalogue is away, the copy is valid for
MAX_AGE_S seconds; after that, users' tokens are refused with 503 until the catalogue answers again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping

import structlog
from starlette.concurrency import run_in_threadpool

from pipeline.catalogue.user_tokens import AccessSnapshot, Ended, UserToken, subject
from pipeline.errors import Code, PipelineError, RetryableError
from pipeline.security.callers import Caller
from pipeline.security.tokens import Login
from pipeline.security.user_tokens import PresentedToken, is_token_id
from pipeline.services import services

REFRESH_S = 2.0
RECENT_S = 0.5  # a token that is not known is looked up again if the copy is older than this
MAX_AGE_S = 300.0
MAX_UNKNOWN_AGE_S = 10.0  # with an older copy it is not known whether an unknown token exists
USED_EVERY_MS = 10 * 60 * 1000  # `used_at` is written at most this often

log = structlog.get_logger(__name__)


class AccessList:
    """The copy of one process. Only `refresh` waits for the catalogue; it is called in threads."""

    def __init__(
        self,
        load: Callable[[], AccessSnapshot],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` returns Unix seconds."""
        self._load = load
        self._clock = clock
        self._monotonic = monotonic
        self._started_ms = self._now_ms()
        self._snapshot = AccessSnapshot({}, {})
        self._read_at: float | None = None
        self._unwritten: dict[str, Ended] = {}  # ended here, and not in the catalogue yet
        self._used: dict[str, int] = {}  # token id → when it was used last, in Unix ms
        self._refreshing = threading.Lock()
        self._ending = threading.Lock()  # `end` is called on the event loop while a thread refreshes

    @property
    def age_s(self) -> float:
        """The age of the copy; infinite if nothing was read yet."""
        return float("inf") if self._read_at is None else self._monotonic() - self._read_at

    def find(self, presented: PresentedToken) -> Caller | None:
        """The caller of a user's token; None if it is not valid.

        Raises:
            RetryableError: `catalogue`: the copy is too old.
        """
        token = self._snapshot.tokens.get(presented.id)
        if token is None or not (presented.matches(token.secret_hash) and token.is_active(self._now_ms())):
            return None
        self.require_age(MAX_AGE_S)
        self._used[token.id] = self._now_ms()
        return caller_of_token(token)

    def user(self, token_id: str) -> Caller | None:
        """The caller of a user's token by its id; None if it is not valid any more."""
        token = self._snapshot.tokens.get(token_id)
        return caller_of_token(token) if token is not None and token.is_active(self._now_ms()) else None

    def is_login_ended(self, login: Login, name: str) -> bool:
        """Whether a login of this user was ended, or all logins of the user since it began."""
        if self._read_at is None and login.began_at < self._started_ms:
            return True  # it is not known yet: only logins of this process are valid
        all_of_user = self.ended("logins-of", name)
        return self.ended("login", login.id) is not None or (
            all_of_user is not None and login.began_at <= all_of_user.at
        )

    def ended(self, kind: str, name: str) -> Ended | None:
        """When this was ended, if it was; see `pipeline.catalogue.user_tokens.subject`."""
        key = subject(kind, name)
        return self._unwritten.get(key) or self._snapshot.ended.get(key)

    def is_current(self, caller: Caller) -> bool:
        """Whether the token of a caller has neither expired nor been revoked since it was shown."""
        if caller.expires is not None and self._clock() >= caller.expires:
            return False
        if caller.token_id is None:
            return True
        if is_token_id(caller.token_id):
            return self.user(caller.token_id) is not None
        return self.ended("session-token", caller.token_id) is None

    def require_age(self, max_age_s: float) -> None:
        """Returns if the copy is recent enough.

        Raises:
            RetryableError: `catalogue`.
        """
        if self.age_s > max_age_s:
            raise RetryableError(Code.CATALOGUE, "tokens cannot be checked now: the catalogue does not answer")

    def end(self, kind: str, name: str, *, until_s: float) -> None:
        """Ends something at once in this process, and with the next refresh in all others."""
        ended = Ended(self._now_ms(), int(until_s * 1000))
        with self._ending:
            self._unwritten = {**self._unwritten, subject(kind, name): ended}

    def refresh(self, *, older_than_s: float = 0.0) -> None:
        """Reads the catalogue again, unless the copy is recent or another thread is reading it."""
        if self.age_s < older_than_s or not self._refreshing.acquire(blocking=False):
            return
        try:
            written = self._write()
            began = self._monotonic()
            self._snapshot = self._load()
            self._read_at = began
            with self._ending:  # kept until the copy has them
                self._unwritten = {name: at for name, at in self._unwritten.items() if written.get(name) != at}
        except PipelineError as error:
            log.debug("tokens could not be read", error=error.message)
        finally:
            self._refreshing.release()

    async def keep_current(self) -> None:
        """Refreshes until the task is cancelled."""
        while True:
            try:
                await run_in_threadpool(self.refresh)
            except Exception as error:  # noqa: BLE001  (edge of a task that must not die; it reads again)
                log.warning("tokens could not be read", error=type(error).__name__)
            await asyncio.sleep(REFRESH_S)

    def _write(self) -> Mapping[str, Ended]:
        tokens, store = self._snapshot.tokens, services().catalogue.user_tokens
        if unwritten := self._unwritten:
            store.end(unwritten)
        used, self._used = self._used, {}
        due = [name for name, at in used.items() if name in tokens and at - (tokens[name].used_at or 0) > USED_EVERY_MS]
        store.mark_used(due, at=self._now_ms())
        return unwritten

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def caller_of_token(token: UserToken) -> Caller:
    """The caller of a user's token."""
    expires = token.expires_at // 1000 if token.expires_at is not None else None
    return Caller(token.name, token.role, token.scope, token_id=token.id, expires=expires)


def _load() -> AccessSnapshot:
    return services().catalogue.user_tokens.snapshot()  # opened at first use, after the fork of a web process


def build_access_list() -> AccessList:
    """The copy of this process."""
    return AccessList(_load)
