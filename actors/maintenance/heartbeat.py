"""The heartbeat of a worker process."""

from __future__ import annotations

import redis

from actors.broker.broker import EsteiraBroker
from actors.maintenance.reaper import Reaper
from actors.observability.worker_info import WorkerIdentity
from pipeline.sandbox import deaths

HEARTBEAT_EVERY_S = 3.0
SILENCE_S = 12.0  # a worker that was silent for longer is dead; its messages run again within 20 s
SILENCE_MS = int(SILENCE_S * 1000)


class Heartbeat:
    """Sends the heartbeats of one worker process, and passes workers that stopped sending theirs to the reaper."""

    def __init__(self, broker: EsteiraBroker) -> None:
        self._broker = broker
        self._identity = WorkerIdentity(threads=broker.threads, queues=broker.worker_queues)
        self._reaper = Reaper(*broker.redis_queues, heartbeat_every_s=HEARTBEAT_EVERY_S, silence_ms=SILENCE_MS)

    def beat(self) -> int:
        """Sends one heartbeat; returns how many messages of dead workers were requeued."""
        worker = self._broker.worker_id
        queue, preview_queue = self._broker.redis_queues
        info = self._identity.current_info(sandbox_deaths=deaths()).model_dump_json()
        try:
            dead = queue.heartbeat(worker, silence_ms=SILENCE_MS, info=info)
            dead_in_previews = preview_queue.heartbeat(worker, silence_ms=SILENCE_MS)
            return self._reaper.reap(dead, dead_in_previews)
        except redis.RedisError:
            return 0  # the consumers log the outage
