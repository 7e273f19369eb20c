"""A listener in a process of its own: hands each row of JSON from its input to process_media().

`python -m scripts.benchmarks.caller [THREADS]` says `ready` once it could, and answers each row with a line of JSON:
when the call began (monotonic ns), how long it took and how it was taken.
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
