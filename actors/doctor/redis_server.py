"""Redis: whether it answers, whether it keeps what it is given, and who works on it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import redis

from actors.doctor.finding import Finding, fail, ok, warn
from actors.maintenance.heartbeat import SILENCE_S
from actors.redis_queue.queue import RedisQueue, open_queue
from pipeline.config.settings import Settings

TIMEOUT_S = 3.0
OLDEST = (6, 2)
SCRIPTS_WRITE_SINCE = (5, 0)  # before, a script that had asked for the time could not write
FULL, NEARLY_FULL = 1.0, 0.8  # of maxmemory
CLOCK_S = 2.0

CHECK_ADDRESS = "check REDIS_URL or REDIS_HOST and that its server runs; with neither set, `esteira start` runs one"
# One script moves a message between keys, so all of them lie in one slot: a second shard would stand idle.
NO_CLUSTER = "use a Redis without cluster mode, of which a replica may take over: Esteira does not follow MOVED"
CHECK_LOGIN = "check the password in REDIS_URL or PASSWORD_REDIS"


@dataclass(frozen=True)
class RedisStatus:
    """What Redis says of itself. `info` is its INFO, `skew_s` its clock less ours, `silent_s` each worker's silence.

    `shards` is over how many primaries a cluster divides its keys; 1 where it is none.
    """

    place: str
    info: dict[str, Any]
    skew_s: float
    silent_s: tuple[float, ...]
    shards: int = 1


def redis_address(settings: Settings) -> str:
    """Where Redis is, without its password: host and port, or the socket's path."""
    parts = urlsplit(settings.redis)
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname}:{parts.port or 6379}"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Everything about Redis; one finding alone if it does not answer."""
    place = redis_address(settings)
    belt = open_queue(settings, timeout_s=TIMEOUT_S)
    try:
        vitals = read_status(belt, place)
    except redis.AuthenticationError:
        yield fail("redis", f"{place} refuses the login", CHECK_LOGIN)
    except (redis.exceptions.AskError, redis.exceptions.MovedError) as moved:
        elsewhere = f"the belt's keys belong to its shard {moved.host}:{moved.port}"
        yield fail("redis", f"{place} is one shard of a cluster, and {elsewhere}", NO_CLUSTER)
    except (redis.RedisError, OSError) as error:
        yield fail("redis", f"{place} does not answer ({type(error).__name__})", CHECK_ADDRESS)
    else:
        yield from (check(vitals) for check in CHECKS)
    finally:
        belt.client.close()


def read_status(belt: RedisQueue, place: str) -> RedisStatus:
    """Asks Redis for all that the checks look at. INFO says everything: many providers refuse CONFIG.

    Raises:
        redis.RedisError: it does not answer, or refuses.
    """
    info: Any = belt.client.info()
    asked = time.time()
    seconds, microseconds = belt.client.time()
    now = seconds + microseconds / 1_000_000
    beats: Any = belt.client.zrange(belt.keys.workers, 0, -1, withscores=True)
    silent = tuple(now - milliseconds / 1000 for _, milliseconds in beats)
    skew_s = now - (asked + time.time()) / 2
    return RedisStatus(place=place, info=info, skew_s=skew_s, silent_s=silent, shards=_shards(belt, info))


def _shards(belt: RedisQueue, info: dict[str, Any]) -> int:
    if not info.get("cluster_enabled"):
        return 1
    told: Any = belt.client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    found = re.search(r"cluster_size:(\d+)", told.decode() if isinstance(told, bytes) else str(told))
    return int(found[1]) if found else 1


def check_version(vitals: RedisStatus) -> Finding:
    info = vitals.info
    valkey = info.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])  # Valkey says which Redis it is
    message = f"{name} at {vitals.place}"
    if version < SCRIPTS_WRITE_SINCE:
        return fail("redis", f"{message} is too old for the belt's scripts", "install Redis 6.2 or later, or Valkey")
    if version < OLDEST:
        return warn("redis", f"{message} is older than Redis 6.2", "install Redis 6.2 or later, or Valkey")
    return ok("redis", message)


def check_cluster(vitals: RedisStatus) -> Finding:
    if vitals.shards > 1:
        message = f"a cluster of {vitals.shards} shards: the belt lies on this one; nothing works once it moves"
        return warn("cluster", message, NO_CLUSTER)
    return ok("cluster", "keeps all keys itself")


def check_eviction(vitals: RedisStatus) -> Finding:
    policy = vitals.info.get("maxmemory_policy", "unknown")
    remedy = "CONFIG SET maxmemory-policy noeviction, and in its configuration file"
    if policy == "noeviction":
        return ok("eviction", "noeviction: nothing is thrown away when memory is short")
    if policy.startswith("volatile"):
        # Of all that is on the belt, only the ledger and locks have a time to live.
        return warn("eviction", f"{policy}: the ledger of finished jobs is thrown away when memory is short", remedy)
    lost = "what waits may be thrown away when memory is short, again whenever the sweep has put it back"
    return fail("eviction", f"{policy}: {lost}", remedy)


def check_persistence(vitals: RedisStatus) -> Finding:
    info = vitals.info
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        return fail("append-only file", "cannot be written, so Redis refuses work", "make room on the disk of Redis")
    if info.get("aof_enabled"):
        return ok("append-only file", "on: a restart forgets a second at most, and the sweep puts that back")
    forgets = "off: a restart forgets the belt, and only the sweep puts it back"
    return warn("append-only file", forgets, "CONFIG SET appendonly yes, and in its configuration file")


def check_role(vitals: RedisStatus) -> Finding:
    if vitals.info.get("role") in {"slave", "replica"} and vitals.info.get("slave_read_only", 1):
        return fail("role", "a read-only replica: nothing can be put on the belt", "point REDIS_URL at its primary")
    return ok("role", "takes writes")


def check_memory(vitals: RedisStatus) -> Finding:
    used, most = int(vitals.info["used_memory"]), int(vitals.info.get("maxmemory", 0))
    if not most:
        return ok("memory", f"{used / 1e6:.0f} MB used, no limit set")
    message = f"{used / 1e6:.0f} of {most / 1e6:.0f} MB used"
    remedy = "raise maxmemory, or start more workers so that less waits"
    if used >= most * FULL:
        return fail("memory", f"{message}: Redis refuses work", remedy)
    return warn("memory", message, remedy) if used > most * NEARLY_FULL else ok("memory", message)


def check_clock(vitals: RedisStatus) -> Finding:
    if abs(vitals.skew_s) > CLOCK_S:
        return warn("redis clock", f"differs from ours by {vitals.skew_s:+.1f} s", "let both machines use NTP")
    return ok("redis clock", f"within {CLOCK_S:g} s of ours")


def check_workers(vitals: RedisStatus) -> Finding:
    alive = sum(silent < SILENCE_S for silent in vitals.silent_s)
    if not alive:
        remedy = "run `esteira start`, or the worker line of the Procfile"
        return warn("workers", "no worker process is alive: what is accepted waits", remedy)
    return ok("workers", f"{alive} worker process{'es' if alive > 1 else ''} alive")


CHECKS: tuple[Callable[[RedisStatus], Finding], ...] = (
    check_version,
    check_cluster,
    check_role,
    check_eviction,
    check_persistence,
    check_memory,
    check_clock,
    check_workers,
)
