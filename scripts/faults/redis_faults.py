"""Redis faults: killed, emptied, silent, slow, full, read-only, with garbage. Each public function is one round."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import redis

from actors.redis_queue.keys import Keys
from scripts.faults.environment import Testbed
from tests.support.valkey import free_port

OUTAGES = tuple(zip(("pause", "kill") * 5, (1, 3, 10, 20, 60) * 2, strict=True))
GARBAGE = (b"not json", b"[1, 2]", b'{"queue_name": "fetch"}', b"\xff\xfe\x00", b"", b"{" * 5000)
UNKNOWN_ACTOR = {"queue_name": "fetch", "actor_name": "transcribe", "args": [], "options": {}, "message_timestamp": 1}


def restart(testbed: Testbed, _round_number: int) -> None:
    """Kills and restarts Valkey: with AOF it loses at most the last second, without AOF everything."""
    time.sleep(testbed.rng.uniform(1, 4))
    _queue_up(testbed)
    testbed.valkey.kill()
    time.sleep(testbed.rng.uniform(0.2, 3))
    testbed.valkey.start()
    testbed.record_recovery()
    time.sleep(6)


def flush(testbed: Testbed, _round_number: int) -> None:
    time.sleep(testbed.rng.uniform(1, 4))
    _queue_up(testbed)
    testbed.valkey.client().flushall()
    testbed.record_recovery()
    time.sleep(6)


def make_unavailable(testbed: Testbed, round_number: int) -> None:
    """Silent (SIGSTOP) or refusing connections (SIGKILL) for 1, 3, 10, 20 and 60 s in turn."""
    fault, seconds = OUTAGES[round_number % len(OUTAGES)]
    _queue_up(testbed)
    testbed.valkey.pause() if fault == "pause" else testbed.valkey.kill()
    time.sleep(seconds)
    testbed.valkey.resume() if fault == "pause" else testbed.valkey.start()
    testbed.record_recovery()
    time.sleep(6)


def refuse_writes(testbed: Testbed, _round_number: int) -> None:
    """At the memory limit without eviction: every write fails."""
    _with_config(testbed, {"maxmemory-policy": "noeviction", "maxmemory": "1"}, {"maxmemory": "0"})


def evict(testbed: Testbed, _round_number: int) -> None:
    """At the memory limit with eviction of any key."""
    good = {"maxmemory": "0", "maxmemory-policy": "noeviction"}
    _with_config(testbed, {"maxmemory-policy": "allkeys-lru", "maxmemory": "1"}, good)


def make_read_only(testbed: Testbed, _round_number: int) -> None:
    """A read-only replica, as after a failover."""
    testbed.valkey.client().replicaof("127.0.0.1", str(free_port()))
    time.sleep(testbed.rng.uniform(4, 10))
    testbed.valkey.client().replicaof("NO", "ONE")
    testbed.record_recovery()
    time.sleep(4)


def stall(testbed: Testbed, round_number: int) -> None:
    """Does not respond for five seconds: CLIENT PAUSE or DEBUG SLEEP."""
    if round_number % 2:
        testbed.valkey.client().client_pause(5000)
    else:
        with suppress(redis.TimeoutError):  # it sleeps for as long as the timeout of this client
            testbed.valkey.client().execute_command("DEBUG", "SLEEP", 5)  # type: ignore[no-untyped-call]
    time.sleep(testbed.rng.uniform(5, 8))


def write_garbage(testbed: Testbed, round_number: int) -> None:
    """Puts entries that no version of the product has written into the queues."""
    client, keys = testbed.valkey.client(), Keys()
    unknown = json.dumps(
        {**UNKNOWN_ACTOR, "message_id": f"unknown-{round_number}", "kwargs": {"media_id": "0" * 32}}
    ).encode()
    for number, content in enumerate((*GARBAGE, unknown)):
        key = f"garbage-{round_number}-{number}"
        client.hset(keys.messages, key, content)
        client.zadd(keys.delayed(testbed.rng.choice(["fetch", "validate", "notify"])), {key: 1})
        client.zadd(keys.delayed("fetch"), {f"nowhere-{round_number}-{number}": 1})  # a key without a message
    time.sleep(testbed.rng.uniform(1, 3))


def _queue_up(testbed: Testbed) -> None:
    """Hands over 30 files at once: about two seconds of work in the queue."""
    testbed.load.surge(30)
    time.sleep(0.4)


def _with_config(testbed: Testbed, bad: dict[str, str], good: dict[str, str]) -> None:
    _queue_up(testbed)
    client = testbed.valkey.client()
    for name, value in bad.items():
        client.config_set(name, value)
    time.sleep(testbed.rng.uniform(4, 10))
    for name, value in good.items():
        client.config_set(name, value)
    testbed.record_recovery()
    time.sleep(4)
