"""A listener in a separate process: calls process_media() for each row of JSON from stdin.

`python -m scripts.benchmarks.caller [THREADS]` prints `ready`, and then for each row a line of JSON: when the call
began (monotonic ns), its duration (ns) and the mode of its receipt.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from actors.hook import hook, process_media
from pipeline.models import parse_attachment


def hand_over(line: str) -> str:
    attachment = parse_attachment(json.loads(line))
    started = time.monotonic_ns()
    receipt = process_media(attachment)
    return json.dumps({"started": started, "ns": time.monotonic_ns() - started, "mode": receipt.mode})


def main(threads: int) -> None:
    hook()
    print("ready", flush=True)
    if threads == 1:
        for line in sys.stdin:
            print(hand_over(line), flush=True)
        return
    with ThreadPoolExecutor(threads) as pool:
        for answer in pool.map(hand_over, sys.stdin):
            print(answer)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
