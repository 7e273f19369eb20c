"""The names of everything on the belt in Redis. One hash slot holds them all, so scripts work on a cluster too."""

from __future__ import annotations

from dataclasses import dataclass

PREVIEW_QUEUE = "derive"  # the queue beside those of the five stages; see actors.broker.preview_consumer
SIZE_CLASSES = ("small", "large")  # in the order of their numbers in the scripts


@dataclass(frozen=True)
class Keys:
    """Keys under one namespace.

    `messages` hash key → place and message · `waiting(queue, lane)` sorted set of "session NUL urgency position key" ·
    `turns(queue, lane)` sorted set session → its turn · `standing` hash session → where it waits for one ·
    `flight` hash session → what it has in flight · `expiring` sorted set lane and member of waiting → Unix ms ·
    `delayed(queue)` sorted set key → due, ms ·
    `held(worker)` hash key → "delivery_id:queue:begun:turn:place", `begun` for a suspect that runs, else nothing ·
    `workers` sorted set worker → last heartbeat, ms · `said(worker)` JSON, what it says of itself ·
    `clock` ms when the belt was last looked over ·
    `crashes` hash key → workers that died holding it · `dead(queue)` sorted set key → ms, `dead_messages` hash ·
    `paused` hash "stage:name" or "session:name" → since, ms, and `told` → how often it was written ·
    `ready(queue)` list of keys, where the former version kept what waits ·
    `shelf(name)` sorted set id → ms and `entries(name)` hash id → JSON: the ledger ·
    `figures` hash counter or bucket → number, as `pipeline.metrics` names them ·
    `levels` set of the keys `level(name, process)` → what a living process tells of a gauge.
    The live events stand beside them: see `pipeline.notifiers.live`.
    """

    namespace: str = "esteira"
    beside: str = ""

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return f"{{{self.namespace}}}:{self.beside}"

    def _key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @property
    def messages(self) -> str:
        return self._key("messages")

    @property
    def crashes(self) -> str:
        return self._key("crashes")

    @property
    def delivery_counter(self) -> str:
        return self._key("serial")

    @property
    def position(self) -> str:
        return self._key("position")

    @property
    def in_flight(self) -> str:
        return self._key("flight")

    @property
    def session_marks(self) -> str:
        return self._key("standing")

    @property
    def expiring(self) -> str:
        return self._key("expiring")

    @property
    def workers(self) -> str:
        return self._key("workers")

    @property
    def clock(self) -> str:
        return self._key("clock")

    @property
    def metrics(self) -> str:
        return self._key("figures")

    @property
    def gauges(self) -> str:
        return self._key("levels")

    def gauge(self, name: str, process: str) -> str:
        return self._key(f"level:{name}:{process}")

    @property
    def dead_messages(self) -> str:
        return self._key("dead-messages")

    @property
    def paused(self) -> str:
        return self._key("paused")

    @property
    def channel(self) -> str:
        """Where a queue's name is published when a lane of it is not empty any more, or something will be due there."""
        return self._key("wake")

    def ready(self, queue: str) -> str:
        return self._key(f"ready:{queue}")

    def waiting(self, queue: str, lane: str) -> str:
        return self._key(f"waiting:{queue}:{lane}")

    def turns(self, queue: str, lane: str) -> str:
        return self._key(f"turns:{queue}:{lane}")

    def delayed(self, queue: str) -> str:
        return self._key(f"delayed:{queue}")

    def dead(self, queue: str) -> str:
        return self._key(f"dead:{queue}")

    def held(self, worker: str) -> str:
        return self._key(f"held:{worker}")

    def worker_info(self, worker: str) -> str:
        return self._key(f"said:{worker}")

    def finished_index(self, name: str) -> str:
        return self._key(f"ledger:{name}")

    def finished_entries(self, name: str) -> str:
        return self._key(f"ledger:{name}:entries")

    @property
    def of_all(self) -> list[str]:
        """What every script of lanes.lua is given first: the keys that belong to no queue."""
        names = [self.messages, self.crashes, self.delivery_counter, self.position, self.in_flight, self.session_marks]
        return [*names, self.expiring, self.dead_messages, self.paused]

    def host_rate(self, host: str) -> list[str]:
        """Of a host that has a rate: its next free turn, turns given away, who waits, the ends of sessions' lines."""
        name = self._key(f"pace:{host}")
        return [name, f"{name}:given", f"{name}:waiting", f"{name}:lines"]

    def lock(self, name: str) -> str:
        return self._key(f"lock:{name}")
