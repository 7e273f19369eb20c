"""The names of all Redis keys of the queue.

All keys are in one hash slot, because a script may only use keys of one slot.
"""

from __future__ import annotations

from dataclasses import dataclass

PREVIEW_QUEUE = "derive"  # the queue of previews, next to those of the five stages
SIZE_CLASSES = ("small", "large")  # in the order of their numbers in the scripts


@dataclass(frozen=True)
class Keys:
    """Keys under one namespace, and optionally in a subspace of it.

    Some Redis names are older than the Python names; they stay, for compatibility with running systems. For each
    property: its Redis name, type and contents.

    - `messages`: `messages`, hash, key → scheduling info and message
    - `waiting()`: `waiting:QUEUE:SIZE_CLASS`, sorted set of "session NUL urgency position key", all with the score 0
    - `turns()`: `turns:QUEUE:SIZE_CLASS`, sorted set, session → its turn
    - `session_marks`: `standing`, hash, session → one letter for each queue and size class where it has messages
    - `in_flight`: `flight`, hash, session → what it has in flight, in thousandths of a file, and 2^36 for each download
    - `expiring`: `expiring`, sorted set, a mark and a member of `waiting` → when the source expires, Unix ms
    - `delayed()`: `delayed:QUEUE`, sorted set, key → due, Unix ms
    - `held()`: `held:WORKER`, hash, key → "delivery id:queue:begun:priority:scheduling info"; the third field is
      "begun" once a message with crashes was started, else empty
    - `delivery_counter`: `serial`, number, the last delivery id
    - `position`: `position`, number, the last position in `waiting`
    - `workers`: `workers`, sorted set, worker → last heartbeat, Unix ms
    - `worker_info()`: `said:WORKER`, text, the worker info as JSON
    - `clock`: `clock`, number, the time of the last audit, Unix ms
    - `crashes`: `crashes`, hash, key → number of workers that died while they held it
    - `dead()`: `dead:QUEUE`, sorted set, key → when it became a dead letter, Unix ms
    - `dead_messages`: `dead-messages`, hash, key → message
    - `paused`: `paused`, hash, "stage:NAME" or "session:NAME" → since, Unix ms; and `told` → the version of the pauses
    - `finished_index()`: `ledger:NAME`, sorted set, id → when it finished, Unix ms
    - `finished_entries()`: `ledger:NAME:entries`, hash, id → JSON
    - `metrics`: `figures`, hash, metric → number, as `pipeline.metrics` names them
    - `gauges`: `levels`, set of the keys that `gauge()` makes
    - `gauge()`: `level:NAME:PROCESS`, text, the value of a gauge in a living process
    - `channel`: `wake`, channel, wake-up calls
    - `host_rate()`: `pace:HOST` and three more, see host_rate.lua
    - `lock()`: `lock:NAME`, text, expires by itself
    - `scanned`: `scanned`, number, when the last finished requeue scan after a return of Redis began, Unix ms

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

    @property
    def scanned(self) -> str:
        return self._key("scanned")

    def lock(self, name: str) -> str:
        return self._key(f"lock:{name}")
