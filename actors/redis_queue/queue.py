"""The queue in Redis: one Python method for each Lua script.

Every script is idempotent, so a call whose answer was lost may be repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import redis

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.keys import PREVIEW_QUEUE, Keys
from actors.redis_queue.locks import Locks
from actors.redis_queue.messages import (
    NO_INFO,
    Ack,
    AckAction,
    EnqueueRequest,
    FetchedMessage,
    FetchLimits,
    FetchResult,
    PauseStateUnknownError,
    encode_key,
    fetched_message,
)
from actors.redis_queue.queue_stats import QueueStats
from actors.redis_queue.scan_notes import ScanNotes
from actors.redis_queue.scheduling import SchedulingInfo, SizeClasses
from actors.redis_queue.script_runner import ScriptArg, ScriptCall, ScriptRunner
from actors.redis_queue.script_texts import script_texts
from pipeline.catalogue import Pause
from pipeline.config.settings import Settings, current_settings
from pipeline.models import Stage
from pipeline.redis_client import connect

QUICK_TIMEOUT_S = 0.25  # how long a listener waits for Redis
WORKER_TIMEOUT_S = 5.0  # how long a worker waits for Redis

PAUSES_UNKNOWN = -2  # see fetch.lua
REMOVE_SEARCHES = 2000  # messages that remove.lua searches from either end of a session: one or two milliseconds
WORKER_INFO_TTL_MS = 60_000  # how long `esteira workers` shows a worker that was killed


class RedisQueue:
    """The commands of the queue on one client.

    Raises, from every method: `redis.RedisError`, while Redis is away, starting, full or read-only.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        queues: Sequence[str],
        keys: Keys | None = None,
        size_classes: SizeClasses | None = None,
    ) -> None:
        self.client = client
        self.queues = tuple(queues)
        self.keys = keys or Keys()
        self.size_classes = size_classes or SizeClasses()
        self._common_keys = self.keys.common
        self._common_args = (",".join(self.queues), self.keys.channel, self.keys.prefix)
        self._scripts = ScriptRunner(client, script_texts())

    @cached_property
    def preview_queue(self) -> RedisQueue:
        """The low-priority queue of previews: the same commands with other keys, so no stage's script reads it."""
        keys = replace(self.keys, subspace=f"{PREVIEW_QUEUE}:")
        queue = RedisQueue(self.client, queues=[PREVIEW_QUEUE], keys=keys, size_classes=self.size_classes)
        queue._scripts = self._scripts  # one pool of connections
        return queue

    @cached_property
    def stats(self) -> QueueStats:
        return QueueStats(self.client, self.keys, self.queues)

    @cached_property
    def locks(self) -> Locks:
        return Locks(self.client, self.keys)

    @cached_property
    def scan_notes(self) -> ScanNotes:
        return ScanNotes(self.client, self.keys)

    def enqueue(
        self, key: str, queue: str, message: bytes, *, scheduling: SchedulingInfo = NO_INFO, delay_ms: int = 0
    ) -> bool:
        """Enqueues a message; False if its key is in the queue already."""
        return bool(self._run(self._enqueue_call([EnqueueRequest(key, queue, message, scheduling, delay_ms)])))

    def enqueue_many(self, requests: Sequence[EnqueueRequest]) -> int:
        """Enqueues messages in their order, and returns how many; those whose key is in the queue are left out.

        Redis is blocked for about ten microseconds for each of them.
        """
        if not requests:
            return 0
        return int(self._run(self._enqueue_call(requests)))

    def fetch(
        self,
        worker: str,
        count: int,
        queues: Sequence[str],
        *,
        limits: FetchLimits = FetchLimits(),  # noqa: B008  it is frozen
        require_pause_state: bool = False,
    ) -> FetchResult:
        """Up to `count` messages within the limits.

        Raises:
            PauseStateUnknownError: with `require_pause_state`, if this Redis does not know what is paused.
        """
        large = count if limits.large is None else limits.large
        downloads = [word for name, numbers in limits.downloads.items() for word in (encode_key(name), *numbers)]
        keys = [self.keys.workers, self.keys.held(worker)]
        args: list[ScriptArg] = [worker, count, large, int(require_pause_state)]
        args += [limits.per_session, limits.per_session_here, limits.large_per_session_here]
        args.append(count if limits.history is None else limits.history)
        args += [len(limits.downloads), *downloads, *queues]
        due_ms, limited, *rows = self._run(self._call("fetch", keys, args))
        if due_ms == PAUSES_UNKNOWN:
            raise PauseStateUnknownError
        messages = [fetched_message(row) for row in rows]
        return FetchResult(due_ms / 1000 if due_ms >= 0 else None, messages, bool(limited))

    def held_messages(self, worker: str) -> list[FetchedMessage]:
        """All messages that a worker holds."""
        return [fetched_message(row) for row in self._run(self._call("held_messages", [self.keys.held(worker)], []))]

    def mark_started(self, worker: str, key: str, delivery_id: int) -> bool:
        """Records the start of a message that has crashes; False if the delivery is not held any more."""
        return bool(self._scripts.run("mark_started", [self.keys.held(worker)], [encode_key(key), delivery_id]))

    def ack(
        self,
        worker: str,
        key: str,
        delivery_id: int,
        action: AckAction,
        *,
        finished_job: tuple[FinishedJobList, str] | None = None,
        preview_job: EnqueueRequest | None = None,
    ) -> bool:
        """Acknowledges one delivery; False if it was not held any more."""
        return self.ack_many(worker, [Ack(key, delivery_id, action, finished_job, preview_job)])[0]

    def ack_many(self, worker: str, acks: Sequence[Ack]) -> list[bool]:
        """Acknowledges deliveries in one round trip; returns for each whether it was still held.

        Each acknowledgement is carried out completely or not at all. After an exception all may be sent again: those
        that were carried out are not held any more, and are skipped.
        """
        if not acks:
            return []
        calls = [self._ack_call(worker, acks)]
        if preview_jobs := [ack.preview_job for ack in acks if ack.preview_job]:
            calls.append(self.preview_queue._enqueue_call(preview_jobs))
        held, *_ = self._scripts.run_all(calls)
        if isinstance(held, redis.RedisError):
            raise held
        return [bool(was_held) for was_held in held]

    def remove(self, key: str) -> bool:
        """Removes a waiting or delayed message; False if a worker holds it or it is too deep in its session's line."""
        return bool(self._run(self._call("remove", [], [encode_key(key), REMOVE_SEARCHES])))

    def find_missing(self, keys: Sequence[str]) -> list[str]:
        """The keys that are not in the queue."""
        if not keys:
            return []
        return [key.decode() for key in self._scripts.run("find_missing", [self.keys.messages], keys)]

    def flush(self, queue: str) -> None:
        """Removes all waiting and delayed messages of one queue."""
        self._run(self._call("flush", [], [queue]))

    def heartbeat(self, worker: str, *, silence_ms: int, info: str = "") -> list[str]:
        """Sends one heartbeat with the worker's info; returns the workers that were silent for longer."""
        keys = [self.keys.workers, self.keys.worker_info(worker)]
        dead = self._scripts.run("heartbeat", keys, [worker, silence_ms, info, WORKER_INFO_TTL_MS])
        return [name.decode() for name in dead]

    def reap(self, worker: str, *, silence_ms: int, crash: bool) -> int:
        """Takes back what a dead worker held; returns the number of messages, or -1 if it lives or was reaped."""
        keys = [self.keys.workers, self.keys.held(worker)]
        return int(self._run(self._call("reap", keys, [worker, silence_ms, int(crash), self.queues[0]])))

    def audit(self) -> int:
        """Drops all waiting messages if Redis has evicted a part of the queue, and corrects a clock that was set back.

        Returns the number of messages that the requeue scan has to enqueue again; -1 if the workers changed meanwhile.
        """
        names: Any = self.client.zrange(self.keys.workers, 0, -1)
        workers = [name.decode() for name in names]
        keys = [self.keys.workers, self.keys.clock, *map(self.keys.held, workers)]
        return int(self._run(self._call("audit", keys, workers)))

    def pauses_version(self) -> str:
        """The version of the pauses that were published to this Redis; "" if none were."""
        version: Any = self.client.hget(self.keys.paused, "told")
        return version.decode() if version else ""

    def publish_pauses(self, pauses: Iterable[Pause], *, version: str) -> bool:
        """Publishes all pauses, and wakes the workers if they have changed.

        `version` is the result of `pauses_version` before the pauses were read. False if it has changed since.
        """
        words = [word for pause in pauses for word in (f"{pause.kind}:{pause.name}", pause.since)]
        return bool(self._run(self._call("publish_pauses", [], [version, *words])))

    def _run(self, call: ScriptCall) -> Any:
        return self._scripts.run(*call)

    def _call(self, name: str, keys: Sequence[str], args: Sequence[ScriptArg]) -> ScriptCall:
        return ScriptCall(name, [*self._common_keys, *keys], [*self._common_args, *args])

    def _enqueue_call(self, requests: Sequence[EnqueueRequest]) -> ScriptCall:
        args = [
            word
            for key, queue, message, scheduling, delay_ms in requests
            for word in (key, message, self.size_classes.encode(scheduling), delay_ms, queue)
        ]
        return self._call("enqueue", [], args)

    def _ack_call(self, worker: str, acks: Sequence[Ack]) -> ScriptCall:
        lists = {ack.finished_job[0].name: ack.finished_job[0] for ack in acks if ack.finished_job}
        numbers = {name: number for number, name in enumerate(lists, 1)}
        keys = [self.keys.held(worker)]
        args: list[ScriptArg] = [len(lists)]
        for name, job_list in lists.items():
            keys += (self.keys.finished_index(name), self.keys.finished_entries(name))
            args += job_list.limits
        for key, delivery_id, action, finished_job, _ in acks:
            list_and_entry = (numbers[finished_job[0].name], finished_job[1]) if finished_job else (0, "")
            args += (encode_key(key), delivery_id, action.verdict, action.message, action.delay_ms, action.queue)
            args += list_and_entry
        return self._call("ack", keys, args)


def open_queue(settings: Settings, *, timeout_s: float = WORKER_TIMEOUT_S) -> RedisQueue:
    """A queue for a process that is not a worker."""
    queues = [stage.value for stage in Stage]
    client = connect(settings.redis, timeout_s=timeout_s)
    return RedisQueue(client, queues=queues, size_classes=SizeClasses.of(settings))


def shared_queue() -> RedisQueue:
    """This process's queue, made at first use. A forked child makes its own."""
    return _queue_of(os.getpid())


@lru_cache(maxsize=1)
def _queue_of(_pid: int) -> RedisQueue:
    return open_queue(current_settings())
