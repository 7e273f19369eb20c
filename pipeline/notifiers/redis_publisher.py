"""To Redis from the thread that announces; what cannot go now waits in the process and goes when Redis is back.

The only module of pipeline that speaks to Redis. It is best effort: an announcement that waits here has been made, as
far as the attachment is concerned, and a process that ends meanwhile takes it along.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.metrics import EVENTS_LOST, EVENTS_SENT, EVENTS_WAITING
from pipeline.models import Outcome
from pipeline.outage import Outage

TIMEOUT_S = 0.25  # what an attachment waits at most, once an outage
RETRY_S = 0.5
AT_ONCE = 100  # of what has waited

Client = redis.Redis
Send = Callable[[Client, Sequence[Outcome]], object]


class BufferedRedisPublisher:
    """Sends outcomes over one client with `send`, which may be called again for the same ones.

    `channel` names it in logs and figures; of what waits, the newest `most` are kept.
    """

    def __init__(self, url: str, send: Send, *, channel: str, max_waiting: int) -> None:
        self.channel = channel
        self._client = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._send = send
        self._waiting: deque[Outcome] = deque()
        self._max_waiting = max_waiting
        self._outage = Outage(f"redis ({channel})", remedy="events wait in this process")
        self._lock = threading.Lock()

    def __call__(self, told: Outcome) -> None:
        """Sends it, or keeps it for later; never raises."""
        self.publish_all([told])

    def publish_all(self, told: Sequence[Outcome]) -> None:
        """Sends them in one go, or keeps them for later; never raises."""
        if self._outage.is_active and self._keep(told):
            return
        try:
            self._deliver(told)
        except (redis.RedisError, OSError) as error:
            self._begin_outage(told, error)

    def _deliver(self, told: Sequence[Outcome]) -> None:
        self._send(self._client, told)
        EVENTS_SENT.add(self.channel, n=len(told))

    def _keep(self, told: Sequence[Outcome]) -> bool:
        """False if Redis is back meanwhile."""
        with self._lock:
            if self._outage.is_active:
                self._append(told)
            return self._outage.is_active

    def _append(self, told: Sequence[Outcome]) -> None:
        self._waiting += told
        lost = max(0, len(self._waiting) - self._max_waiting)
        for _ in range(lost):
            self._waiting.popleft()
        if lost:
            EVENTS_LOST.add(self.channel, n=lost)
        EVENTS_WAITING.set(len(self._waiting), self.channel)

    def _begin_outage(self, told: Sequence[Outcome], error: Exception) -> None:
        with self._lock:
            self._append(told)
            if not self._outage.begin(error):
                return
        threading.Thread(target=self._catch_up, name=f"events {self.channel}", daemon=True).start()

    def _catch_up(self) -> None:
        over = threading.Event()
        while not over.wait(RETRY_S):
            try:
                self._send_waiting()
            except (redis.RedisError, OSError):
                continue
            over.set()

    def _send_waiting(self) -> None:
        """Sends what waits, the oldest first, until nothing does; then the outage is over."""
        while told := self._oldest():
            self._deliver(told)
            with self._lock:
                for one in told:
                    if self._waiting and self._waiting[0] is one:  # it may have had to make room meanwhile
                        self._waiting.popleft()
                EVENTS_WAITING.set(len(self._waiting), self.channel)

    def _oldest(self) -> list[Outcome]:
        with self._lock:
            if not self._waiting:
                self._outage.end()
            return list(islice(self._waiting, AT_ONCE))
