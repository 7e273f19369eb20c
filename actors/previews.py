"""The preview actor: makes thumbnails and waveforms in threads that no attachment needs."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Required, TypedDict

import structlog
from dramatiq.middleware import CurrentMessage

from actors.delivery import Finished, PreviewJob, Retry
from actors.hook import hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.middleware.poison import MAX_CRASHES
from actors.middleware.retries import RetryPolicy
from actors.redis_queue.preview_jobs import enqueue_preview
from pipeline.catalogue import Preview, PreviewState
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import PREVIEW_SECONDS, PREVIEWS
from pipeline.models import Record
from pipeline.services import Services, services
from pipeline.steps.preview import Content

CATALOGUE_AWAY_MS = 10_000  # before the next attempt while the catalogue is away

log = structlog.get_logger()


class PreviewArgs(TypedDict, total=False):
    """The arguments of the preview actor: the fields of Content, and the number of the attempt from 1."""

    sha256: Required[str]
    type: Required[str]
    attempt: int


def request_preview(record: Record) -> None:
    """Enqueues the preview of an attachment's content, without waiting for a Redis that is away.

    Raises:
        RetryableError: `queue`, while Redis is away.
    """
    listener_hook = hook()
    try:
        listener_hook.breaker.call(partial(enqueue_preview, listener_hook.queue, record))
    except RedisUnavailableError:
        raise RetryableError(Code.QUEUE, "Redis is away: the preview cannot be requested") from None


def run(args: PreviewArgs) -> None:
    """Runs the current preview job: one preview for each content, however many attachments carry it."""
    job: Any = CurrentMessage.get_current_message()
    assert isinstance(job, PreviewJob)
    content = Content.model_validate(args)
    try:
        if job.crashes >= MAX_CRASHES:
            _fail(services(), job, content, PermanentError(Code.POISON, "its workers died of it"))
        else:
            _make(services(), job, content)
    except PipelineError as error:  # the catalogue is away, so a failure could not be stored either
        log.warning("preview put off", sha256=content.sha256, code=str(error.code), error=error.message)
        job.verdict = Retry(CATALOGUE_AWAY_MS, job.attempt)


def _make(services: Services, job: PreviewJob, content: Content) -> None:
    if services.catalogue.previews.get_many([content.sha256]):
        job.verdict = Finished()
        return
    started = time.perf_counter()
    try:
        preview = services.make_preview(content)
    except PipelineError as error:
        _set_verdict(services, job, content, error)
        return
    services.save_preview(preview)
    job.verdict = Finished()
    seconds = time.perf_counter() - started
    PREVIEWS.add(preview.state)
    PREVIEW_SECONDS.observe(seconds, preview.state)
    log.debug("preview made", sha256=content.sha256, state=preview.state.value, ms=round(seconds * 1000, 1))


def _set_verdict(services: Services, job: PreviewJob, content: Content, error: PipelineError) -> None:
    """Decides what follows an error: nothing for a deleted content, another attempt, or a stored failure."""
    if isinstance(error, StagingLostError) or error.code is Code.NO_SOURCE:
        job.verdict = Finished()
        return
    policy = RetryPolicy.of(services.settings)
    if isinstance(error, RetryableError) and job.attempt < policy.attempts:
        job.verdict = Retry(policy.delay_ms(job.attempt, error), job.attempt + 1)
        return
    _fail(services, job, content, error)


def _fail(services: Services, job: PreviewJob, content: Content, error: PipelineError) -> None:
    services.save_preview(Preview(sha256=content.sha256, state=PreviewState.FAILED))
    job.verdict = Finished()
    PREVIEWS.add(PreviewState.FAILED)
    log_fields = {"sha256": content.sha256, "type": content.type, "attempt": job.attempt, "code": str(error.code)}
    log.warning("preview failed", error=error.message, **log_fields)
