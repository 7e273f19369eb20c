"""The courier: hands events over to webhook endpoints, beside the belt and never in its way.

What is to be told stands in the catalogue, so it may take days and outlive every process. In each worker process an
endpoint has a thread of its own that reads and writes rows, and a few that wait for its answers: a slow or dead
receiver holds up neither the belt nor the other receivers.
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

POLL_S = 1.0  # between two looks at what other processes have written down, or what has come due
PAUSE_S = 2.0  # after the catalogue could not be used
SHUTDOWN_GRACE_S = 5.0  # for answers that are waited for when the worker has stopped
LONGEST_RETRY_AFTER_S = 86_400.0
JITTER = 0.1  # so that what failed together does not come back together

log = structlog.get_logger()


def lease_s(settings: Settings) -> float:
    """How long a claimed delivery may take before its process counts as dead."""
    return settings.webhook_timeout_s + 15


def result_of(parcel: DeliveryAttempt, error: RetryableError, waits_s: Sequence[float]) -> DeliveryResult:
    """What follows a failed attempt: the schedule's next wait, or a longer one that the receiver asks for; or no other.

    Not even 410 is the end: an endpoint is there because its operator says so, and goes when its setting does.
    """
    asked_s = error.retry_after or 0.0
    if parcel.attempts >= len(waits_s):
        retry_in_s = None
    else:
        usual_s = waits_s[parcel.attempts] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  hides nothing
        retry_in_s = max(usual_s, min(asked_s, LONGEST_RETRY_AFTER_S))
    gone = isinstance(error, RefusedError) and error.status == GONE
    return DeliveryResult(parcel, error.message, retry_in_s, retry_after_s=asked_s, gone=gone)


class EndpointWorker:
    """Deliveries to one endpoint. `ring` wakes it; `close` ends it after what is under way, within reason."""

    def __init__(self, endpoint: Endpoint, deliveries: Deliveries, settings: Settings) -> None:
        self._endpoint = endpoint
        self._deliveries = deliveries
        self._settings = settings
        self._lease_s = lease_s(settings)
        self._bell = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._results: list[DeliveryResult] = []
        self._under_way: dict[str, DeliveryAttempt] = {}
        self._quiet_until = 0.0  # of the monotonic clock: while the circuit is open nobody looks for work
        self._thread = threading.Thread(target=self._run, name=f"webhook {endpoint.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        self._bell.set()

    def close(self, *, within_s: float = SHUTDOWN_GRACE_S) -> None:
        """Takes nothing more, waits for answers, notes them, and gives the rest back for others to take at once."""
        deadline = time.monotonic() + within_s
        self._closing.set()
        self._bell.set()
        self._thread.join(within_s)
        while self._under_way and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            left = list(self._under_way.values())
        try:
            self._exchange(want=0)
            self._deliveries.release(left)
        except PipelineError as error:
            log.warning("webhooks left behind", endpoint=self._endpoint.name, count=len(left), error=error.message)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._round()
                wait_s = POLL_S
            except Exception as error:  # noqa: BLE001  (the edge of a thread that must not die; the next round comes)
                told = error.message if isinstance(error, PipelineError) else type(error).__name__
                log.warning("webhooks wait", endpoint=self._endpoint.name, error=told)
                wait_s = PAUSE_S
                self._closing.wait(wait_s)
            self._bell.wait(wait_s)
            self._bell.clear()

    def _round(self) -> None:
        free = self._settings.webhook_concurrency - len(self._under_way)
        looks = free > 0 and time.monotonic() >= self._quiet_until
        if self._results or (looks and self._has_work()):
            self._exchange(want=free)

    def _has_work(self) -> bool:
        """Whether something is due and may be sent; asked without holding up any writer."""
        if not self._deliveries.is_due(self._endpoint.name):
            return False
        return self._may_send(self._deliveries.circuit(self._endpoint.name))

    def _may_send(self, circuit: EndpointCircuit) -> bool:
        waits_ms = circuit.wait_ms(int(time.time() * 1000))
        # Looked at once a second all the same: another process may have had an answer meanwhile.
        self._quiet_until = time.monotonic() + min(waits_ms / 1000, POLL_S)
        return waits_ms == 0

    def _exchange(self, *, want: int) -> None:
        with self._lock:
            noted = list(self._results)
        if not (noted or want):
            return
        found = self._deliveries.record_and_claim(self._endpoint.name, noted, want=want, lease_s=self._lease_s)
        with self._lock:
            del self._results[: len(noted)]
        self._tell(noted, found.before, found.after)
        self._may_send(found.after)
        for parcel in found.attempts:
            self._begin(parcel)

    def _begin(self, parcel: DeliveryAttempt) -> None:
        with self._lock:
            self._under_way[parcel.id] = parcel
        try:
            threading.Thread(target=self._send, args=(parcel,), name="webhook", daemon=True).start()
        except RuntimeError:  # the machine has no more threads: its claim runs out, and it is taken again
            with self._lock:
                del self._under_way[parcel.id]

    def _send(self, parcel: DeliveryAttempt) -> None:
        try:
            self._endpoint.send(parcel.event_id, parcel.body)
            result = DeliveryResult(parcel)
        except RetryableError as error:
            result = result_of(parcel, error, self._settings.webhook_retry_s)
        except Exception as error:  # the edge of a thread: a fault of ours counts as an attempt
            log.exception("webhook could not be sent", endpoint=self._endpoint.name, id=parcel.media_id)
            fault = RetryableError(Code.INTERNAL, f"{Code.INTERNAL}: {type(error).__name__}")
            result = result_of(parcel, fault, self._settings.webhook_retry_s)
        with self._lock:
            self._results.append(result)
            self._under_way.pop(parcel.id, None)
        self._bell.set()

    def _tell(self, noted: Sequence[DeliveryResult], before: EndpointCircuit, after: EndpointCircuit) -> None:
        name = self._endpoint.name
        for result in noted:
            parcel = result.attempt
            facts = {"endpoint": name, "id": parcel.media_id, "session": parcel.session, "event_id": parcel.event_id}
            facts["attempt"] = str(parcel.attempts + 1)
            if result.error is None:
                WEBHOOK_ATTEMPTS.add(name, "delivered")
                log.debug("webhook delivered", **facts)
            elif result.retry_in_s is None:
                WEBHOOK_ATTEMPTS.add(name, "undelivered")
                log.error("webhook given up", error=result.error, remedy="esteira webhooks redeliver", **facts)
            else:
                WEBHOOK_ATTEMPTS.add(name, "failed")
                log.warning("webhook failed", error=result.error, retry_in_s=round(result.retry_in_s, 1), **facts)
        if after.open and not before.open:
            log.error("webhook endpoint away", endpoint=name, error=after.error, remedy="its events wait for it")
        elif before.open and not after.open:
            log.info("webhook endpoint back", endpoint=name)


class WebhookDispatcher(dramatiq.Middleware):
    """The lanes of a worker process; web and command line only write down what is to be delivered."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lanes: dict[str, EndpointWorker] = {}

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        tools = services()
        for name, endpoint in tools.webhooks.endpoints.items():
            lane = self._lanes[name] = EndpointWorker(endpoint, tools.catalogue.deliveries, self._settings)
            tools.webhooks.set_waker(name, lane.ring)
            lane.start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Not before: what ends within the grace period is delivered as ever."""
        for name in self._lanes:
            services().webhooks.set_waker(name, None)
        closing = [threading.Thread(target=lane.close) for lane in self._lanes.values()]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
