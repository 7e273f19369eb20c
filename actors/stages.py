"""The five actors, in order, and a sixth beside them. `dramatiq actors.stages` runs their workers."""

from __future__ import annotations

import gc
from typing import Unpack

import dramatiq

from actors import previews
from actors.execution.executor import MessageArgs, run
from actors.factory import build_broker
from actors.observability.logging import configure_observability, warn_about_unknown_settings
from actors.redis_queue.host_rate import shared_host_rate_limiter
from pipeline.config.settings import current_settings
from pipeline.errors import PipelineError, SettingsError
from pipeline.models import Stage
from pipeline.services import services

try:
    configure_observability(current_settings())  # Sentry before the broker, or it misses what the broker does
    warn_about_unknown_settings()
    services().sandbox.warm()  # a wrong setting stops the worker here, not at its first attachment
except SettingsError as error:
    raise SystemExit(f"esteira: {error.message}") from None
broker = build_broker(current_settings())
dramatiq.set_broker(broker)
services().http_client.rate_limiter = shared_host_rate_limiter(broker.redis_queue, current_settings())


@dramatiq.actor(queue_name="fetch", throws=PipelineError)
def fetch(**_: Unpack[MessageArgs]) -> None:
    """From its source to the staging directory: whole, decrypted, hashed."""
    run(Stage.FETCH)


@dramatiq.actor(queue_name="detect", throws=PipelineError)
def detect(**_: Unpack[MessageArgs]) -> None:
    """What the content is, whatever its sender calls it."""
    run(Stage.DETECT)


@dramatiq.actor(queue_name="validate", throws=PipelineError)
def validate(**_: Unpack[MessageArgs]) -> None:
    """Decoded in the sandbox and within every limit."""
    run(Stage.VALIDATE)


@dramatiq.actor(queue_name="persist", throws=PipelineError)
def persist(**_: Unpack[MessageArgs]) -> None:
    """Into storage under its own hash, and into the catalogue."""
    run(Stage.PERSIST)


@dramatiq.actor(queue_name="notify", throws=PipelineError)
def notify(**_: Unpack[MessageArgs]) -> None:
    """Announced, however it ended."""
    run(Stage.NOTIFY)


@dramatiq.actor(queue_name="derive", throws=PipelineError, priority=10)
def derive(**asked: Unpack[previews.Wanted]) -> None:
    """No stage, and nothing waits for it: what a stored content looks like."""
    previews.run(asked)


# What is loaded by now stays: a full collection would look through all of it each time, some fifty milliseconds in
# which no thread gets on.
gc.collect()
gc.freeze()
