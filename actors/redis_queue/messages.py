"""The messages of the queue: what is enqueued, fetched and acknowledged, and how the scripts return them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.scheduling import SchedulingInfo

NO_INFO = SchedulingInfo()


class FetchedMessage(NamedTuple):
    """A message that this worker holds now; `data` is as it was enqueued.

    `delivery_id` is a fencing token: each delivery of a key has a higher one, and only the newest can be acknowledged.
    The fetched message with the lowest `priority` runs first. `of_history`: it goes last, see `SchedulingInfo`.
    """

    key: str
    delivery_id: int
    crashes: int
    queue: str
    data: bytes
    large: bool
    priority: int
    session: str = ""
    of_history: bool = False


class SessionDownloads(NamedTuple):
    """How many downloads of one session a worker holds, and how many of them are of large files."""

    total: int = 0
    large: int = 0


class FetchLimits(NamedTuple):
    """What one fetch may return, apart from the number of messages.

    `large` is the number of messages of large files (None: any number). `per_session` is how many downloads of one
    session all workers together may hold, `per_session_here` how many this worker, and `large_per_session_here` how
    many large ones among these (0: any number). `history` is the number of messages of the history (None: any number).
    `downloads` are those that it has already, by session.
    """

    large: int | None = None
    per_session: int = 0
    per_session_here: int = 0
    large_per_session_here: int = 0
    history: int | None = None
    downloads: Mapping[str, SessionDownloads] = MappingProxyType({})


class FetchResult(NamedTuple):
    """The result of a fetch.

    `next_due_s` are the seconds until the next delayed message is due, None without one. `limited` says whether a
    session was at a limit of its downloads, so that it may get more when some of them have ended.
    """

    next_due_s: float | None
    messages: list[FetchedMessage]
    limited: bool = False


class PauseStateUnknownError(Exception):
    """Raised by a fetch from a Redis to which the pauses were not published yet, as after a wipe."""


class EnqueueRequest(NamedTuple):
    """A message to enqueue, unless its key is in the queue already."""

    key: str
    queue: str
    message: bytes
    scheduling: SchedulingInfo = NO_INFO
    delay_ms: int = 0


class AckAction(NamedTuple):
    """What happens to an acknowledged message; `verdict` is the word that ack.lua expects for a verdict.

    | actors/delivery.py | ack.lua |
    |---|---|
    | NextStage | next; later, if it has a delay |
    | Retry | later |
    | Requeue | back |
    | Finished | done; dead, if the attachment failed |
    | DeadLetter | dead |
    """

    verdict: str
    queue: str
    message: bytes = b""
    delay_ms: int = 0


class Ack(NamedTuple):
    """The acknowledgement of one delivery, with its entry in a list of finished jobs.

    `preview_job` is enqueued in the preview queue in the same round trip; it may get lost where the rest does not.
    """

    key: str
    delivery_id: int
    action: AckAction
    finished_job: tuple[FinishedJobList, str] | None = None
    preview_job: EnqueueRequest | None = None


def fetched_message(row: list[Any]) -> FetchedMessage:
    """The message in a row of the answers of fetch.lua and held_messages.lua."""
    key, delivery_id, crashes, queue, data, size_class, priority, session, of_history = row
    return FetchedMessage(
        key=_decode(key),
        delivery_id=int(delivery_id),
        crashes=int(crashes),
        queue=queue.decode(),
        data=data,
        large=bool(size_class),
        priority=int(priority),
        of_history=bool(of_history),
        session=_decode(session),
    )


def encode_key(key: str) -> bytes:
    """A key as in Redis. Foreign keys are not always UTF-8, and must be nameable to be removed."""
    return key.encode("utf-8", "surrogateescape")


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
