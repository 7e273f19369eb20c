"""The worker processes of all hosts, from their heartbeats."""

from __future__ import annotations

from pydantic import ValidationError

from actors.maintenance.heartbeat import SILENCE_S
from actors.observability.worker_info import WorkerInfo
from actors.redis_queue.queue import RedisQueue, shared_queue
from actors.redis_queue.queue_stats import WorkerHeartbeat


class WorkerStatus(WorkerInfo):
    """A worker process. `last_beat_s` is the time since its last heartbeat.

    A worker whose info is missing or cannot be read by this version has the fields of this class only.
    """

    id: str
    last_beat_s: float
    alive: bool


def workers(queue: RedisQueue | None = None) -> list[WorkerStatus]:
    """Living workers by host and process id, then dead ones; a dead worker is listed for a minute at most.

    Raises:
        redis.RedisError: Redis is away.
    """
    heartbeats = (queue or shared_queue()).stats.workers()
    statuses = [_status(heartbeat) for heartbeat in heartbeats if heartbeat.info or heartbeat.silent_s < SILENCE_S]
    return sorted(statuses, key=lambda status: (not status.alive, status.host, status.pid, status.id))


def _status(heartbeat: WorkerHeartbeat) -> WorkerStatus:
    fields = dict(_parse(heartbeat.info)) | {
        "id": heartbeat.worker,
        "last_beat_s": round(heartbeat.silent_s, 3),
        "alive": heartbeat.silent_s < SILENCE_S,
    }
    return WorkerStatus.model_construct(**fields)


def _parse(info: bytes | None) -> WorkerInfo:
    try:
        return WorkerInfo.model_validate_json(info or b"{}")
    except ValidationError:
        return WorkerInfo()
