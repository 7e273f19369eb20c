"""Checks of Redis: reachable, able to keep the queue, and used by running workers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

from actors.doctor.finding import Finding, fail, ok, warn
from actors.maintenance.heartbeat import SILENCE_S
from actors.redis_queue.address import CHECK_ADDRESS, CHECK_LOGIN, redis_address
from actors.redis_queue.queue import RedisQueue, open_queue
from pipeline.config.redis_urls import parse_redis_url
from pipeline.config.settings import Settings

TIMEOUT_S = 3.0
SUPPORTED_VERSION = (6, 2)
MIN_VERSION = (5, 0)  # in older versions a script that reads the time cannot write
FULL, NEARLY_FULL = 1.0, 0.8  # fractions of maxmemory
MAX_CLOCK_SKEW_S = 2.0

NAME_NODES = "name several nodes: REDIS_URL=redis+cluster://host:6379,host:6379, so that a start needs no certain one"


@dataclass(frozen=True)
class RedisStatus:
    """The state of a Redis server.

    `info` is the answer to INFO, `skew_s` its clock minus ours, `silent_s` the seconds since each worker's last
    heartbeat, `shards` the number of primaries of its cluster (1 without cluster mode), `seeds` the number of its nodes
    that REDIS_URL names.
    """

    address: str
    info: dict[str, Any]
    skew_s: float
    silent_s: tuple[float, ...]
    shards: int = 1
    seeds: int = 1


def run_checks(settings: Settings) -> Iterator[Finding]:
    """All findings about Redis, or a single one if it does not answer."""
    address = redis_address(settings)
    queue = open_queue(settings, timeout_s=TIMEOUT_S)
    try:
        status = read_status(queue, address, seeds=len(parse_redis_url(settings.redis).nodes))
    except redis.AuthenticationError:
        yield fail("redis", f"{address} refuses the login", CHECK_LOGIN)
    except (redis.RedisError, OSError) as error:
        yield fail("redis", f"{address} does not answer ({type(error).__name__})", CHECK_ADDRESS)
    else:
        yield from (check(status) for check in CHECKS)
    finally:
        queue.client.close()


def read_status(queue: RedisQueue, address: str, *, seeds: int = 1) -> RedisStatus:
    """Read what the checks need. They use INFO instead of CONFIG, which many providers refuse.

    Raises:
        redis.RedisError: Redis is unreachable or refuses a command.
    """
    # First a command on the queue's keys: in a cluster, it leads to the node that has them.
    heartbeats: Any = queue.client.zrange(queue.keys.workers, 0, -1, withscores=True)
    info: Any = queue.client.info()
    before = time.time()
    seconds, microseconds = queue.client.time()
    now = seconds + microseconds / 1_000_000
    silent_s = tuple(now - milliseconds / 1000 for _, milliseconds in heartbeats)
    skew_s = now - (before + time.time()) / 2
    shards = _shards(queue, info)
    return RedisStatus(address=address, info=info, skew_s=skew_s, silent_s=silent_s, shards=shards, seeds=seeds)


def _shards(queue: RedisQueue, info: dict[str, Any]) -> int:
    if not info.get("cluster_enabled"):
        return 1
    answer: Any = queue.client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    match = re.search(r"cluster_size:(\d+)", answer.decode() if isinstance(answer, bytes) else str(answer))
    return int(match[1]) if match else 1


def check_version(status: RedisStatus) -> Finding:
    info = status.info
    valkey = info.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"
    # Valkey reports the Redis version that it is compatible with as well.
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    message = f"{name} at {status.address}"
    if version < MIN_VERSION:
        return fail("redis", f"{message} is too old for the queue's scripts", "install Redis 6.2 or later, or Valkey")
    if version < SUPPORTED_VERSION:
        return warn("redis", f"{message} is older than Redis 6.2", "install Redis 6.2 or later, or Valkey")
    return ok("redis", message)


def check_cluster(status: RedisStatus) -> Finding:
    if status.shards == 1:
        return ok("redis cluster", "Redis is not divided into shards")
    # Each script moves a message between keys, so all keys are in one hash slot.
    message = f"a cluster of {status.shards} shards: the queue is on one of them, and is followed when its slot moves"
    return ok("redis cluster", message) if status.seeds > 1 else warn("redis cluster", message, NAME_NODES)


def check_role(status: RedisStatus) -> Finding:
    if status.info.get("role") in {"slave", "replica"} and status.info.get("slave_read_only", 1):
        return fail(
            "redis role", "Redis is a read-only replica: nothing can be queued", "point REDIS_URL at its primary"
        )
    return ok("redis role", "Redis is the primary")


def check_eviction(status: RedisStatus) -> Finding:
    policy = status.info.get("maxmemory_policy", "unknown")
    remedy = "CONFIG SET maxmemory-policy noeviction, and set it in the configuration file of Redis"
    if policy == "noeviction":
        return ok("redis eviction", "noeviction: Redis deletes nothing when memory is short")
    if policy.startswith("volatile"):
        # Only the finished jobs and locks have a time to live.
        return warn("redis eviction", f"{policy}: Redis deletes finished jobs when memory is short", remedy)
    message = f"{policy}: Redis deletes queued messages when memory is short, again after each requeue scan"
    return fail("redis eviction", message, remedy)


def check_persistence(status: RedisStatus) -> Finding:
    info = status.info
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        message = "the append-only file cannot be written, so Redis refuses writes"
        return fail("redis persistence", message, "free space on the disk of Redis")
    if info.get("aof_enabled"):
        message = "append-only file: a restart loses at most one second, which the workers enqueue again"
        return ok("redis persistence", message)
    message = "no append-only file: a restart empties the queue, and only the requeue scan fills it again"
    return warn(
        "redis persistence", message, "CONFIG SET appendonly yes, and set it in the configuration file of Redis"
    )


def check_memory(status: RedisStatus) -> Finding:
    used, limit = int(status.info["used_memory"]), int(status.info.get("maxmemory", 0))
    if not limit:
        return ok("redis memory", f"{used / 1e6:.0f} MB used, no limit set")
    message = f"{used / 1e6:.0f} of {limit / 1e6:.0f} MB used"
    remedy = "raise maxmemory, or start more workers to shorten the queue"
    if used >= limit * FULL:
        return fail("redis memory", f"{message}: Redis refuses writes", remedy)
    return warn("redis memory", message, remedy) if used > limit * NEARLY_FULL else ok("redis memory", message)


def check_clock(status: RedisStatus) -> Finding:
    if abs(status.skew_s) > MAX_CLOCK_SKEW_S:
        message = f"differs from this machine's clock by {status.skew_s:+.1f} s"
        return warn("redis clock", message, "synchronize both machines with NTP")
    return ok("redis clock", f"within {MAX_CLOCK_SKEW_S:g} s of this machine's clock")


def check_workers(status: RedisStatus) -> Finding:
    running = sum(silent_s < SILENCE_S for silent_s in status.silent_s)
    if not running:
        remedy = "run `esteira start`, or the worker line of the Procfile"
        return warn("workers", "no worker process is running: accepted attachments wait", remedy)
    return ok("workers", f"{running} worker process{'es' if running > 1 else ''} running")


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
