"""The load: hands files over at a constant rate and writes each answer to a journal at once."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.faults.files import File, next_file

MAX_FILES = 40_000  # upper limit of a run
ACCEPTED, UNKNOWN, REFUSED = "accepted", "unknown", "refused"


@dataclass(frozen=True)
class Answer:
    """The result of a hand-over. `outcome` is UNKNOWN without an answer: the file may have been accepted."""

    outcome: str
    id: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Attempt:
    """One hand-over of the file `number`. `at`: its start in Unix seconds; `took_s`: its duration."""

    number: int
    at: float
    took_s: float
    answer: Answer


HandOver = Callable[[int, File], Answer]


class Load:
    """Hands over `rate` files per second until `end()`. It adds each file to `files`, by number."""

    def __init__(
        self, hand_over: HandOver, files: dict[int, File], journal: Path, *, rate: float, seed: int, poison: float = 0.0
    ) -> None:
        self.hand_over = hand_over
        self.files = files
        self.rate = rate
        self.poison = poison
        self.attempts: list[Attempt] = []
        self._rng = random.Random(seed)  # noqa: S311
        self._journal = journal.open("ab")
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(32, "handover")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stops, and waits for outstanding answers."""
        self._ending.set()
        if self._thread.ident:
            self._thread.join(10)
        self._pool.shutdown()
        self._journal.close()

    def send_copies(self, times: int) -> None:
        """Hands one new file over this many times at once."""
        number = self._new()
        with ThreadPoolExecutor(times) as pool:
            list(pool.map(self._hand_over, [number] * times))

    def surge(self, count: int) -> None:
        """Hands over this many new files at once, so that messages are waiting in the queue."""
        for _ in range(count):
            self._pool.submit(self._hand_over, self._new())

    def send_files(self, files: Sequence[File]) -> None:
        """Hands these files over at once."""
        for file in files:
            number = self._new()
            self.files[number] = file
            self._pool.submit(self._hand_over, number)

    def send_file(self, file: File) -> Answer:
        """Hands this file over and returns the answer."""
        number = self._new()
        self.files[number] = file
        return self._hand_over(number)

    def resend(self) -> None:
        """Hands a random earlier file over again."""
        if self.attempts:
            self._pool.submit(self._hand_over, self._rng.choice(self.attempts).number)

    def outcomes(self) -> Counter[str]:
        with self._lock:
            return Counter(attempt.answer.outcome for attempt in self.attempts)

    def _new(self) -> int:
        with self._lock:
            number = len(self.files) + 1
            self.files[number] = next_file(self._rng, poison=self.poison)
            return number

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())) and len(self.files) < MAX_FILES:
            due += 1 / self.rate
            self._pool.submit(self._hand_over, self._new())

    def _hand_over(self, number: int) -> Answer:
        at, started = time.time(), time.monotonic()
        answer = self.hand_over(number, self.files[number])
        attempt = Attempt(number, at, time.monotonic() - started, answer)
        with self._lock:
            self.attempts.append(attempt)
            self._journal.write(json.dumps(asdict(attempt)).encode() + b"\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
        return answer
