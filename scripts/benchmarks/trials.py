"""A contestant's trial: its place, its workers, how far they have come; and rounds in which contestants take turns."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich_click as click

from scripts.benchmarks.baselines import CONTESTANTS, Contestant, Esteira, Place, Queued
from scripts.benchmarks.environment import ROOT
from scripts.benchmarks.findings import shown
from scripts.benchmarks.machine import Running, Trouble, cpu_s, others_cpu_s, run_ns, running
from scripts.benchmarks.media import Row
from tests.support.valkey import ValkeyServer

IN_MEMORY = "/dev/shm"  # noqa: S108  where the disk is not to be measured …
ON_DISK = "/var/tmp"  # noqa: S108  … and where it is
ROOM = 1_000_000_000
LOOK_S = 0.03
STALL_S = 60.0
LONGEST_S = 1800.0

Figures = dict[str, float]


@dataclass(frozen=True)
class Mark:
    """Where a trial stood at one moment; seconds."""

    at: float
    done: int
    worker_cpu: float
    redis_cpu: float
    others_cpu: float


class Sender:
    """A listener's process that hands rows over, one by one."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self._listen()

    def send(self, row: Row) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(row) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it says of the oldest row that it has not answered yet: `started`, `ns` and, of Esteira, `mode`."""
        return dict(json.loads(self._listen()))

    def hand_over(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Each after the one before it is answered."""
        answers = []
        for row in rows:
            self.send(row)
            answers.append(self.answer())
        return answers

    def _listen(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Trouble(f"handing over failed:\n{self._log.read_text(errors='replace')[-2000:]}")
        return line


class Trial:
    """One contestant in its place."""

    def __init__(self, contestant: Contestant, valkey: ValkeyServer) -> None:
        self.contestant, self.valkey = contestant, valkey

    @contextlib.contextmanager
    def working(self) -> Iterator[Running]:
        """Its workers for the length of the block."""
        folder = self.contestant.place.folder
        with running(self.contestant.command(), folder / "workers.log", env=self.contestant.env, cwd=folder) as workers:
            yield workers

    @contextlib.contextmanager
    def sending(self, *arguments: str) -> Iterator[Sender]:
        """A listener's process for the length of the block."""
        assert isinstance(self.contestant, Queued)
        command, log = [*self.contestant.sender(), *arguments], self.contestant.place.folder / "sender.log"
        env = {**self.contestant.env, "LOG_LEVEL": "error"}
        with log.open("wb") as err:
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": err}
            process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, **pipes)
        try:
            yield Sender(process, log)
        finally:
            process.kill()
            process.wait()

    def reach(self, workers: Running, wanted: int) -> Mark:
        """Waits until so many files are done.

        Raises:
            Trouble: the workers have ended, or nothing gets done any more.
        """
        began = moved = time.monotonic()
        last = -1
        while True:
            ended, done = workers.ended(), self.done()
            now = time.monotonic()
            if done >= wanted:
                return self.mark(workers, now, done)
            if done != last:
                last, moved = done, now
            if ended is not None or now - moved > STALL_S or now - began > LONGEST_S:
                raise Trouble(self._explained(workers, done, wanted))
            time.sleep(LOOK_S)

    def mark(self, workers: Running, at: float, done: int) -> Mark:
        return Mark(at, done, cpu_s(workers.leaders), run_ns({self.valkey.pid}) / 1e9, others_cpu_s())

    def done(self) -> int:
        try:
            return self.contestant.done()
        except sqlite3.OperationalError:  # busy, or not there yet
            return 0

    def warm(self, workers: Running, sender: Sender, rows: Sequence[Row]) -> None:
        """Some files first, so that imports and connections are not what is measured."""
        before = self.done()
        sender.hand_over(rows)
        self.reach(workers, before + len(rows))

    def _explained(self, workers: Running, done: int, wanted: int) -> str:
        others = f"; catalogue: {self.contestant.others()}" if isinstance(self.contestant, Esteira) else ""
        status = workers.ended()
        how = f"the workers ended with {status}" if status is not None else "nothing gets done any more"
        return f"{done} of {wanted} files done, {how}{others}\n{workers.said()}"


@contextlib.contextmanager
def folder_for(*, on_disk: bool = False, room: int = ROOM) -> Iterator[Path]:
    """A folder for one block, in memory unless that has no room for so many bytes, as in most containers."""
    folder = Path(tempfile.mkdtemp(prefix="esteira-bench-", dir=place_with(room, on_disk=on_disk)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place_with(room: int, *, on_disk: bool) -> str:
    """The first of the usual places that may be written and has room for so many bytes."""
    usual = (ON_DISK,) if on_disk else (IN_MEMORY, ON_DISK)
    fit = (place for place in usual if os.access(place, os.W_OK) and shutil.disk_usage(place).free >= room)
    return next(fit, tempfile.gettempdir())


@contextlib.contextmanager
def trial(
    name: str = "Esteira",
    *,
    on_disk: bool = False,
    room: int = ROOM,
    processes: int = 2,
    threads: int = 8,
    **given: str,
) -> Iterator[Trial]:
    """A trial of this contestant, see `folder_for`; `given` are settings of Esteira."""
    with folder_for(on_disk=on_disk, room=room) as folder:
        valkey = ValkeyServer(folder / "valkey", arguments=("--auto-aof-rewrite-percentage", "0"))
        valkey.start()
        try:
            yield Trial(CONTESTANTS[name](Place(folder, valkey.url, processes, threads, given)), valkey)
        finally:
            valkey.kill()


def carry(run: Trial, rows: Sequence[Row], until: int) -> Figures:
    """Fills the queue, then starts the workers: figures between a tenth of `until` files and all of them.

    So neither handing over nor the start of processes counts.
    """
    run.contestant.fill(rows)
    with run.working() as workers:
        first = run.reach(workers, max(1, until // 10))
        last = run.reach(workers, until)
    return between(first, last)


def between(first: Mark, last: Mark) -> Figures:
    """Files a second, milliseconds of processor time for a file, and what the rest of the machine took meanwhile.

    Raises:
        Trouble: too few files lie between the two marks to say anything.
    """
    files, seconds = last.done - first.done, last.at - first.at
    if files < last.done // 3:
        raise Trouble(f"{first.done} of {last.done} files were done at the first look: take more of them")
    return {
        "files/s": files / seconds,
        "worker ms": 1000 * (last.worker_cpu - first.worker_cpu) / files,
        "redis ms": 1000 * (last.redis_cpu - first.redis_cpu) / files,
        "others %": 100 * (last.others_cpu - first.others_cpu) / seconds / (os.cpu_count() or 1),
    }


def in_turns(names: Sequence[str], rounds: int, once: Callable[[str], Figures]) -> dict[str, list[Figures]]:
    """A B C A B C …: the figures of each, round by round. Tells on the way how it goes."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            found[name].append(once(name))
            told = ", ".join(f"{what} {shown(value)}" for what, value in found[name][-1].items())
            tell(f"round {number} of {rounds}  {name}: {told}")
    return found


def tell(text: str) -> None:
    """A line about how it goes."""
    click.echo(text, err=True)


def medians(rounds: Sequence[Figures]) -> Figures:
    """Of each figure the median of its rounds."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]} if rounds else {}
