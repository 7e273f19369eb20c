"""Faults of Redis: dead, empty, silent, slow, full, read-only, or with garbage in it. Each function is one round."""

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
    """SIGKILL, and up again: with AOF it knows all but the last second, without it nothing."""
    time.sleep(testbed.rng.uniform(1, 4))
    _queue_up(testbed)
    testbed.valkey.kill()
    time.sleep(testbed.rng.uniform(0.2, 3))
    testbed.valkey.start()
    testbed.record_return()
    time.sleep(6)


def wipe(testbed: Testbed, _round_number: int) -> None:
    time.sleep(testbed.rng.uniform(1, 4))
    _queue_up(testbed)
    testbed.valkey.client().flushall()
    testbed.record_return()
    time.sleep(6)


def take_away(testbed: Testbed, round_number: int) -> None:
    """Silent (SIGSTOP) or refusing (SIGKILL) for 1, 3, 10, 20 and 60 s, each in its turn."""
    how, seconds = OUTAGES[round_number % len(OUTAGES)]
    _queue_up(testbed)
    testbed.valkey.pause() if how == "pause" else testbed.valkey.kill()
    time.sleep(seconds)
    testbed.valkey.resume() if how == "pause" else testbed.valkey.start()
    testbed.record_return()
    time.sleep(6)


def fill_up(testbed: Testbed, _round_number: int) -> None:
    """At its memory limit and told to evict nothing: every write fails."""
    _for_a_while(testbed, {"maxmemory-policy": "noeviction", "maxmemory": "1"}, {"maxmemory": "0"})


def evict(testbed: Testbed, _round_number: int) -> None:
    """At its memory limit and told to throw out whatever it likes."""
    good = {"maxmemory": "0", "maxmemory-policy": "noeviction"}
    _for_a_while(testbed, {"maxmemory-policy": "allkeys-lru", "maxmemory": "1"}, good)


def make_read_only(testbed: Testbed, _round_number: int) -> None:
    """A replica of nothing, as after a failover to the wrong side."""
    testbed.valkey.client().replicaof("127.0.0.1", str(free_port()))
    time.sleep(testbed.rng.uniform(4, 10))
    testbed.valkey.client().replicaof("NO", "ONE")
    testbed.record_return()
    time.sleep(4)


def slow_down(testbed: Testbed, round_number: int) -> None:
    """It does not answer for five seconds: told to pause its clients, or busy with itself."""
    if round_number % 2:
        testbed.valkey.client().client_pause(5000)
    else:
        with suppress(redis.TimeoutError):  # it sleeps for as long as our own patience lasts
            testbed.valkey.client().execute_command("DEBUG", "SLEEP", 5)  # type: ignore[no-untyped-call]
    time.sleep(testbed.rng.uniform(5, 8))


def litter(testbed: Testbed, round_number: int) -> None:
    """What no version of this product ever wrote, due in every queue."""
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
    """Thirty files at once: about two seconds of work wait on the belt."""
    testbed.load.surge(30)
    time.sleep(0.4)


def _for_a_while(testbed: Testbed, bad: dict[str, str], good: dict[str, str]) -> None:
    _queue_up(testbed)
    client = testbed.valkey.client()
    for name, value in bad.items():
        client.config_set(name, value)
    time.sleep(testbed.rng.uniform(4, 10))
    for name, value in good.items():
        client.config_set(name, value)
    testbed.record_return()
    time.sleep(4)
