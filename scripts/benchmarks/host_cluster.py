"""Several hosts with workers, and a listener on another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scripts.benchmarks.baselines import CALLER, procfile
from scripts.benchmarks.machine import Running, Trouble, call, cpu_s, family, memory_mb, others_cpu_s, running, wait_for
from scripts.benchmarks.media import Row
from scripts.benchmarks.networks import Host, bridge, host
from scripts.benchmarks.shared import Shared, shared
from scripts.benchmarks.trials import Figures, folder_for

BOOT_S = 90.0
STALL_S = 60.0  # longer than it takes to notice a death
LONGEST_S = 900.0
LOOK_S = 0.05
ALIVE_S = 12.0
CONNECTIONS = 16  # that a process opens to PostgreSQL at most
FINISHED = '"attachment finished"'


@dataclass
class Workers:
    """The workers of one host."""

    host: Host
    log: Path
    running: Running

    def kill(self) -> None:
        """SIGKILL to all processes, with whatever they start meanwhile."""
        while left := family(self.running.leaders) if self.running.ended() is None else {}:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(LOOK_S)

    def finished(self) -> list[str]:
        """The ids of what ended here, as the log tells."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [str(json.loads(line)["id"]) for line in lines if FINISHED in line]


class Mark(NamedTuple):
    """Where it stood at one moment; seconds, processor time by who took it."""

    at: float
    done: int
    cpu: dict[str, float]
    others: float


@dataclass(frozen=True)
class Estate:
    """Hosts with workers, what they share, and the host of the listener."""

    shared: Shared
    workers: Sequence[Workers]
    listener: Host
    env: dict[str, str]

    def hand_over(self, rows: Sequence[Row]) -> None:
        """By process_media() on the listener's host, in eight threads."""
        source = self.shared.folder / f"{rows[0]['message_id']}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        script = f'"{sys.executable}" -m {CALLER} 8 < "{source}" > /dev/null'
        call([*self.listener.within, "/bin/sh", "-c", script], env=self.env, cwd=self.shared.folder)

    def pour(self, rows: Sequence[Row]) -> None:
        """Hands all of it over before any of it is worked on."""
        self.shared.pause()
        self.hand_over(rows)
        self.shared.resume()

    def alive(self) -> Counter[str]:
        """How many worker processes of each host have told Redis that they live."""
        found = ((silent, said) for _, silent, said in self.shared.belt.stats.workers() if said)
        return Counter(str(json.loads(said)["host"]) for silent, said in found if silent < ALIVE_S)

    def reach(self, wanted: int) -> Mark:
        """Waits until so many files are done.

        Raises:
            Trouble: nothing gets done any more.
        """
        began = moved = time.monotonic()
        last = -1
        while (done := self.shared.done()) < wanted:
            now = time.monotonic()
            if done != last:
                last, moved = done, now
            if now - moved > STALL_S or now - began > LONGEST_S:
                raise Trouble(f"{done} of {wanted} files done, and no more\n{self._said()}")
            time.sleep(LOOK_S)
        return self.mark(done)

    def mark(self, done: int) -> Mark:
        leaders = {pid for one in self.workers for pid in one.running.leaders}
        cpu = {"workers": cpu_s(leaders), **self.shared.cpu_s()}
        return Mark(time.monotonic(), done, cpu, others_cpu_s())

    def finished(self) -> dict[str, list[str]]:
        """What each host has brought to its end.

        Raises:
            Trouble: something was brought there twice.
        """
        by_host = {one.host.name: one.finished() for one in self.workers}
        times = Counter(media_id for ids in by_host.values() for media_id in ids)
        if twice := [media_id for media_id, count in times.items() if count > 1]:
            raise Trouble(f"{len(twice)} files were done twice, among them {twice[0]}")
        return by_host

    def check(self, wanted: int) -> None:
        """Raises Trouble unless so many attachments, and no others, are done, and as many contents stored."""
        rows = self.shared.ask("SELECT status, count(*) FROM media GROUP BY 1")
        if dict(map(tuple, rows)) != {"done": wanted}:
            raise Trouble(f"{wanted} files were handed over, and the catalogue has {rows}")
        if (stored := self.shared.stored()) != wanted:
            raise Trouble(f"{wanted} files are called done, and {stored} lie in storage")
        self.finished()

    def _said(self) -> str:
        rows = self.shared.ask("SELECT status, stage, error_code, count(*) FROM media GROUP BY 1, 2, 3")
        return "\n".join([str(rows), *(f"{one.host.name}: {one.running.said(5)}" for one in self.workers)])


