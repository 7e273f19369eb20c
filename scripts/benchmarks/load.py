"""A load of webhooks at a fixed rate, from a process of its own.

`python -m scripts.benchmarks.load` reads a Load as JSON from its input and prints the Figures.

It is an open loop: each webhook has its time, whether or not those before it have been answered, and its answer is
measured from then. So a server that falls behind is seen to.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

import jwt

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LEAD_S = 1.0  # before the first is due, so that all are ready to be sent
PATIENCE_S = 30.0
TOKEN_S = 600  # as Evolution API signs


@dataclass(frozen=True)
class Load:
    """`rate` webhooks a second for so many seconds, by so many sessions in turn; `media` is a URL with {} in it."""

    port: int
    rate: float
    seconds: float
    sessions: int
    jwt_key: str
    media: str
    files: int


@dataclass(frozen=True)
class Figures:
    """Milliseconds from when a webhook was due to its answer; `late_p99_ms` is how late the load itself was."""

    sent: int
    errors: dict[str, int]
    median_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float


def requests_of(load: Load) -> list[bytes]:
    """What Evolution API would send: an image each, signed as it signs."""
    until = int(time.time()) + TOKEN_S
    token = jwt.encode({"iat": until - TOKEN_S, "exp": until, "app": "evolution", "action": "webhook"}, load.jwt_key)
    head = (
        f"POST /hooks/evolution HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: axios/1.7.9\r\nContent-Length: "
    )
    bodies = (json.dumps(webhook(load, number)).encode() for number in range(int(load.rate * load.seconds)))
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]


def webhook(load: Load, number: int) -> dict[str, object]:
    """The event of one image, with about all that the gateway says of it."""
    session, chat = f"shop-{number % load.sessions}", f"55119{number % 997:08}@s.whatsapp.net"
    image = {
        "url": load.media.format(number % load.files),
        "mimetype": "image/jpeg",
        "caption": "look at this",
        "height": 240,
        "width": 320,
        "jpegThumbnail": {str(place): place * 7 % 256 for place in range(200)},
    }
    return {
        "event": "messages.upsert",
        "instance": session,
        "data": {
            "key": {"remoteJid": chat, "fromMe": False, "id": f"3EB0{number:016X}"},
            "pushName": "Somebody",
            "status": "DELIVERY_ACK",
            "message": {"imageMessage": image, "messageContextInfo": {"deviceListMetadataVersion": 2}},
            "messageType": "imageMessage",
            "messageTimestamp": int(time.time()),
            "instanceId": "8e7c0f0a-6f0e-4f5e-9a53-8b8a7a1f2f11",
            "source": "android",
        },
        "date_time": "2026-11-22T12:00:00.000Z",
        "sender": "5511900000000@s.whatsapp.net",
        "server_url": "http://localhost:8080",
    }


class Gateway:
    """Sends requests over connections that it keeps, as many as are needed at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []
        self.took: list[float] = []
        self.late: list[float] = []
        self.errors: Counter[str] = Counter()

    async def send(self, request: bytes, due: float) -> None:
        """Sends one that was due at this time of the loop's clock."""
        clock = asyncio.get_running_loop().time
        self.late.append(clock() - due)
        try:
            async with asyncio.timeout(PATIENCE_S):
                status = await self._ask(request)
        except (OSError, EOFError, TimeoutError) as error:
            status = type(error).__name__
        self.took.append(clock() - due)
        if status != "202":
            self.errors[status] += 1

    async def _ask(self, request: bytes) -> str:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
        self._idle.append((reader, writer))
        return head.split(" ", 2)[1]


async def run(load: Load) -> Figures:
    """Sends all of it and waits for the answers."""
    ready = requests_of(load)
    gateway = Gateway(load.port)
    clock = asyncio.get_running_loop().time
    start = clock() + LEAD_S
    async with asyncio.TaskGroup() as sending:
        for number, request in enumerate(ready):
            due = start + number / load.rate
            await asyncio.sleep(due - clock())
            sending.create_task(gateway.send(request, due))
    took = sorted(gateway.took)
    return Figures(
        sent=len(took),
        errors=dict(gateway.errors),
        median_ms=1000 * statistics.median(took),
        p99_ms=1000 * took[int(len(took) * 0.99)],
        max_ms=1000 * took[-1],
        late_p99_ms=1000 * sorted(gateway.late)[int(len(took) * 0.99)],
    )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Load(**json.load(sys.stdin)))))))
