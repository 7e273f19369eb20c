"""A message in a worker's hands, and the verdict on it that one script carries out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dramatiq import Message
from dramatiq.broker import MessageProxy

from actors.redis_queue.queue import EnqueueRequest
from pipeline.models import Claim, Model, Record, Stage


@dataclass(frozen=True)
class NextStage:
    """Goes on with this stage, with these inputs, after `delay_ms`.

    `silent` ends without an announcement; `lost` is how often the staged bytes were not where they were looked for.
    """

    stage: Stage
    inputs: Model | None = None
    silent: bool = False
    delay_ms: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Retry:
    """The same stage once more after `delay_ms`, as attempt number `attempt`."""

    delay_ms: int
    attempt: int


@dataclass(frozen=True)
class Finished:
    """Has ended; `record` is the catalogue's last word, None where there is nothing to note."""

    record: Record | None = None


@dataclass(frozen=True)
class DeadLetter:
    """Cannot be worked on by anybody: kept as a dead letter."""


@dataclass(frozen=True)
class Requeue:
    """Was not begun: goes back to where it was, and nothing is counted."""


Verdict = NextStage | Retry | Finished | DeadLetter | Requeue


class Delivery(MessageProxy):
    """A message that this worker holds.

    `key` is its name on the belt, `delivery_id` the number of this delivery (another for each delivery of a key),
    `queue` where it was waiting, `crashes` how many workers died while they held it, `session` whose it is. `stage` and
    `kwargs` are those of the stage that it has come to. The claim is that of the first stage that ran. `result` is what
    the stage found, `offer` what goes onto the belt beside with the verdict, `on_settled` what is let go of once Redis
    has it.
    """

    def __init__(
        self, message: Message[Any], *, key: str, delivery_id: int, queue: str, crashes: int, session: str = ""
    ) -> None:
        super().__init__(message)
        self.actor_name: str = message.actor_name
        self.kwargs: dict[str, Any] = message.kwargs
        self.session = session
        self.key = key
        self.delivery_id = delivery_id
        self.queue = queue
        self.crashes = crashes
        self.quarantined = False
        self.after_ack: list[Callable[[], object]] = []
        self.claim: Claim | None = None
        self.result: Model | None = None
        self.preview_job: EnqueueRequest | None = None
        self.verdict: Verdict | None = None

    @property
    def stage(self) -> Stage:
        return Stage(self.actor_name)

    @property
    def attempt(self) -> int:
        """Which attempt at this stage it is, from 1."""
        return int(self.kwargs.get("attempt", 1))

    @property
    def lost(self) -> int:
        """How often the staged bytes were not where they were looked for."""
        return int(self.kwargs.get("lost", 0))

    @property
    def message(self) -> Message[Any]:
        """As it was handed over."""
        return self._message

    def go_on(self, onward: NextStage) -> None:
        """Comes to the next stage in this worker's hands: still held under the same key and delivery_id."""
        self.actor_name = onward.stage.value
        self.kwargs = stage_kwargs(
            str(self.kwargs["media_id"]),
            inputs=onward.inputs,
            silent=onward.silent,
            lost=onward.lost or self.lost,
        )
        self.result = self.verdict = None

    def again(self, attempt: int) -> Message[Any]:
        """The message that asks for this stage once more."""
        kwargs = {**self.kwargs, "attempt": attempt}
        if self.claim:
            kwargs.pop("trail", None)
            kwargs |= inheritance(self.claim)
        return _message(str(kwargs["media_id"]), self.stage, kwargs)


def stage_message(
    media_id: str,
    stage: Stage,
    *,
    inputs: Model | None = None,
    claim: Claim | None = None,
    silent: bool = False,
    lost: int = 0,
) -> Message[Any]:
    """The message that asks for one stage of one attachment. Its key on the belt is the attachment's id.

    `claim` is what the stage before held and leaves to whoever gets this message, with the part of its history that is
    not written yet. The message holds no key of any media, no token of any server and no URL: these stand in the
    catalogue alone.
    """
    kwargs = stage_kwargs(media_id, inputs=inputs, silent=silent, lost=lost)
    if claim:
        kwargs |= inheritance(claim)
    return _message(media_id, stage, kwargs)


def stage_kwargs(media_id: str, *, inputs: Model | None, silent: bool, lost: int) -> dict[str, Any]:
    """What a message asks for, without what goes without saying."""
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


def inheritance(claim: Claim) -> dict[str, Any]:
    """What a message tells of the claim that is left to whoever gets it."""
    carried = claim.attempt_log.export()
    return {"heir_of": claim.token, "trail": carried} if carried else {"heir_of": claim.token}


def encode_message(message: Message[Any]) -> bytes:
    """The message as it rides on the belt, its inputs as plain JSON."""
    inputs = message.kwargs.get("inputs")
    if isinstance(inputs, Model):
        message = message.copy(kwargs={**message.kwargs, "inputs": inputs.model_dump(mode="json")})
    return message.encode()
