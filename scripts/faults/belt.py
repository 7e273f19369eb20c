"""Faults of Redis: dead, empty, silent, slow, full, read-only, or with garbage in it. Each function is one round."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import redis

from actors.redis_queue.keys import Keys
from scripts.faults.environment import Site
from tests.support.valkey import free_port

OUTAGES = tuple(zip(("pause", "kill") * 5, (1, 3, 10, 20, 60) * 2, strict=True))
GARBAGE = (b"not json", b"[1, 2]", b'{"queue_name": "fetch"}', b"\xff\xfe\x00", b"", b"{" * 5000)
UNKNOWN_ACTOR = {"queue_name": "fetch", "actor_name": "transcribe", "args": [], "options": {}, "message_timestamp": 1}


def restart(site: Site, _turn: int) -> None:
    """SIGKILL, and up again: with AOF it knows all but the last second, without it nothing."""
    time.sleep(site.chance.uniform(1, 4))
    _queue_up(site)
    site.valkey.kill()
    time.sleep(site.chance.uniform(0.2, 3))
    site.valkey.start()
    site.came_back()
    time.sleep(6)


def wipe(site: Site, _turn: int) -> None:
    time.sleep(site.chance.uniform(1, 4))
    _queue_up(site)
    site.valkey.client().flushall()
    site.came_back()
    time.sleep(6)


def take_away(site: Site, turn: int) -> None:
    """Silent (SIGSTOP) or refusing (SIGKILL) for 1, 3, 10, 20 and 60 s, each in its turn."""
    how, seconds = OUTAGES[turn % len(OUTAGES)]
    _queue_up(site)
    site.valkey.pause() if how == "pause" else site.valkey.kill()
    time.sleep(seconds)
    site.valkey.resume() if how == "pause" else site.valkey.start()
    site.came_back()
    time.sleep(6)


def fill_up(site: Site, _turn: int) -> None:
    """At its memory limit and told to evict nothing: every write fails."""
    _for_a_while(site, {"maxmemory-policy": "noeviction", "maxmemory": "1"}, {"maxmemory": "0"})


def evict(site: Site, _turn: int) -> None:
    """At its memory limit and told to throw out whatever it likes."""
    good = {"maxmemory": "0", "maxmemory-policy": "noeviction"}
    _for_a_while(site, {"maxmemory-policy": "allkeys-lru", "maxmemory": "1"}, good)


def make_read_only(site: Site, _turn: int) -> None:
    """A replica of nothing, as after a failover to the wrong side."""
    site.valkey.client().replicaof("127.0.0.1", str(free_port()))
    time.sleep(site.chance.uniform(4, 10))
    site.valkey.client().replicaof("NO", "ONE")
    site.came_back()
    time.sleep(4)


def slow_down(site: Site, turn: int) -> None:
    """It does not answer for five seconds: told to pause its clients, or busy with itself."""
    if turn % 2:
        site.valkey.client().client_pause(5000)
    else:
        with suppress(redis.TimeoutError):  # it sleeps for as long as our own patience lasts
            site.valkey.client().execute_command("DEBUG", "SLEEP", 5)  # type: ignore[no-untyped-call]
    time.sleep(site.chance.uniform(5, 8))


def litter(site: Site, turn: int) -> None:
    """What no version of this product ever wrote, due in every queue."""
    client, keys = site.valkey.client(), Keys()
    unknown = json.dumps({**UNKNOWN_ACTOR, "message_id": f"unknown-{turn}", "kwargs": {"media_id": "0" * 32}}).encode()
    for number, content in enumerate((*GARBAGE, unknown)):
        key = f"garbage-{turn}-{number}"
        client.hset(keys.messages, key, content)
        client.zadd(keys.delayed(site.chance.choice(["fetch", "validate", "notify"])), {key: 1})
        client.zadd(keys.delayed("fetch"), {f"nowhere-{turn}-{number}": 1})  # a key without a message
    time.sleep(site.chance.uniform(1, 3))


def _queue_up(site: Site) -> None:
    """Thirty files at once: about two seconds of work wait on the belt."""
    site.load.surge(30)
    time.sleep(0.4)


def _for_a_while(site: Site, bad: dict[str, str], good: dict[str, str]) -> None:
    _queue_up(site)
    client = site.valkey.client()
    for name, value in bad.items():
        client.config_set(name, value)
    time.sleep(site.chance.uniform(4, 10))
    for name, value in good.items():
        client.config_set(name, value)
    site.came_back()
    time.sleep(4)
