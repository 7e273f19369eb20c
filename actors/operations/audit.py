"""Records actions in the audit log: the entry is written before the action, its result afterwards.

An action whose entry cannot be written does not start. If the result cannot be written, the entry keeps the outcome
`started`, and the log has the result.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import redis
import structlog

from pipeline.catalogue import Action, Actor, AuditOutcome
from pipeline.errors import Code, PipelineError
from pipeline.scrubber import Scrubber
from pipeline.services import services

ADVANCE_EVERY_S = 1.0  # how often the count of a long action is written; a killed process loses at most that much
MAX_SCRUBBED = 2000  # characters of a text; what is stored is shorter
MAX_REFUSALS = 60  # entries per REFUSAL_WINDOW_S about refused callers, who could fill the database otherwise
REFUSAL_WINDOW_S = 60.0
REFUSALS = frozenset({Code.UNAUTHORIZED, Code.FORBIDDEN})
INTERRUPTIONS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)

# A user's token, and a session's token: people paste one in place of a name by mistake.
_TOKEN = re.compile(r"est_[0-9a-f]{12}_[\w-]*|eyJ[\w.-]*", re.ASCII)
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://\S+", re.IGNORECASE)

log = structlog.get_logger(__name__)


class AuditEntry:
    """The entry of one action: `begin` it before the first change, then `complete` it, or use it as a context manager.

    An entry that was not begun leaves nothing in the audit log: a dry run, or an action that was not confirmed.
    `count` is how many things were changed. Unless it is set, it is 1 for an action that succeeds, and else 0.
    """

    def __init__(self, actor: Actor, action: Action) -> None:
        self.actor = actor
        self.action = action
        self.count: int | None = None
        self._id: str | None = None
        self._detail: dict[str, Any] = {}
        self._advanced_at = 0.0

    @property
    def begun(self) -> bool:
        return self._id is not None

    def begin(self, target: Mapping[str, Any], *, action: Action | None = None) -> None:
        """Writes the entry. `target` is what the caller selected: ids, or filters. `action` replaces the first one.

        Raises:
            RetryableError: `catalogue`: the action must not start.
        """
        self.action = action or self.action
        self._advanced_at = time.monotonic()
        self._id = services().catalogue.audit.begin(self.actor, self.action, without_secrets(target))

    def advance(self, n: int = 1) -> None:
        """Adds to the count of a long action, and writes it once a second."""
        self.count = (self.count or 0) + n
        if self._id is None or time.monotonic() - self._advanced_at < ADVANCE_EVERY_S:
            return
        self._advanced_at = time.monotonic()
        try:
            services().catalogue.audit.advance(self._id, count=self.count)
        except PipelineError as error:
            log.warning("audit entry not updated", entry=self._id, error=error.message)

    def note(self, **detail: Any) -> None:
        """Adds to what the entry says about the result, except zeros. Never pass a token, a key or a URL."""
        self._detail |= {name: value for name, value in detail.items() if value}

    def complete(self, error: BaseException | None = None, *, interrupted: bool = False) -> None:
        """Writes the result, with the code of the error if the action failed. Does nothing without `begin`."""
        if self._id is None:
            return
        outcome = AuditOutcome.INTERRUPTED if interrupted else outcome_of(error)
        detail = self._detail | ({"error": _code(error)} if error and outcome is not AuditOutcome.INTERRUPTED else {})
        count = int(outcome is AuditOutcome.DONE) if self.count is None else self.count
        try:
            services().catalogue.audit.complete(self._id, outcome, count=count, detail=without_secrets(detail))
        except PipelineError as fault:  # the action is over, so this is no reason to report it as failed
            log.warning(
                "audit entry not completed",
                entry=self._id,
                action=self.action,
                outcome=outcome,
                count=count,
                error=fault.message,
                consequence="the entry keeps the outcome `started`",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.complete(error)


class RefusalLimit:
    """Limits the entries of this process about refused callers; counts those that are left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recorded: deque[float] = deque(maxlen=MAX_REFUSALS)
        self._left_out = 0
        self._lock = threading.Lock()

    def admit(self) -> int | None:
        """How many entries were left out since the last one; None if this one is to be left out too."""
        with self._lock:
            now = self._clock()
            full = len(self._recorded) == MAX_REFUSALS
            if full and now - self._recorded[0] < REFUSAL_WINDOW_S:
                self._left_out += 1
                return None
            self._recorded.append(now)
            left_out, self._left_out = self._left_out, 0
            return left_out


_refusals = RefusalLimit()


def record(
    actor: Actor, action: Action, *, outcome: AuditOutcome = AuditOutcome.DONE, target: Mapping[str, Any] | None = None
) -> None:
    """Records an event that changes no data: a login, a logout, or a refused attempt.

    It takes place even if the catalogue cannot be written; then the log has it. At most 60 refusals a minute are
    recorded; the next one has the number of those that were left out.
    """
    left_out = _refusals.admit() if outcome is AuditOutcome.REFUSED else 0
    if left_out is None:
        return
    detail = {"not_recorded": left_out} if left_out else {}
    try:
        services().catalogue.audit.record(actor, action, without_secrets(target or {}), outcome=outcome, detail=detail)
    except PipelineError as error:
        log.warning(
            "audit entry not written", action=action, outcome=outcome, address=actor.source, error=error.message
        )


def outcome_of(error: BaseException | None) -> AuditOutcome:
    """The outcome of an action that ended with this error, or without one."""
    if error is None:
        return AuditOutcome.DONE
    if isinstance(error, PipelineError) and error.code in REFUSALS:
        return AuditOutcome.REFUSED
    return AuditOutcome.INTERRUPTED if isinstance(error, INTERRUPTIONS) else AuditOutcome.FAILED


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without URLs and without the secrets of the settings."""
    scrub = Scrubber(services().settings.secrets())

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return _TOKEN.sub("[hidden]", _URL.sub("[url]", scrub(value[:MAX_SCRUBBED])))
        return [hide(item) for item in value] if isinstance(value, list | tuple) else value

    return {name: hide(value) for name, value in values.items()}


def _code(error: BaseException) -> str:
    """The code of an error. Its message is not recorded: it may contain what a stranger sent."""
    if isinstance(error, PipelineError):
        return error.code.value
    return Code.QUEUE.value if isinstance(error, redis.RedisError) else Code.INTERNAL.value
