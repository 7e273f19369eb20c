"""Clients of the live events, in a process of their own.

`python -m scripts.benchmarks.listeners PORT` reads a token for each client from its input, a line each; says `ready`
once all are let in, and `<client> <milliseconds>` for each event: the time since its attachment was stored.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime

import websockets


async def listen(number: int, port: int, token: str, ready: asyncio.Semaphore) -> None:
    """One client, for ever."""
    url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(url, compression=None, ping_interval=None) as socket:
        await socket.recv()
        await socket.send("40" + json.dumps({"token": token}))
        await socket.recv()
        ready.release()
        async for message in socket:
            heard = time.time()
            if message == "2":
                await socket.send("3")
            else:
                stored = datetime.fromisoformat(json.loads(message[2:])[1]["at"]).timestamp()
                print(number, 1000 * (heard - stored))


async def main(port: int, tokens: list[str]) -> None:
    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for number, token in enumerate(tokens):
            group.create_task(listen(number, port, token, ready))
        for _ in tokens:
            await ready.acquire()
        print("ready", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.stdin.read().split()))
