"""The worker processes of all hosts, as they said with their last heartbeats."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from actors.maintenance.heartbeat import SILENCE_S
from actors.observability.worker_info import WorkerInfo
from actors.redis_queue.queue import RedisQueue, shared_queue


class WorkerStatus(WorkerInfo):
    """A worker process. `last_beat_s` is how long ago it was heard, `alive` whether its heart beats.

    One whose facts this version cannot read, or that has not said any, has its id and its heartbeat alone.
    """

    id: str
    last_beat_s: float
    alive: bool


def workers(belt: RedisQueue | None = None) -> list[WorkerStatus]:
    """The living by host and process id; one that died is told as dead for a minute at most, then it is not told.

    Raises:
        redis.RedisError: Redis is out of reach.
    """
    seen = (belt or shared_queue()).stats.workers()
    found = [_facts(worker, silent_s, said) for worker, silent_s, said in seen if said or silent_s < SILENCE_S]
    return sorted(found, key=lambda one: (not one.alive, one.host, one.pid, one.id))


def _facts(worker: str, silent_s: float, said: bytes | None) -> WorkerStatus:
    seen: dict[str, Any] = {"id": worker, "last_beat_s": round(silent_s, 3), "alive": silent_s < SILENCE_S}
    return WorkerStatus.model_construct(**{**dict(_read(said)), **seen})


def _read(said: bytes | None) -> WorkerInfo:
    try:
        return WorkerInfo.model_validate_json(said or b"{}")
    except ValidationError:
        return WorkerInfo()
