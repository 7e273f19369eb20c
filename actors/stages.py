"""The actors in their order: `dramatiq actors.stages` runs their workers.

How a delivery goes from stage to stage:

1. An actor runs its stage of one delivery (`execution/executor.py`), which gives the delivery its verdict.
2. `StageBatcher.continue_or_ack` (`execution/batch.py`) runs the following stages in this process, in batches, without
   calling their actors, and acknowledges them together. To stop a debugger at a step, use the function in `STEPS`.
3. Where this worker may not run the next stage (hop mode, `-Q`, a pause, a delay), `QueueConsumer.ack` writes the
   verdict to Redis, and the next stage's actor, or the same one for a retry, runs in this or another process.
"""

from __future__ import annotations

from esteira.collisions import exit_on_collision

exit_on_collision("pipeline")  # before the imports that need it

from pipeline.extras import exit_without_extra

exit_without_extra("worker", "`dramatiq actors.stages`")

import gc
from typing import Any, Unpack

import dramatiq
from dramatiq.middleware import CurrentMessage

from actors import previews
from actors.delivery import Delivery, MessageArgs
from actors.execution.executor import run_stage
from actors.factory import build_broker
from actors.observability.logging import configure_observability, warn_about_unknown_settings
from actors.redis_queue.host_rate import shared_gateway_rate_limiter, shared_host_rate_limiter
from pipeline.config.settings import current_settings
from pipeline.errors import SettingsError
from pipeline.models import Stage
from pipeline.security.private_dirs import set_private_umask
from pipeline.services import services

set_private_umask()
try:
    configure_observability(current_settings())  # Sentry first, so that it sees errors of the broker
    warn_about_unknown_settings()
    services().sandbox.warm()  # a wrong setting stops the worker now, not at its first attachment
except SettingsError as error:
    raise SystemExit(f"esteira: {error.message}") from None
broker = build_broker(current_settings())
dramatiq.set_broker(broker)
services().http_client.rate_limiter = shared_host_rate_limiter(broker.redis_queue, current_settings())
services().gateway_client.rate_limiter = shared_gateway_rate_limiter(broker.redis_queue, current_settings())


def _execute(stage: Stage) -> None:
    """Runs a stage of the current delivery with `executor.run_stage`, then hands it to the batcher."""
    delivery: Any = CurrentMessage.get_current_message()
    assert isinstance(delivery, Delivery)
    if delivery.verdict is None:  # a poison message has its verdict already
        run_stage(stage, [delivery])
    broker.batcher.continue_or_ack(delivery)


@dramatiq.actor(queue_name="fetch")
def fetch(**_: Unpack[MessageArgs]) -> None:
    """Downloads the file into the staging directory, decrypts and hashes it."""
    _execute(Stage.FETCH)


@dramatiq.actor(queue_name="detect")
def detect(**_: Unpack[MessageArgs]) -> None:
    """Detects the file's type from its content; the type that the sender names does not count."""
    _execute(Stage.DETECT)


@dramatiq.actor(queue_name="validate")
def validate(**_: Unpack[MessageArgs]) -> None:
    """Decodes the file in the sandbox and checks it against the limits."""
    _execute(Stage.VALIDATE)


@dramatiq.actor(queue_name="persist")
def persist(**_: Unpack[MessageArgs]) -> None:
    """Stores the file under its hash and records it in the catalogue."""
    _execute(Stage.PERSIST)


@dramatiq.actor(queue_name="notify")
def notify(**_: Unpack[MessageArgs]) -> None:
    """Announces how the attachment has ended."""
    _execute(Stage.NOTIFY)


@dramatiq.actor(queue_name="derive", priority=10)
def derive(**content: Unpack[previews.PreviewArgs]) -> None:
    """Makes the preview of a stored content, at low priority: no attachment waits for it."""
    previews.run(content)


# The modules loaded so far stay for the life of the process. A full collection that visits them stops all threads for
# some 50 ms each time.
gc.collect()
gc.freeze()
