"""Sends webhooks at a fixed rate, from a separate process.

`python -m scripts.benchmarks.webhook_load` reads a Load as JSON from stdin and prints the Figures as JSON.

It is an open loop: each webhook is due at a fixed time, whether or not earlier ones have been answered, and its
response time counts from then. So the delay of a server that falls behind is visible.
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

LEAD_S = 1.0  # before the first webhook is due
RESPONSE_TIMEOUT_S = 30.0
TOKEN_S = 600  # lifetime of a signature, as in Evolution API


@dataclass(frozen=True)
class Load:
    """`rate` webhooks per second for `seconds`, of `sessions` in turn. `media` is a URL with {} for the file number."""

    port: int
    rate: float
    seconds: float
    sessions: int
    jwt_key: str
    media: str
    files: int


@dataclass(frozen=True)
class Figures:
    """Milliseconds from the due time of a webhook to its response. `late_p99_ms` is the delay of the load itself."""

    sent: int
    errors: dict[str, int]
    median_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float


def requests_of(load: Load) -> list[bytes]:
    """Requests as Evolution API sends them: one image each, signed."""
    until = int(time.time()) + TOKEN_S
    token = jwt.encode({"iat": until - TOKEN_S, "exp": until, "app": "evolution", "action": "webhook"}, load.jwt_key)
    head = (
        f"POST /hooks/evolution HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: axios/1.7.9\r\nContent-Length: "
    )
    bodies = (json.dumps(webhook(load, number)).encode() for number in range(int(load.rate * load.seconds)))
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]


def webhook(load: Load, number: int) -> dict[str, object]:
    """The event of one image, with the fields that the gateway sends."""
    session, chat = f"shop-{number % load.sessions}", f"55119{number % 997:08}@s.whatsapp.net"
    image = {
        "url": load.media.format(number % load.files),
        "mimetype": "image/jpeg",
        "caption": "look at this",
        "height": 240,
        "width": 320,
        "jpegThumbnail": {str(index): index * 7 % 256 for index in range(200)},
    }
    return {
        "event": "messages.upsert",
        "instance": session,
        "data": {
            "key": {"remoteJid": chat, "fromMe": False, "id": f"3EB0{number:016X}"},
            "pushName": "Ana",
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
    """Sends requests over persistent connections, as many as are needed at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []
        self.latencies: list[float] = []
        self.late: list[float] = []
        self.errors: Counter[str] = Counter()

    async def send(self, request: bytes, due: float) -> None:
        """Sends a request that was due at `due`, a time of the event loop's clock."""
        clock = asyncio.get_running_loop().time
        self.late.append(clock() - due)
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                status = await self._ask(request)
        except (OSError, EOFError, TimeoutError) as error:
            status = type(error).__name__
        self.latencies.append(clock() - due)
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
    """Sends all webhooks and waits for the responses."""
    requests = requests_of(load)
    gateway = Gateway(load.port)
    clock = asyncio.get_running_loop().time
    start = clock() + LEAD_S
    async with asyncio.TaskGroup() as caller:
        for number, request in enumerate(requests):
            due = start + number / load.rate
            await asyncio.sleep(due - clock())
            caller.create_task(gateway.send(request, due))
    latencies = sorted(gateway.latencies)
    return Figures(
        sent=len(latencies),
        errors=dict(gateway.errors),
        median_ms=1000 * statistics.median(latencies),
        p99_ms=1000 * latencies[int(len(latencies) * 0.99)],
        max_ms=1000 * latencies[-1],
        late_p99_ms=1000 * sorted(gateway.late)[int(len(latencies) * 0.99)],
    )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Load(**json.load(sys.stdin)))))))
