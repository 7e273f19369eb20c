"""Pauses of stages and sessions: nothing paused starts, and Redis has the same list as the catalogue.

The catalogue decides. Redis has a copy with a version, and is sent the whole list when it differs, so a wiped Redis
gets it again. A process that has read an older list cannot overwrite a newer one.
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

# How often a worker reads the pauses. Usually it hears of a pause within milliseconds; if that message is lost, a
# paused stage may still start for so long.
REFRESH_EVERY_S = 0.5
PAUSES_CHANGED = b"paused"  # on the wake-up channel; see publish_pauses.lua
NO_VERSION = ""  # of an empty Redis
MAX_PUBLISH_TRIES = 10  # a try fails when another process has published meanwhile

ReadPauses = Callable[[], Sequence[Pause]]


class PauseMiddleware(dramatiq.Middleware):
    """Knows what is paused, and requeues a message of a paused stage or session that has not started.

    `read` reads the pauses from the catalogue.
    """

    def __init__(self, read: ReadPauses = tuple) -> None:
        self._read = read
        self._refreshing = threading.Lock()  # the thread that read first must not store last
        self._published: tuple[str, Sequence[Pause]] | None = None
        self.stages: frozenset[str] = frozenset()
        self.sessions: frozenset[str] = frozenset()
        self.on_wiped: Callable[[], object] = bool  # called when Redis has lost the pauses, and so everything else

    def is_paused(self, stage: str, session: str | None = None) -> bool:
        """Whether this stage or this session is paused."""
        return stage in self.stages or session in self.sessions

    def refresh(self, queue: RedisQueue) -> None:
        """Reads the pauses, and publishes them if Redis does not have them.

        Raises:
            RetryableError: `catalogue`; the pauses that were read before still count.
        """
        with self._refreshing:
            version = None
            with suppress(redis.RedisError):  # the consumers report it, and the next refresh tries again
                version = queue.pauses_version()
            pauses = self._read()
            self._store(pauses)
            if version is not None and self._published != (version, pauses):
                with suppress(redis.RedisError):
                    publish_pauses(queue, self._read)
                self._published = (version, pauses)
        if version == NO_VERSION:
            self.on_wiped()

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        # A delivery with a claim has started: the router checks for pauses before each further stage.
        if not isinstance(message, Delivery) or message.claim is not None:
            return
        if self.is_paused(message.queue, message.session):
            message.verdict = Requeue()
            raise SkipMessage

    def _store(self, pauses: Sequence[Pause]) -> None:
        self.stages = frozenset(pause.name for pause in pauses if pause.kind == "stage")
        self.sessions = frozenset(pause.name for pause in pauses if pause.kind == "session")


def publish_pauses(queue: RedisQueue, read: ReadPauses) -> None:
    """Writes the catalogue's present pauses to Redis.

    Raises:
        RetryableError: `catalogue`.
        redis.RedisError: Redis is away.
    """
    for _ in range(MAX_PUBLISH_TRIES):
        version = queue.pauses_version()
        if queue.publish_pauses(read(), version=version):
            return
