"""A trial runs one system with its own folder and Redis; rounds run the trials of several systems in turn."""

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

from scripts.benchmarks.baselines import SYSTEMS, Esteira, QueueSystem, System, TrialSetup
from scripts.benchmarks.environment import ROOT
from scripts.benchmarks.machine import BenchmarkError, Program, cpu_s, other_cpu_s, running_program, threads_cpu_ns
from scripts.benchmarks.media import Row
from scripts.benchmarks.results import format_figure
from tests.support.valkey import ValkeyServer

IN_MEMORY = "/dev/shm"  # noqa: S108  for measures that exclude the disk
ON_DISK = "/var/tmp"  # noqa: S108  for measures that include the disk
ROOM = 1_000_000_000  # bytes that a trial's folder must have free
POLL_S = 0.03
STALL_S = 60.0  # without another finished file, the trial fails
TIMEOUT_S = 1800.0

Figures = dict[str, float]


@dataclass(frozen=True)
class Snapshot:
    """Progress and processor time of a trial at one moment, in seconds."""

    at: float
    done: int
    worker_cpu: float
    redis_cpu: float
    other_cpu: float


class CallerProcess:
    """A process that hands rows over one by one, as a listener does."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self._read_line()

    def send(self, row: Row) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(row) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The answer for the oldest open row: `started` (monotonic ns), `ns` and, for Esteira, `mode`."""
        return dict(json.loads(self._read_line()))

    def hand_over(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Hands the rows over one after the other. Returns their answers."""
        answers = []
        for row in rows:
            self.send(row)
            answers.append(self.answer())
        return answers

    def _read_line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"handing over failed:\n{self._log.read_text(errors='replace')[-2000:]}")
        return line


class Trial:
    """One run of a system."""

    def __init__(self, system: System, valkey: ValkeyServer) -> None:
        self.system, self.valkey = system, valkey

    @contextlib.contextmanager
    def workers(self) -> Iterator[Program]:
        """Runs the workers for the duration of the block."""
        folder = self.system.setup.folder
        with running_program(
            self.system.worker_command(), folder / "workers.log", env=self.system.env, cwd=folder
        ) as workers:
            yield workers

    @contextlib.contextmanager
    def caller(self, *arguments: str) -> Iterator[CallerProcess]:
        """Runs a listener's process for the duration of the block."""
        assert isinstance(self.system, QueueSystem)
        command, log = [*self.system.caller_command(), *arguments], self.system.setup.folder / "caller.log"
        env = {**self.system.env, "LOG_LEVEL": "error"}
        with log.open("wb") as err:
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": err}
            process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, **pipes)
        try:
            yield CallerProcess(process, log)
        finally:
            process.kill()
            process.wait()

    def wait_until_done(self, workers: Program, wanted: int) -> Snapshot:
        """Waits until `wanted` files are done.

        Raises:
            BenchmarkError: The workers ended, or no file was finished for STALL_S.
        """
        began = moved = time.monotonic()
        last = -1
        while True:
            exit_status, done = workers.exit_status(), self.done()
            now = time.monotonic()
            if done >= wanted:
                return self.snapshot(workers, now, done)
            if done != last:
                last, moved = done, now
            if exit_status is not None or now - moved > STALL_S or now - began > TIMEOUT_S:
                raise BenchmarkError(self._describe_failure(workers, done, wanted))
            time.sleep(POLL_S)

    def snapshot(self, workers: Program, at: float, done: int) -> Snapshot:
        return Snapshot(at, done, cpu_s(workers.session_ids), threads_cpu_ns({self.valkey.pid}) / 1e9, other_cpu_s())

    def done(self) -> int:
        try:
            return self.system.done()
        except sqlite3.OperationalError:  # locked, or not created yet
            return 0

    def warm(self, workers: Program, caller: CallerProcess, rows: Sequence[Row]) -> None:
        """Processes some files first, so that imports and new connections are not measured."""
        before = self.done()
        caller.hand_over(rows)
        self.wait_until_done(workers, before + len(rows))

    def _describe_failure(self, workers: Program, done: int, wanted: int) -> str:
        others = f"; catalogue: {self.system.other_statuses()}" if isinstance(self.system, Esteira) else ""
        status = workers.exit_status()
        how = f"the workers ended with {status}" if status is not None else "no more files were finished"
        return f"{done} of {wanted} files done, {how}{others}\n{workers.log_tail()}"


@contextlib.contextmanager
def temporary_folder(*, on_disk: bool = False, room: int = ROOM) -> Iterator[Path]:
    """Creates a folder for the duration of the block: in memory, or on disk if memory has no `room` (bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="esteira-bench-", dir=folder_with_room(room, on_disk=on_disk)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def folder_with_room(room: int, *, on_disk: bool) -> str:
    """The first usual folder that is writable and has `room` bytes free."""
    usual = (ON_DISK,) if on_disk else (IN_MEMORY, ON_DISK)
    fit = (setup for setup in usual if os.access(setup, os.W_OK) and shutil.disk_usage(setup).free >= room)
    return next(fit, tempfile.gettempdir())


@contextlib.contextmanager
def trial(
    name: str = "Esteira",
    *,
    on_disk: bool = False,
    room: int = ROOM,
    processes: int = 2,
    threads: int = 8,
    **settings: str,
) -> Iterator[Trial]:
    """Prepares a trial of a system in a `temporary_folder`. `settings` are settings of Esteira."""
    with temporary_folder(on_disk=on_disk, room=room) as folder:
        valkey = ValkeyServer(folder / "valkey", arguments=("--auto-aof-rewrite-percentage", "0"))
        valkey.start()
        try:
            yield Trial(SYSTEMS[name](TrialSetup(folder, valkey.url, processes, threads, settings)), valkey)
        finally:
            valkey.kill()


def measure_trial(run: Trial, rows: Sequence[Row], until: int) -> Figures:
    """Fills the queue, then starts the workers. Measures between a tenth of `until` files and all of them.

    Neither handing over nor the start of processes counts.
    """
    run.system.fill(rows)
    with run.workers() as workers:
        first = run.wait_until_done(workers, max(1, until // 10))
        last = run.wait_until_done(workers, until)
    return rates(first, last)


def rates(first: Snapshot, last: Snapshot) -> Figures:
    """Files per second, processor time per file in ms, and the rest of the machine's share of all cores in percent.

    Raises:
        BenchmarkError: Less than a third of the files were finished between the snapshots.
    """
    files, seconds = last.done - first.done, last.at - first.at
    if files < last.done // 3:
        raise BenchmarkError(f"{first.done} of {last.done} files were done at the first check: measure more files")
    return {
        "files/s": files / seconds,
        "worker ms": 1000 * (last.worker_cpu - first.worker_cpu) / files,
        "redis ms": 1000 * (last.redis_cpu - first.redis_cpu) / files,
        "other %": 100 * (last.other_cpu - first.other_cpu) / seconds / (os.cpu_count() or 1),
    }


def run_rounds(names: Sequence[str], rounds: int, once: Callable[[str], Figures]) -> dict[str, list[Figures]]:
    """Runs `run_once` for each name in turn (A B C A B C …) and logs each round. Returns the figures by name."""
    figures: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            figures[name].append(once(name))
            text = ", ".join(f"{name} {format_figure(value)}" for name, value in figures[name][-1].items())
            log_progress(f"round {number} of {rounds}  {name}: {text}")
    return figures


def log_progress(text: str) -> None:
    """Prints a line of progress to stderr."""
    click.echo(text, err=True)


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over the rounds."""
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]} if rounds else {}
