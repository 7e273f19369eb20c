"""The five actors, in order. `dramatiq actors.stages` runs their workers."""

from __future__ import annotations

from typing import Any

import dramatiq

from actors.assembly import build_broker
from actors.telemetry import configure
from actors.work import run
from pipeline.errors import PipelineError
from pipeline.models import Model, Stage
from pipeline.settings import current_settings

Inputs = dict[str, Any] | Model | None

configure(current_settings())  # Sentry before the broker, or it misses what the broker does
broker = build_broker(current_settings())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="fetch", throws=PipelineError)
def fetch(media_id: str, attempt: int = 1, inputs: Inputs = None) -> Model | None:
    """From its source to the staging directory: whole, decrypted, hashed."""
    return run(Stage.FETCH, media_id, attempt=attempt, inputs=inputs)


@dramatiq.actor(queue_name="detect", throws=PipelineError)
def detect(media_id: str, attempt: int = 1, inputs: Inputs = None) -> Model | None:
    """What the content is, whatever its sender calls it."""
    return run(Stage.DETECT, media_id, attempt=attempt, inputs=inputs)


@dramatiq.actor(queue_name="validate", throws=PipelineError)
def validate(media_id: str, attempt: int = 1, inputs: Inputs = None) -> Model | None:
    """Decoded in the sandbox and within every limit."""
    return run(Stage.VALIDATE, media_id, attempt=attempt, inputs=inputs)


@dramatiq.actor(queue_name="persist", throws=PipelineError)
def persist(media_id: str, attempt: int = 1, inputs: Inputs = None) -> Model | None:
    """Into storage under its own hash, and into the catalogue."""
    return run(Stage.PERSIST, media_id, attempt=attempt, inputs=inputs)


@dramatiq.actor(queue_name="notify", throws=PipelineError)
def notify(media_id: str, attempt: int = 1, inputs: Inputs = None, silent: bool = False) -> Model | None:
    """Announced, however it ended."""
    return run(Stage.NOTIFY, media_id, attempt=attempt, inputs=inputs, silent=silent)
