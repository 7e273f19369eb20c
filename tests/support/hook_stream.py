"""Hooks at a fixed rate, on new and on kept connections, while the web app is restarted."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

ANSWER_S = 60.0  # for an answer; a gateway waits less, so a later one is counted apart by its time
REPEAT_S = 0.5  # until a hook whose connection was refused or reset is sent again, as gateways do
NEW, KEPT = "new", "kept"


@dataclass
class Outcomes:
    """What became of the hooks. The keys of `times` are NEW and KEPT; seconds from when each was due to its answer."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # `refused`, `reset new`, `reset kept`, `late`
    times: dict[str, list[float]] = field(default_factory=lambda: {NEW: [], KEPT: []})
    ids: set[str] = field(default_factory=set)  # of the accepted attachments

    def percentile(self, share: float, kinds: Sequence[str] = (NEW, KEPT)) -> float:
        """The time within which this share of the hooks was answered."""
        times = sorted(value for kind in kinds for value in self.times[kind])
        return times[min(len(times) - 1, math.ceil(share * len(times)) - 1)]


class HookStream:
    """Sends `rate` hooks a second for the length of the block, every second one on a connection that is kept.

    Each hook is due at a fixed time, whether or not earlier ones are answered. One whose connection is refused or
    reset is sent again until it is answered.
    """

    def __init__(self, port: int, url: str, *, rate: float, headers: Mapping[str, str]) -> None:
        self.outcomes = Outcomes()
        self._port = port
        self._url = url
        self._rate = rate
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._kept: list[Connection] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()), name="hooks")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _send_all(self) -> None:
        began, tasks = time.monotonic(), []
        while not self._ended.is_set():
            number = self.outcomes.sent
            due = began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self._send(number, due)))
            self.outcomes.sent += 1
        await asyncio.gather(*tasks)
        for _, writer in self._kept:
            writer.close()

    async def _send(self, number: int, due: float) -> None:
        kind = KEPT if number % 2 else NEW
        while not await self._attempt(number, kind):
            await asyncio.sleep(REPEAT_S)
        self.outcomes.times[kind].append(time.monotonic() - due)

    async def _attempt(self, number: int, kind: str) -> bool:
        """Sends the hook once; returns whether it was answered."""
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await self._connection(kind)
                status, ends, body = await self._exchange(connection, number, kind)
        except ConnectionRefusedError:
            self.outcomes.errors["refused"] += 1
        except (ConnectionError, EOFError):
            self.outcomes.errors[f"reset {kind}"] += 1
        except TimeoutError:
            self.outcomes.errors["late"] += 1
        else:
            if kind == NEW or ends:
                connection[1].close()
            else:
                self._kept.append(connection)
            self.outcomes.statuses[status] += 1
            self.outcomes.ids.update(accepted["id"] for accepted in json.loads(body).get("accepted", []))
            return True
        return False

    async def _connection(self, kind: str) -> Connection:
        while kind == KEPT and self._kept:
            reader, writer = self._kept.pop()
            if not reader.at_eof() and not writer.is_closing():  # as HTTP clients check before they use it again
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _exchange(self, connection: Connection, number: int, kind: str) -> tuple[int, bool, bytes]:
        """Status of the answer, whether it ends the connection, and its body."""
        reader, writer = connection
        row = {"session": f"s{number % 5}", "message_id": f"m{number}", "url": self._url, "kind": "image"}
        body = json.dumps(row).encode()
        ending = "" if kind == KEPT else "Connection: close\r\n"
        head = f"POST /hooks/media HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}{self._headers}{ending}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        answer = await reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers.get("connection") == "close", answer
