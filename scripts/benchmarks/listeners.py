"""Clients of the live events, in a process of their own.

`python -m scripts.benchmarks.listeners PORT EVENTS` reads a token for each client from its input, a line each; says
`ready` once all are let in, and when they have heard of so many events, or of none for 20 s, the milliseconds of each:
the time since its attachment was stored.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime

import websockets

PATIENCE_S = 20.0

Heard = list[tuple[float, str]]


async def listen(port: int, token: str, ready: asyncio.Semaphore, heard: Heard) -> None:
    """One client, for ever. What it hears is looked at afterwards, for that takes time."""
    url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(url, compression=None, ping_interval=None) as socket:
        await socket.recv()
        await socket.send("40" + json.dumps({"token": token}))
        await socket.recv()
        ready.release()
        async for message in socket:
            now = time.time()
            if message == "2":
                await socket.send("3")
            else:
                heard.append((now, str(message)))


async def main(port: int, events: int, tokens: list[str]) -> None:
    ready, heard = asyncio.Semaphore(0), Heard()
    clients = [asyncio.create_task(listen(port, token, ready, heard)) for token in tokens]
    for _ in tokens:
        await ready.acquire()
    print("ready", flush=True)
    while len(heard) < events and (not heard or time.time() - heard[-1][0] < PATIENCE_S):
        await asyncio.sleep(0.5)
    for client in clients:
        client.cancel()
    for now, message in heard:
        print(1000 * (now - datetime.fromisoformat(json.loads(message[2:])[1]["at"]).timestamp()))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()))
