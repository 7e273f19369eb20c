"""Clients of the live events, in a separate process.

`python -m scripts.benchmarks.event_clients PORT EVENTS` reads one token per client from stdin, prints `ready` once all
clients are connected, and ends after EVENTS events or 20 s without an event. Then it prints the delay of each event in
milliseconds since its attachment was stored.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime

import websockets

IDLE_TIMEOUT_S = 20.0

Received = list[tuple[float, str]]


async def listen(port: int, token: str, ready: asyncio.Semaphore, received: Received) -> None:
    """Runs one client until it is cancelled. Messages are parsed later, because parsing would delay the others."""
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
                received.append((now, str(message)))


async def main(port: int, events: int, tokens: list[str]) -> None:
    ready, received = asyncio.Semaphore(0), Received()
    clients = [asyncio.create_task(listen(port, token, ready, received)) for token in tokens]
    for _ in tokens:
        await ready.acquire()
    print("ready", flush=True)
    while len(received) < events and (not received or time.time() - received[-1][0] < IDLE_TIMEOUT_S):
        await asyncio.sleep(0.5)
    for client in clients:
        client.cancel()
    for now, message in received:
        print(1000 * (now - datetime.fromisoformat(json.loads(message[2:])[1]["at"]).timestamp()))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()))
