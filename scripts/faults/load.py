"""The load: files handed over at a steady rate, each answer written down before the next fault can hide it."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.faults.files import File, next_file

MAX_BATCH = 40_000  # a run has an end, whatever it was asked for
ACCEPTED, UNKNOWN, REFUSED = "accepted", "unknown", "refused"


@dataclass(frozen=True)
class Answer:
    """What a handover came to. `outcome` is unknown where no answer came, so that it may have been accepted."""

    outcome: str
    id: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Attempt:
    """One handover of the file `number`, at Unix second `at`, that took `took_s`."""

    number: int
    at: float
    took_s: float
    answer: Answer


Handover = Callable[[int, File], Answer]


class Load:
    """Hands over `rate` files a second until it is ended. `files` are those of `next_file`, by number."""

    def __init__(
        self, handover: Handover, files: dict[int, File], journal: Path, *, rate: float, seed: int, poison: float = 0.0
    ) -> None:
        self.handover = handover
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
        """Hands over no more, and waits for the answers that are due."""
        self._ending.set()
        if self._thread.ident:
            self._thread.join(10)
        self._pool.shutdown()
        self._journal.close()

    def repeat_new(self, times: int) -> None:
        """One new file, handed over so many times at once."""
        number = self._new()
        with ThreadPoolExecutor(times) as pool:
            list(pool.map(self._hand_over, [number] * times))

    def surge(self, count: int) -> None:
        """So many new files at once, that something waits on the belt whatever happens next."""
        for _ in range(count):
            self._pool.submit(self._hand_over, self._new())

    def repeat_old(self) -> None:
        """Hands a file over once more that was handed over before."""
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
        while not self._ending.wait(max(0.0, due - time.monotonic())) and len(self.files) < MAX_BATCH:
            due += 1 / self.rate
            self._pool.submit(self._hand_over, self._new())

    def _hand_over(self, number: int) -> None:
        at, started = time.time(), time.monotonic()
        answer = self.handover(number, self.files[number])
        attempt = Attempt(number, at, time.monotonic() - started, answer)
        with self._lock:
            self.attempts.append(attempt)
            self._journal.write(json.dumps(asdict(attempt)).encode() + b"\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