class Sizes(NamedTuple):
    """Bytes of Redis and the catalogue, and MB of each host's processes (PSS)."""

    redis: int
    catalogue: int
    hosts_mb: tuple[float, ...]

    @classmethod
    def of(cls, place: Estate) -> Sizes:
        memory = tuple(memory_mb(one.running.leaders)[1] for one in place.workers)
        return cls(place.shared.redis_bytes(), place.shared.catalogue_bytes(), memory)


@contextlib.contextmanager
def estate(hosts: int, processes: int, *, stores: str) -> Iterator[Estate]:
    """All of it, with every worker process alive and nothing to do."""
    with contextlib.ExitStack() as held:
        folder = held.enter_context(folder_for())
        held.enter_context(bridge())
        common = held.enter_context(shared(folder, stores, connections=CONNECTIONS * (hosts * processes + 4)))
        workers = []
        for number in range(1, hosts + 1):
            name = f"host{number}"
            (folder / name).mkdir(exist_ok=True)
            there = held.enter_context(host(number, name, folder / name))
            command, log = [*there.within, "/bin/sh", "-c", procfile("worker")], folder / name / "workers.log"
            env = common.env(name, processes=processes)
            started = held.enter_context(running(command, log, env=env, cwd=folder / name))
            workers.append(Workers(there, log, started))
        (folder / "listener").mkdir()
        # SQLite cannot be shared: with it, the listener is where the workers are.
        away = None if stores == "sqlite" else held.enter_context(host(100, "listener", folder / "listener"))
        env = common.env("listener" if away else "host1", processes=processes) | {"LOG_LEVEL": "error"}
        made = Estate(common, workers, away or workers[0].host, env)
        wanted = {one.host.name: processes for one in workers}
        wait_for("all workers live", lambda: made.alive() == wanted or _ended(workers), within_s=BOOT_S)
        yield made


def _ended(workers: Sequence[Workers]) -> bool:
    for one in workers:
        if (status := one.running.ended()) is not None:
            raise Trouble(f"the workers of {one.host.name} ended with {status}\n{one.running.said()}")
    return False


def carried(place: Estate, rows: Sequence[Row]) -> Figures:
    """Files a second and processor time for a file between a tenth of these and all of them.

    Raises:
        Trouble: not every file is done exactly once.
    """
    empty = Sizes.of(place)
    place.shared.pause()
    place.hand_over(rows)
    waiting = Sizes.of(place)
    begun = place.mark(0)
    place.shared.resume()
    first = place.reach(max(1, len(rows) // 10))
    last = place.reach(len(rows))
    place.check(len(rows))
    again = [name for name, count in place.shared.media.counts().items() if count > 1]
    if again:
        raise Trouble(f"{len(again)} files were downloaded more than once, among them {again[0]}")
    few = last.done - first.done < len(rows) // 3  # they went by within a look
    return between(begun if few else first, last) | grown(empty, waiting, Sizes.of(place), len(rows))


def between(first: Mark, last: Mark) -> Figures:
    """Files a second, milliseconds of processor time for a file, and what the rest of the machine took meanwhile."""
    files, seconds = last.done - first.done, last.at - first.at
    spent = {f"{name} ms": 1000 * (last.cpu[name] - first.cpu[name]) / files for name in last.cpu}
    others = 100 * (last.others - first.others) / seconds / (os.cpu_count() or 1)
    return {"files/s": files / seconds, **spent, "others %": others}


def grown(empty: Sizes, waiting: Sizes, done: Sizes, files: int) -> Figures:
    """What a file takes while it waits and when it is done, and what a host's workers take before and after."""
    return {
        "waiting, Redis bytes": (waiting.redis - empty.redis) / files,
        "done, catalogue bytes": (done.catalogue - empty.catalogue) / files,
        "host at rest MB": max(empty.hosts_mb),
        "host MB": max(done.hosts_mb),
    }
