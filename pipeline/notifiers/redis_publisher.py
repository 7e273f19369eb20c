"""Sends results to Redis from the thread that announces them, and buffers them in memory while Redis is unreachable.

It works on best effort: a buffered result counts as announced, and is lost if the process ends before Redis is back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import redis

from pipeline.metrics import EVENTS_LOST, EVENTS_SENT, EVENTS_WAITING
from pipeline.models import Outcome
from pipeline.outage import Outage
from pipeline.redis_client import connect

TIMEOUT_S = 0.25  # the longest delay of an attachment, once for each outage
RETRY_S = 0.5
BATCH_SIZE = 100  # buffered outcomes that are sent in one call

Client = redis.Redis
Send = Callable[[Client, Sequence[Outcome]], object]


class BufferedRedisPublisher:
    """Sends outcomes with `send`, which may be called again for the same outcomes after a failure.

    `channel` is the name in logs and metrics. The newest `max_waiting` outcomes are buffered during an outage.
    """

    def __init__(self, url: str, send: Send, *, channel: str, max_waiting: int) -> None:
        self.channel = channel
        self._client = connect(url, timeout_s=TIMEOUT_S)
        self._send = send
        self._waiting: deque[Outcome] = deque()
        self._max_waiting = max_waiting
        self._outage = Outage(f"redis ({channel})", consequence="events wait in this process")
        self._lock = threading.Lock()

    def __call__(self, outcome: Outcome) -> None:
        """Sends or buffers an outcome; never raises."""
        self.publish_all([outcome])

    def publish_all(self, outcomes: Sequence[Outcome]) -> None:
        """Sends outcomes in one call, or buffers them; never raises."""
        if self._outage.is_active and self._buffer(outcomes):
            return
        try:
            self._publish(outcomes)
        except (redis.RedisError, OSError) as error:
            self._begin_outage(outcomes, error)

    def _publish(self, outcomes: Sequence[Outcome]) -> None:
        self._send(self._client, outcomes)
        EVENTS_SENT.add(self.channel, n=len(outcomes))

    def _buffer(self, outcomes: Sequence[Outcome]) -> bool:
        """Buffer the outcomes; False if the outage has ended in the meantime and they have to be sent."""
        with self._lock:
            if self._outage.is_active:
                self._append(outcomes)
            return self._outage.is_active

    def _append(self, outcomes: Sequence[Outcome]) -> None:
        self._waiting += outcomes
        excess = max(0, len(self._waiting) - self._max_waiting)
        for _ in range(excess):
            self._waiting.popleft()
        if excess:
            EVENTS_LOST.add(self.channel, n=excess)
        EVENTS_WAITING.set(len(self._waiting), self.channel)

    def _begin_outage(self, outcomes: Sequence[Outcome], error: Exception) -> None:
        with self._lock:
            self._append(outcomes)
            if not self._outage.begin(error):
                return
        threading.Thread(target=self._retry_until_sent, name=f"events {self.channel}", daemon=True).start()

    def _retry_until_sent(self) -> None:
        done = threading.Event()
        while not done.wait(RETRY_S):
            try:
                self._send_waiting()
            except (redis.RedisError, OSError):
                continue
            done.set()

    def _send_waiting(self) -> None:
        """Sends the buffered outcomes, oldest first, until the buffer is empty and the outage is over."""
        while outcomes := self._next_batch():
            self._publish(outcomes)
            with self._lock:
                for outcome in outcomes:
                    if self._waiting and self._waiting[0] is outcome:  # a newer outcome may have displaced it
                        self._waiting.popleft()
                EVENTS_WAITING.set(len(self._waiting), self.channel)

    def _next_batch(self) -> list[Outcome]:
        with self._lock:
            if not self._waiting:
                self._outage.end()
            return list(islice(self._waiting, BATCH_SIZE))
