"""Carries verdicts out in Redis: one script acknowledges messages together with what follows from them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import redis
import structlog

from actors.broker.prefetch import Prefetcher
from actors.delivery import (
    DeadLetter,
    Delivery,
    Finished,
    HeldMessage,
    NextStage,
    Requeue,
    Retry,
    encode_message,
    stage_message,
)
from actors.redis_queue.finished_jobs import FinishedJobList, FinishedJobs, job_entry
from actors.redis_queue.messages import Ack, AckAction, FetchedMessage
from actors.redis_queue.queue import RedisQueue
from pipeline.outage import Outage

PUT_BACK = frozenset({"later", "back"})  # verdicts of ack.lua after which no worker has the attachment
SHUTDOWN_GRACE_S = 2.0  # a worker that is shutting down waits so long for a Redis that is away

JobNote = tuple[FinishedJobList, str] | None

log = structlog.get_logger()


class WorkerState(NamedTuple):
    """What fetching and acknowledging share: the worker's id in Redis, the outage of Redis, and the shutdown flag.

    `message_lost` is called when Redis has lost a message that this worker wanted to put back.
    """

    id: str
    outage: Outage
    draining: threading.Event
    message_lost: Callable[[], object] = bool


class Acknowledger:
    """Acknowledges the messages that this worker has fetched from one Redis queue."""

    def __init__(
        self, queue: RedisQueue, worker: WorkerState, *, prefetcher: Prefetcher, finished_jobs: FinishedJobs
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._prefetcher = prefetcher
        self._finished_jobs = finished_jobs

    def ack(self, messages: Sequence[HeldMessage]) -> None:
        """Carries out the verdicts of these messages. Returns when Redis has them, however long it is away."""
        try:
            self._send([self._ack_of(message) for message in messages])
        finally:
            for message in messages:
                for callback in message.after_ack:
                    callback()

    def requeue(self, message: HeldMessage) -> None:
        """Puts a message that was not started back where it waited.

        Raises:
            redis.RedisError: Redis is away.
        """
        self._send_once([Ack(message.key, message.delivery_id, AckAction("back", message.queue))])

    def bury(self, fetched: FetchedMessage) -> None:
        """Keeps what cannot be decoded as a dead letter.

        Raises:
            redis.RedisError: Redis is away. This worker then gets it again when it asks what it holds.
        """
        try:
            action = AckAction("dead", fetched.queue, fetched.data)
            self._queue.ack(self._worker.id, fetched.key, fetched.delivery_id, action)
        finally:
            self._prefetcher.remove(fetched.key, fetched.delivery_id)

    def _ack_of(self, message: HeldMessage) -> Ack:
        action, note = self._action(message)
        return Ack(message.key, message.delivery_id, action, note, message.preview_request)

    def _action(self, message: HeldMessage) -> tuple[AckAction, JobNote]:
        # Without a verdict a middleware or the batch has failed, and has logged why.
        verdict = message.verdict or message.default_verdict()
        match verdict:
            case NextStage():
                assert isinstance(message, Delivery)
                return _next_stage(message, verdict), None
            case Retry():
                retry = message.retry_message(verdict.attempt)
                return AckAction("later", retry.queue_name, encode_message(retry), verdict.delay_ms), None
            case Requeue():
                return AckAction("back", message.queue), None
            case DeadLetter():
                return AckAction("dead", message.queue, encode_message(message.message)), None
            case Finished():
                return self._finish(message, verdict)

    def _finish(self, message: HeldMessage, verdict: Finished) -> tuple[AckAction, JobNote]:
        record = verdict.record
        if record is None:
            return AckAction("done", message.queue), None
        note = (self._finished_jobs.list_for(record), job_entry(record))
        if record.status == "failed":
            return AckAction("dead", record.stage.value, encode_message(stage_message(record.id, record.stage))), note
        return AckAction("done", message.queue), note

    def _send(self, acks: Sequence[Ack]) -> None:
        while True:
            try:
                self._send_once(acks)
            except redis.RedisError as error:
                self._worker.outage.begin(error)
                if self._worker.draining.is_set() and self._worker.outage.duration_s > SHUTDOWN_GRACE_S:
                    ids = [ack.key for ack in acks]
                    log.warning("not acknowledged", ids=ids, consequence="another worker takes over")
                    return
                time.sleep(self._worker.outage.pause_s)
            else:
                self._worker.outage.end()
                return

    def _send_once(self, acks: Sequence[Ack]) -> None:
        for ack, was_held in zip(acks, self._queue.ack_many(self._worker.id, acks), strict=True):
            if not was_held:
                log.warning("taken over by another worker", id=ack.key, queue=ack.action.queue)
                if ack.action.verdict in PUT_BACK:  # or Redis was wiped, and it is in no queue
                    self._worker.message_lost()
            self._prefetcher.remove(ack.key, ack.delivery_id)


def _next_stage(delivery: Delivery, verdict: NextStage) -> AckAction:
    next_message = stage_message(
        str(delivery.kwargs["media_id"]),
        verdict.stage,
        inputs=verdict.inputs,
        silent=verdict.silent,
        lost=verdict.lost or delivery.lost,
        claim=delivery.claim,
    )
    action = "later" if verdict.delay_ms else "next"
    return AckAction(action, verdict.stage.value, encode_message(next_message), verdict.delay_ms)
