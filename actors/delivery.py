"""Messages that a worker holds, and the verdicts that decide what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Required, TypedDict

from dramatiq import Message
from dramatiq.broker import MessageProxy

from actors.redis_queue.messages import EnqueueRequest
from pipeline.models import Claim, Model, Record, Stage

UNDECIDED_DELAY_MS = 5000  # before another try of a message that a bug left without a verdict


class MessageArgs(TypedDict, total=False):
    """The keyword arguments of a stage's actor, as they are stored in Redis.

    `attempt` counts from 1. `heir_of` is the token of the claim that the message hands over, `trail` the part of its
    attempt log that is not written yet. These two names stay because messages that an older version has enqueued may
    still wait in Redis during an upgrade.
    """

    media_id: Required[str]
    attempt: int
    inputs: dict[str, Any] | Model
    silent: bool
    lost: int
    heir_of: str
    trail: dict[str, Any]


@dataclass(frozen=True)
class NextStage:
    """Continues with `stage`, its `inputs`, after `delay_ms`.

    `silent` ends the attachment without an announcement; `lost` counts how often its staged bytes were missing.
    """

    stage: Stage
    inputs: Model | None = None
    silent: bool = False
    delay_ms: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Retry:
    """Runs the same stage again after `delay_ms`, as attempt number `attempt`."""

    delay_ms: int
    attempt: int


@dataclass(frozen=True)
class Finished:
    """Ends the message; `record` is the finished attachment, None if there is no finished job to note."""

    record: Record | None = None


@dataclass(frozen=True)
class DeadLetter:
    """Keeps the message as a dead letter: no worker can process it."""


@dataclass(frozen=True)
class Requeue:
    """Puts a message that was not started back where it waited; nothing is counted."""


Verdict = NextStage | Retry | Finished | DeadLetter | Requeue


class HeldMessage(MessageProxy):
    """A message that this worker holds until it is acknowledged.

    `key` is its name in Redis. `delivery_id` is a fencing token: a later delivery of the same key has another one, and
    Redis ignores acknowledgements that carry an old one. `queue` is where it waited, `crashes` how many workers died
    while they held it. `in_batch` marks a message that the batch acknowledges instead of Dramatiq's consumer;
    `preview_request` is enqueued with the acknowledgement, `after_ack` called after it.
    """

    def __init__(self, message: Message[Any], *, key: str, delivery_id: int, queue: str, crashes: int) -> None:
        super().__init__(message)
        self.kwargs: dict[str, Any] = message.kwargs
        self.key = key
        self.delivery_id = delivery_id
        self.queue = queue
        self.crashes = crashes
        self.quarantined = False
        self.in_batch = False
        self.after_ack: list[Callable[[], object]] = []
        self.verdict: Verdict | None = None
        self.preview_request: EnqueueRequest | None = None

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return int(self.kwargs.get("attempt", 1))

    @property
    def message(self) -> Message[Any]:
        """The message as it was fetched."""
        return self._message

    def default_verdict(self) -> Verdict:
        """The verdict when the worker's code has failed to give one."""
        return Retry(UNDECIDED_DELAY_MS, self.attempt)

    def retry_message(self, attempt: int) -> Message[Any]:
        """The message for attempt number `attempt` of the same work."""
        return self._message.copy(kwargs={**self.kwargs, "attempt": attempt})


class Delivery(HeldMessage):
    """An attachment at one stage.

    `stage` and `kwargs` change when the delivery continues with another stage in this process. `claim` is the one that
    the first stage took. `result` is what the stage returned.
    """

    def __init__(
        self, message: Message[Any], *, key: str, delivery_id: int, queue: str, crashes: int, session: str = ""
    ) -> None:
        super().__init__(message, key=key, delivery_id=delivery_id, queue=queue, crashes=crashes)
        self.actor_name: str = message.actor_name
        self.session = session
        self.claim: Claim | None = None
        self.result: Model | None = None

    @property
    def stage(self) -> Stage:
        return Stage(self.actor_name)

    @property
    def lost(self) -> int:
        """How often the staged bytes were missing."""
        return int(self.kwargs.get("lost", 0))

    def advance_to(self, next_stage: NextStage) -> None:
        """Moves on to another stage while this worker still holds the message under the same key and delivery id."""
        self.actor_name = next_stage.stage.value
        self.kwargs = stage_kwargs(
            str(self.kwargs["media_id"]),
            inputs=next_stage.inputs,
            silent=next_stage.silent,
            lost=next_stage.lost or self.lost,
        )
        self.result = self.verdict = None

    def retry_message(self, attempt: int) -> Message[Any]:
        kwargs = {**self.kwargs, "attempt": attempt}
        if self.claim:
            kwargs.pop("trail", None)
            kwargs |= claim_kwargs(self.claim)
        return _message(str(kwargs["media_id"]), self.stage, kwargs)


class PreviewJob(HeldMessage):
    """A request for the preview of one content, from the preview queue."""

    MAX_UNDECIDED = 3
    """Attempts without a verdict before the message is kept as a dead letter."""

    def default_verdict(self) -> Verdict:
        if self.attempt < self.MAX_UNDECIDED:
            return Retry(UNDECIDED_DELAY_MS, self.attempt + 1)
        return DeadLetter()


def stage_message(
    media_id: str,
    stage: Stage,
    *,
    inputs: Model | None = None,
    claim: Claim | None = None,
    silent: bool = False,
    lost: int = 0,
) -> Message[Any]:
    """The message that runs one stage of one attachment. Its key in Redis is the attachment's id.

    `claim` is the claim of the stage before: the worker that gets this message takes it over, together with the part of
    the attempt log that is not written yet. The message carries no media key, no token and no URL; these are in the
    catalogue only.
    """
    kwargs = stage_kwargs(media_id, inputs=inputs, silent=silent, lost=lost)
    if claim:
        kwargs |= claim_kwargs(claim)
    return _message(media_id, stage, kwargs)


def stage_kwargs(media_id: str, *, inputs: Model | None, silent: bool, lost: int) -> dict[str, Any]:
    """The arguments of a stage's actor, without those that have their default value."""
    kwargs: dict[str, Any] = {"media_id": media_id}
    if inputs is not None:
        kwargs["inputs"] = inputs
    if silent:
        kwargs["silent"] = True
    if lost:
        kwargs["lost"] = lost
    return kwargs


def _message(media_id: str, stage: Stage, kwargs: dict[str, Any]) -> Message[Any]:
    return Message(queue_name=stage.value, actor_name=stage.value, args=(), kwargs=kwargs, options={"key": media_id})


def claim_kwargs(claim: Claim) -> dict[str, Any]:
    """The arguments that hand a claim over to the next worker."""
    carried = claim.attempt_log.export()
    return {"heir_of": claim.token, "trail": carried} if carried else {"heir_of": claim.token}


def encode_message(message: Message[Any]) -> bytes:
    """The message as it is stored in Redis, its inputs as plain JSON."""
    inputs = message.kwargs.get("inputs")
    if isinstance(inputs, Model):
        message = message.copy(kwargs={**message.kwargs, "inputs": inputs.model_dump(mode="json")})
    return message.encode()
