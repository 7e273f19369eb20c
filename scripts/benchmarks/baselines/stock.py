"""The same work as in bare.py, in one actor on an unmodified Dramatiq.

    dramatiq scripts.benchmarks.baselines.stock      with BENCH_REDIS and BENCH_OUT in the environment
    python -m scripts.benchmarks.baselines.stock     enqueues rows of JSON from stdin

The second form writes a line for each row: `{"started": monotonic ns, "ns": duration}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from scripts.benchmarks.baselines.bare import FileProcessor

CHANNEL = "stock:done"
ADDRESS = os.environ["BENCH_REDIS"]

client = redis.Redis.from_url(ADDRESS)
dramatiq.set_broker(RedisBroker(url=ADDRESS))  # type: ignore[no-untyped-call]


@lru_cache(maxsize=1)
def processor() -> FileProcessor:
    return FileProcessor(Path(os.environ["BENCH_OUT"]))


@dramatiq.actor(queue_name="media", max_retries=2, min_backoff=2000)  # three attempts, as in Esteira
def media(row: dict[str, Any]) -> None:
    processor().process(row)
    client.publish(CHANNEL, row["message_id"])


def send() -> None:
    for line in sys.stdin:
        row = json.loads(line)
        started = time.monotonic_ns()
        media.send(row)
        print(json.dumps({"started": started, "ns": time.monotonic_ns() - started}), flush=True)


if __name__ == "__main__":
    print("ready", flush=True)
    send()
