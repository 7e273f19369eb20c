"""The sixth actor: previews, made with the time that no attachment needs."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Required, TypedDict

import redis
import structlog
from dramatiq.middleware import CurrentMessage

from actors.broker.preview_consumer import Errand
from actors.hook import hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.middleware.poison import MAX_CRASHES
from actors.middleware.retries import RetryPolicy
from actors.redis_queue.preview_jobs import request_preview as enqueue_preview
from pipeline.catalogue import Preview, PreviewState
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import PREVIEW_SECONDS, PREVIEWS
from pipeline.models import Record
from pipeline.services import Services, services
from pipeline.steps.preview import Content

ASIDE_MS = 500  # how long a suspect waits while another one runs
AWAY_MS = 10_000  # how long it waits for a catalogue that is away

log = structlog.get_logger()


class Wanted(TypedDict, total=False):
    """What a message asks for: the fields of Content, and which attempt it is, from 1."""

    sha256: Required[str]
    type: Required[str]
    attempt: int


def request_preview(record: Record) -> None:
    """Asks for the preview of an attachment's content, for one who must not wait for Redis.

    Raises:
        RetryableError: `queue`, while Redis is away.
    """
    own = hook()
    try:
        own.breaker.call(partial(enqueue_preview, own.queue, record))
    except RedisUnavailableError:
        raise RetryableError(Code.QUEUE, "the queue is away, and nobody can be asked to make it") from None


def run(asked: Wanted) -> None:
    """What the actor does: one preview, once for its content."""
    errand: Any = CurrentMessage.get_current_message()
    assert isinstance(errand, Errand)
    content = Content.model_validate(asked)
    try:
        if errand.crashes:
            _make_alone(errand, content)
        else:
            _make(services(), errand, content)
    except PipelineError as error:  # the catalogue is away: no ending could be noted either
        log.warning("preview put off", sha256=content.sha256, code=str(error.code), error=error.message)
        errand.again(AWAY_MS, attempt=errand.attempt)


def _make_alone(errand: Errand, content: Content) -> None:
    """One that was held when a worker died: if this one dies too, it is to blame."""
    background = errand.background
    if not background.suspects.acquire(blocking=False):
        errand.again(ASIDE_MS, attempt=errand.attempt)
        return
    try:
        if not background.belt.mark_started(background.worker, errand.key, errand.delivery_id):
            errand.done()
        elif errand.crashes >= MAX_CRASHES:
            _fail(services(), errand, content, PermanentError(Code.POISON, "its workers died of it"))
        else:
            _make(services(), errand, content)
    except redis.RedisError:
        errand.again(ASIDE_MS, attempt=errand.attempt)
    finally:
        background.suspects.release()


def _make(tools: Services, errand: Errand, content: Content) -> None:
    if tools.catalogue.previews.get_many([content.sha256]):
        errand.done()
        return
    started = time.perf_counter()
    try:
        preview = tools.make_preview(content)
    except PipelineError as error:
        _see_to(tools, errand, content, error)
        return
    tools.save_preview(preview)
    errand.done()
    taken = time.perf_counter() - started
    PREVIEWS.add(preview.state)
    PREVIEW_SECONDS.observe(taken, preview.state)
    log.debug("preview made", sha256=content.sha256, state=preview.state.value, ms=round(taken * 1000, 1))


def _see_to(tools: Services, errand: Errand, content: Content, error: PipelineError) -> None:
    """Another attempt, or none: what is gone needs no preview, and what cannot be drawn is noted as that."""
    if isinstance(error, StagingLostError) or error.code is Code.NO_SOURCE:
        errand.done()
        return
    policy = RetryPolicy(tools.settings.media_attempts, tools.settings.media_backoff_ms)
    if isinstance(error, RetryableError) and errand.attempt < policy.attempts:
        errand.again(policy.delay_ms(errand.attempt, error), attempt=errand.attempt + 1)
        return
    _fail(tools, errand, content, error)


def _fail(tools: Services, errand: Errand, content: Content, error: PipelineError) -> None:
    tools.save_preview(Preview(sha256=content.sha256, state=PreviewState.FAILED))
    errand.done()
    PREVIEWS.add(PreviewState.FAILED)
    facts = {"sha256": content.sha256, "type": content.type, "attempt": errand.attempt, "code": str(error.code)}
    log.warning("preview failed", error=error.message, **facts)
