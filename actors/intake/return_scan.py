"""The requeue scan when Redis returns: what was accepted meanwhile, or was lost, is enqueued at once.

Listeners and workers signal it as soon as they notice the return. At rest there is neither a thread nor a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import redis
import structlog

from actors.intake.requeue_scan import SCAN_LOCK, SCAN_LOCK_MS, requeue_lost
from actors.intake.signalled_thread import SignalledThread
from actors.redis_queue.queue import RedisQueue
from pipeline.catalogue import Catalogue
from pipeline.errors import PipelineError

PAGE = 250
TURN_POLL_S = 0.2  # how often a process that waits for its turn asks
MAX_REST_S = 0.5  # after each page
TRIES = 10  # of a scan that Redis or the catalogue interrupts; then the periodic scan does it
RETRY_S = 1.0

log = structlog.get_logger()


def scan_after_return(catalogue: Catalogue, queue: RedisQueue) -> int:
    """Enqueues every unfinished attachment that is not in the queue, however young; returns how many.

    One process at a time scans, in pages, and rests after each page for as long as the page took: a backlog of any
    length takes half of one process. The others wait, and do nothing if a whole scan began after they were called:
    it has found what they had recorded.

    Raises:
        RetryableError: `catalogue`.
        redis.RedisError: Redis is away again.
    """
    called_at = queue.scan_notes.now_ms()
    while not queue.locks.acquire(SCAN_LOCK, ttl_ms=SCAN_LOCK_MS):
        time.sleep(TURN_POLL_S)
    try:
        if queue.scan_notes.last_began_ms() >= called_at:
            return 0
        began_at = queue.scan_notes.now_ms()
        count = requeue_lost(catalogue, queue, older_than_s=0, after_page=_Rest(queue).after_page, page_size=PAGE)
        queue.scan_notes.note(began_at)
        return count
    finally:
        queue.locks.release(SCAN_LOCK)


class _Rest:
    """The rest after each page of one scan, which also extends its lock."""

    def __init__(self, queue: RedisQueue) -> None:
        self._queue = queue
        self._began = time.monotonic()

    def after_page(self) -> None:
        self._queue.locks.extend(SCAN_LOCK, ttl_ms=SCAN_LOCK_MS)
        time.sleep(min(time.monotonic() - self._began, MAX_REST_S))
        self._began = time.monotonic()


class ReturnScans:
    """Runs `scan` in a thread of its own when it is signalled; thread-safe.

    A signal during a scan causes another one after it. A scan that is interrupted is repeated `TRIES` times.
    """

    def __init__(self, scan: Callable[[], object]) -> None:
        self._scan = scan
        self._thread = SignalledThread("return scan", self._scan_until_done)

    def signal(self) -> None:
        """Requests a scan. Returns at once."""
        self._thread.signal()

    def _scan_until_done(self) -> None:
        for _ in range(TRIES):
            try:
                self._scan()
            except (redis.RedisError, OSError, PipelineError):  # their outages are logged elsewhere
                time.sleep(RETRY_S)
            else:
                return
        log.warning("spooled attachments not enqueued yet", consequence="the periodic requeue scan enqueues them")
