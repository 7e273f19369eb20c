"""Pauses as a worker heeds them: it begins nothing that is paused, and sees to it that Redis knows what is.

The catalogue has the last word. Redis is told all of it, so that a wiped one learns it anew; no two of those who tell
it can undo what the other has read later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import dramatiq
import redis
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage

from actors.delivery import Delivery, Requeue
from actors.redis_queue.queue import RedisQueue
from pipeline.catalogue import Pause

# How often a worker looks: for so long, and a step that has just begun, it may run on into a stage that was paused when
# the call that tells of it got lost. It is heard within milliseconds otherwise.
REFRESH_EVERY_S = 0.5
PAUSES_CHANGED = b"paused"  # on the channel of the wake-up calls; see publish_pauses.lua
TRIES = 10  # each is spoilt by somebody else who told Redis just then

Read = Callable[[], Sequence[Pause]]


class PauseMiddleware(dramatiq.Middleware):
    """Knows what is paused, and gives back what was handed out before it was, unless it has begun.

    `read` asks the catalogue.
    """

    def __init__(self, read: Read = tuple) -> None:
        self._read = read
        self._refreshing = threading.Lock()  # or who read first might note it last
        self._known: tuple[str, Sequence[Pause]] | None = None
        self.stages: frozenset[str] = frozenset()
        self.sessions: frozenset[str] = frozenset()

    def is_paused(self, stage: str, session: str | None = None) -> bool:
        """Whether this stage is paused, or this session."""
        return stage in self.stages or session in self.sessions

    def refresh(self, belt: RedisQueue) -> None:
        """Reads what is paused, and tells Redis if that is news there.

        Raises:
            RetryableError: `catalogue`; what was known before counts.
        """
        with self._refreshing:
            told = None
            with suppress(redis.RedisError):  # the consumers say so, and this is tried again
                told = belt.pauses_version()
            pauses = self._read()
            self._note(pauses)
            if told is not None and self._known != (told, pauses):
                with suppress(redis.RedisError):
                    publish_pauses(belt, self._read)
                self._known = (told, pauses)

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        # What has a claim has begun: the chain looks by itself before it goes on with another stage.
        if not isinstance(message, Delivery) or message.claim is not None:
            return
        if self.is_paused(message.queue, message.session):
            message.verdict = Requeue()
            raise SkipMessage

    def _note(self, pauses: Sequence[Pause]) -> None:
        self.stages = frozenset(pause.name for pause in pauses if pause.kind == "stage")
        self.sessions = frozenset(pause.name for pause in pauses if pause.kind == "session")


def publish_pauses(belt: RedisQueue, read: Read) -> None:
    """Tells Redis what is paused, as the catalogue says it now.

    Raises:
        RetryableError: `catalogue`.
        redis.RedisError: Redis is away.
    """
    for _ in range(TRIES):
        told = belt.pauses_version()
        if belt.publish_pauses(read(), version=told):
            return
