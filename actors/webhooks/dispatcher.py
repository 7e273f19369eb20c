"""Delivers events to webhook endpoints, next to the queue and without delaying it.

Pending deliveries are in the catalogue, so they may take days and outlive every process. In each worker process an
endpoint has one thread that reads and writes rows, and a few threads that wait for its answers: a slow or dead receiver
delays neither the queue nor other receivers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import dramatiq
import structlog

from pipeline.catalogue import Deliveries, DeliveryAttempt, DeliveryResult, EndpointCircuit
from pipeline.config.settings import Settings
from pipeline.errors import Code, PipelineError, RetryableError
from pipeline.metrics import WEBHOOK_ATTEMPTS
from pipeline.notifiers.webhooks import GONE, Endpoint, RefusedError
from pipeline.services import services

POLL_S = 1.0  # how often deliveries are looked up that other processes have written, or that are due
CATALOGUE_PAUSE_S = 2.0  # after an error of the catalogue
SHUTDOWN_GRACE_S = 5.0  # how long a stopping worker waits for answers
LEASE_MARGIN_S = 15.0
MAX_RETRY_AFTER_S = 86_400.0
JITTER = 0.1  # deliveries that failed together are not retried together

log = structlog.get_logger()


def lease_s(settings: Settings) -> float:
    """How long a claimed delivery may take before its process counts as dead."""
    return settings.webhook_timeout_s + LEASE_MARGIN_S


def failure_result(attempt: DeliveryAttempt, error: RetryableError, delays_s: Sequence[float]) -> DeliveryResult:
    """The result of a failed attempt: retried after the next delay of the schedule, or after a longer Retry-After.

    After the last delay it is given up. Status 410 is retried too: an endpoint is removed by its operator only.
    """
    retry_after_s = error.retry_after or 0.0
    if attempt.attempts >= len(delays_s):
        retry_in_s = None
    else:
        delay_s = delays_s[attempt.attempts] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  hides nothing
        retry_in_s = max(delay_s, min(retry_after_s, MAX_RETRY_AFTER_S))
    gone = isinstance(error, RefusedError) and error.status == GONE
    return DeliveryResult(attempt, error.message, retry_in_s, retry_after_s=retry_after_s, gone=gone)


class EndpointWorker:
    """The deliveries of one endpoint in this process."""

    def __init__(self, endpoint: Endpoint, deliveries: Deliveries, settings: Settings) -> None:
        self._endpoint = endpoint
        self._deliveries = deliveries
        self._settings = settings
        self._lease_s = lease_s(settings)
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._results: list[DeliveryResult] = []
        self._in_progress: dict[str, DeliveryAttempt] = {}
        self._idle_until = 0.0  # of the monotonic clock: an open circuit is not looked up before
        self._thread = threading.Thread(target=self._run, name=f"webhook {endpoint.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Looks for deliveries now: an event was written in this process."""
        self._woken.set()

    def close(self, *, within_s: float = SHUTDOWN_GRACE_S) -> None:
        """Claims no more deliveries, waits for answers and records them, and releases the rest for other processes."""
        deadline = time.monotonic() + within_s
        self._closing.set()
        self._woken.set()
        self._thread.join(within_s)
        while self._in_progress and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            unfinished = list(self._in_progress.values())
        try:
            self._record_and_claim(want=0)
            self._deliveries.release(unfinished)
        except PipelineError as error:
            count = len(unfinished)
            log.warning("webhooks not released", endpoint=self._endpoint.name, count=count, error=error.message)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._deliver_due()
                wait_s = POLL_S
            except Exception as error:  # noqa: BLE001  (the edge of a thread that must not die; it tries again)
                reason = error.message if isinstance(error, PipelineError) else type(error).__name__
                log.warning("webhooks postponed", endpoint=self._endpoint.name, error=reason)
                wait_s = CATALOGUE_PAUSE_S
                self._closing.wait(wait_s)
            self._woken.wait(wait_s)
            self._woken.clear()

    def _deliver_due(self) -> None:
        free = self._settings.webhook_concurrency - len(self._in_progress)
        look = free > 0 and time.monotonic() >= self._idle_until
        if self._results or (look and self._has_work()):
            self._record_and_claim(want=free)

    def _has_work(self) -> bool:
        """Whether a delivery is due and may be sent; a read that blocks no writer."""
        if not self._deliveries.is_due(self._endpoint.name):
            return False
        return self._may_send(self._deliveries.circuit(self._endpoint.name))

    def _may_send(self, circuit: EndpointCircuit) -> bool:
        wait_ms = circuit.wait_ms(int(time.time() * 1000))
        # Looked up every second anyway: another process may have had an answer meanwhile.
        self._idle_until = time.monotonic() + min(wait_ms / 1000, POLL_S)
        return wait_ms == 0

    def _record_and_claim(self, *, want: int) -> None:
        with self._lock:
            results = list(self._results)
        if not (results or want):
            return
        exchange = self._deliveries.record_and_claim(self._endpoint.name, results, want=want, lease_s=self._lease_s)
        with self._lock:
            del self._results[: len(results)]
        self._log(results, exchange.before, exchange.after)
        self._may_send(exchange.after)
        for attempt in exchange.attempts:
            self._send_in_thread(attempt)

    def _send_in_thread(self, attempt: DeliveryAttempt) -> None:
        with self._lock:
            self._in_progress[attempt.id] = attempt
        try:
            threading.Thread(target=self._send, args=(attempt,), name="webhook", daemon=True).start()
        except RuntimeError:  # no thread can be started: the lease expires, and the delivery is claimed again
            with self._lock:
                del self._in_progress[attempt.id]

    def _send(self, attempt: DeliveryAttempt) -> None:
        try:
            self._endpoint.send(attempt.event_id, attempt.body)
            result = DeliveryResult(attempt)
        except RetryableError as error:
            result = failure_result(attempt, error, self._settings.webhook_retry_s)
        except Exception as error:  # the edge of a thread: an error of our own counts as an attempt
            log.exception("webhook could not be sent", endpoint=self._endpoint.name, id=attempt.media_id)
            internal = RetryableError(Code.INTERNAL, f"{Code.INTERNAL}: {type(error).__name__}")
            result = failure_result(attempt, internal, self._settings.webhook_retry_s)
        with self._lock:
            self._results.append(result)
            self._in_progress.pop(attempt.id, None)
        self._woken.set()

    def _log(self, results: Sequence[DeliveryResult], before: EndpointCircuit, after: EndpointCircuit) -> None:
        name = self._endpoint.name
        for result in results:
            _log_result(name, result)
        if after.open and not before.open:
            consequence = "its events wait for it"
            log.error("webhook endpoint unreachable", endpoint=name, error=after.error, consequence=consequence)
        elif before.open and not after.open:
            log.info("webhook endpoint reachable again", endpoint=name)


