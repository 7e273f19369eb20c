"""The names of all Redis keys of the queue. They share one hash slot, so the scripts also run on a cluster."""

from __future__ import annotations

from dataclasses import dataclass

PREVIEW_QUEUE = "derive"  # the queue of previews, next to those of the five stages
SIZE_CLASSES = ("small", "large")  # in the order of their numbers in the scripts


@dataclass(frozen=True)
class Keys:
    """Keys under one namespace, and optionally in a subspace of it.

    `messages` hash key → scheduling info and message · `waiting(queue, size class)` sorted set of "session NUL urgency
    position key" · `turns(queue, size class)` sorted set session → its turn · `standing` hash session → where it has
    messages waiting · `flight` hash session → what it has in flight · `expiring` sorted set of members of `waiting`
    with a mark before them → Unix ms · `delayed(queue)` sorted set key → due, ms ·
    `held(worker)` hash key → "delivery id:queue:begun:priority:scheduling info"; the third field is "begun" once a
    message with crashes was started, else empty · `serial` the last delivery id · `position` the last position ·
    `workers` sorted set worker → last heartbeat, ms · `said(worker)` the worker info, JSON ·
    `clock` time of the last audit, ms · `crashes` hash key → workers that died while they held it ·
    `dead(queue)` sorted set key → ms, `dead-messages` hash key → message ·
    `paused` hash "stage:name" or "session:name" → since, ms, and `told` → the version ·
    `ledger:NAME` sorted set id → ms and `ledger:NAME:entries` hash id → JSON: finished jobs ·
    `figures` hash metric → number, as `pipeline.metrics` names them ·
    `levels` set of the keys `level:NAME:PROCESS` → the value of a gauge in a living process.
    For the keys of live events see `pipeline.notifiers.live`.
    """

    namespace: str = "esteira"
    subspace: str = ""

    @property
    def prefix(self) -> str:
        """The beginning of every key."""
        return f"{{{self.namespace}}}:{self.subspace}"

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
        """The channel of wake-up calls: a queue's name when it gets work, or "paused" when the pauses have changed."""
        return self._key("wake")

    def waiting(self, queue: str, size_class: str) -> str:
        return self._key(f"waiting:{queue}:{size_class}")

    def turns(self, queue: str, size_class: str) -> str:
        return self._key(f"turns:{queue}:{size_class}")

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
    def common(self) -> list[str]:
        """The first keys of every script that begins with scheduling.lua, in its order."""
        names = [self.messages, self.crashes, self.delivery_counter, self.position, self.in_flight, self.session_marks]
        return [*names, self.expiring, self.dead_messages, self.paused]

    def host_rate(self, host: str) -> list[str]:
        """The keys of host_rate.lua: the next free turn, reserved turns, requesters that wait, the sessions' lines."""
        name = self._key(f"pace:{host}")
        return [name, f"{name}:given", f"{name}:waiting", f"{name}:lines"]

    def lock(self, name: str) -> str:
        return self._key(f"lock:{name}")
