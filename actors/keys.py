"""The names of everything on the belt in Redis. One hash slot holds them all, so scripts work on a cluster too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """Keys under one namespace.

    `messages` hash key → message · `ready(queue)` list of keys · `delayed(queue)` sorted set key → due, ms ·
    `held(worker)` hash key → "serial:queue", with ":begun" for a suspect that runs ·
    `workers` sorted set worker → last heartbeat, ms ·
    `crashes` hash key → workers that died holding it · `dead(queue)` sorted set key → ms, `dead_messages` hash ·
    `shelf(name)` sorted set id → ms and `entries(name)` hash id → JSON: the ledger.
    """

    namespace: str = "esteira"

    def _key(self, name: str) -> str:
        return f"{{{self.namespace}}}:{name}"

    @property
    def messages(self) -> str:
        return self._key("messages")

    @property
    def crashes(self) -> str:
        return self._key("crashes")

    @property
    def serial(self) -> str:
        return self._key("serial")

    @property
    def workers(self) -> str:
        return self._key("workers")

    @property
    def dead_messages(self) -> str:
        return self._key("dead-messages")

    @property
    def channel(self) -> str:
        """Where the name of a queue is published that was empty and is not any more."""
        return self._key("wake")

    def ready(self, queue: str) -> str:
        return self._key(f"ready:{queue}")

    def delayed(self, queue: str) -> str:
        return self._key(f"delayed:{queue}")

    def dead(self, queue: str) -> str:
        return self._key(f"dead:{queue}")

    def held(self, worker: str) -> str:
        return self._key(f"held:{worker}")

    def shelf(self, name: str) -> str:
        return self._key(f"ledger:{name}")

    def entries(self, name: str) -> str:
        return self._key(f"ledger:{name}:entries")

    def lock(self, name: str) -> str:
        return self._key(f"lock:{name}")