def _log_result(endpoint: str, result: DeliveryResult) -> None:
    attempt = result.attempt
    fields = {"endpoint": endpoint, "id": attempt.media_id, "session": attempt.session, "event_id": attempt.event_id}
    fields["attempt"] = str(attempt.attempts + 1)
    if result.error is None:
        WEBHOOK_ATTEMPTS.add(endpoint, "delivered")
        log.debug("webhook delivered", **fields)
    elif result.retry_in_s is None:
        WEBHOOK_ATTEMPTS.add(endpoint, "undelivered")
        log.error("webhook given up", error=result.error, remedy="esteira webhooks redeliver", **fields)
    else:
        WEBHOOK_ATTEMPTS.add(endpoint, "failed")
        log.warning("webhook failed", error=result.error, retry_in_s=round(result.retry_in_s, 1), **fields)


class WebhookDispatcher(dramatiq.Middleware):
    """The endpoint workers of a worker process. Web app and command line only write deliveries."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: dict[str, EndpointWorker] = {}

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        webhooks, deliveries = services().webhooks, services().catalogue.deliveries
        for name, endpoint in webhooks.endpoints.items():
            endpoint_worker = self._workers[name] = EndpointWorker(endpoint, deliveries, self._settings)
            webhooks.set_waker(name, endpoint_worker.wake)
            endpoint_worker.start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Closes the endpoint workers; only now, so that events of the grace period are delivered too."""
        for name in self._workers:
            services().webhooks.set_waker(name, None)
        closing = [threading.Thread(target=endpoint_worker.close) for endpoint_worker in self._workers.values()]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
