"""A cluster: several hosts with workers, and one host with a listener."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from scripts.benchmarks.baselines import CALLER_MODULE, procfile
from scripts.benchmarks.machine import (
    BenchmarkError,
    Program,
    cpu_s,
    memory_mb,
    other_cpu_s,
    run_command,
    running_program,
    session_processes,
    wait_for,
)
from scripts.benchmarks.media import Row
from scripts.benchmarks.networks import Host, bridge, host
from scripts.benchmarks.shared_servers import SharedServers, shared_servers
from scripts.benchmarks.trials import Figures, temporary_folder

BOOT_S = 90.0
STALL_S = 60.0  # longer than the takeover from a dead worker
TIMEOUT_S = 900.0
POLL_S = 0.05
ALIVE_S = 12.0  # silence after which a worker counts as dead
CONNECTIONS = 16  # that one process opens to PostgreSQL at most
FINISHED = '"attachment finished"'


@dataclass
class Workers:
    """The workers of one host."""

    host: Host
    log: Path
    program: Program

    def kill(self) -> None:
        """Sends SIGKILL to all processes, until none is left."""
        while left := session_processes(self.program.session_ids) if self.program.exit_status() is None else set():
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(POLL_S)

    def finished(self) -> list[str]:
        """The ids of the attachments that this host finished, from its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [str(json.loads(line)["id"]) for line in lines if FINISHED in line]


class ClusterSnapshot(NamedTuple):
    """Progress at one moment, and processor time by process group; seconds."""

    at: float
    done: int
    cpu: dict[str, float]
    other: float


@dataclass(frozen=True)
class HostCluster:
    """Hosts with workers, the servers that they share, and the listener's host."""

    servers: SharedServers
    workers: Sequence[Workers]
    listener: Host
    env: dict[str, str]

    def hand_over(self, rows: Sequence[Row]) -> None:
        """Calls process_media() for each row on the listener's host, in eight threads."""
        source = self.servers.folder / f"{rows[0]['message_id']}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        script = f'"{sys.executable}" -m {CALLER_MODULE} 8 < "{source}" > /dev/null'
        run_command([*self.listener.prefix, "/bin/sh", "-c", script], env=self.env, cwd=self.servers.folder)

    def enqueue_while_paused(self, rows: Sequence[Row]) -> None:
        """Hands all rows over before workers start with the first."""
        self.servers.pause()
        self.hand_over(rows)
        self.servers.resume()

    def alive(self) -> Counter[str]:
        """The number of worker processes of each host with a recent heartbeat."""
        infos = ((silent, info) for _, silent, info in self.servers.queue.stats.workers() if info)
        return Counter(str(json.loads(info)["host"]) for silent, info in infos if silent < ALIVE_S)

    def wait_until_done(self, expected: int) -> ClusterSnapshot:
        """Waits until `expected` files are done.

        Raises:
            BenchmarkError: No file was finished for STALL_S.
        """
        began = moved = time.monotonic()
        last = -1
        while (done := self.servers.done()) < expected:
            now = time.monotonic()
            if done != last:
                last, moved = done, now
            if now - moved > STALL_S or now - began > TIMEOUT_S:
                raise BenchmarkError(f"{done} of {expected} files done, no more were finished\n{self._state()}")
            time.sleep(POLL_S)
        return self.snapshot(done)

    def snapshot(self, done: int) -> ClusterSnapshot:
        session_ids = {pid for host_workers in self.workers for pid in host_workers.program.session_ids}
        cpu = {"workers": cpu_s(session_ids), **self.servers.cpu_s()}
        return ClusterSnapshot(time.monotonic(), done, cpu, other_cpu_s())

    def finished(self) -> dict[str, list[str]]:
        """The ids of finished attachments by host.

        Raises:
            BenchmarkError: An attachment was finished twice.
        """
        by_host = {host_workers.host.name: host_workers.finished() for host_workers in self.workers}
        times = Counter(media_id for ids in by_host.values() for media_id in ids)
        if twice := [media_id for media_id, count in times.items() if count > 1]:
            raise BenchmarkError(f"{len(twice)} files were finished twice, for example {twice[0]}")
        return by_host

    def check(self, expected: int) -> None:
        """Raises BenchmarkError unless exactly `expected` attachments exist, and all are done and stored."""
        rows = self.servers.query("SELECT status, count(*) FROM media GROUP BY 1")
        if dict(map(tuple, rows)) != {"done": expected}:
            raise BenchmarkError(f"{expected} files were handed over, and the catalogue has {rows}")
        if (stored := self.servers.stored()) != expected:
            raise BenchmarkError(f"{expected} files are done, and {stored} are in storage")
        self.finished()

    def _state(self) -> str:
        rows = self.servers.query("SELECT status, stage, error_code, count(*) FROM media GROUP BY 1, 2, 3")
        return "\n".join(
            [
                str(rows),
                *(f"{host_workers.host.name}: {host_workers.program.log_tail(5)}" for host_workers in self.workers),
            ]
        )


class Sizes(NamedTuple):
    """Bytes of Redis and the catalogue, and MB of each host's processes (PSS)."""

    redis: int
    catalogue: int
    hosts_mb: tuple[float, ...]

    @classmethod
    def of(cls, cluster: HostCluster) -> Sizes:
        memory = tuple(memory_mb(host_workers.program.session_ids)[1] for host_workers in cluster.workers)
        return cls(cluster.servers.redis_bytes(), cluster.servers.catalogue_bytes(), memory)


@contextlib.contextmanager
def start_cluster(hosts: int, processes: int, *, stores: str) -> Iterator[HostCluster]:
    """Starts a cluster and waits until all worker processes are alive and idle."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        stack.enter_context(bridge())
        servers = stack.enter_context(shared_servers(folder, stores, connections=CONNECTIONS * (hosts * processes + 4)))
        workers = []
        for number in range(1, hosts + 1):
            name = f"host{number}"
            (folder / name).mkdir(exist_ok=True)
            namespace = stack.enter_context(host(number, name, folder / name))
            command, log = [*namespace.prefix, "/bin/sh", "-c", procfile("worker")], folder / name / "workers.log"
            env = servers.env(name, processes=processes)
            started = stack.enter_context(running_program(command, log, env=env, cwd=folder / name))
            workers.append(Workers(namespace, log, started))
        (folder / "listener").mkdir()
        # SQLite cannot be shared between hosts, so the listener runs on the workers' host.
        separate_host = None if stores == "sqlite" else stack.enter_context(host(100, "listener", folder / "listener"))
        env = servers.env("listener" if separate_host else "host1", processes=processes) | {"LOG_LEVEL": "error"}
        cluster = HostCluster(servers, workers, separate_host or workers[0].host, env)
        expected = {host_workers.host.name: processes for host_workers in workers}
        wait_for("start of all workers", lambda: cluster.alive() == expected or _ended(workers), within_s=BOOT_S)
        yield cluster


def _ended(workers: Sequence[Workers]) -> bool:
    for host_workers in workers:
        if (status := host_workers.program.exit_status()) is not None:
            raise BenchmarkError(
                f"the workers of {host_workers.host.name} ended with {status}\n{host_workers.program.log_tail()}"
            )
    return False


def measure_files(cluster: HostCluster, rows: Sequence[Row]) -> Figures:
    """Processes the files. Measures between a tenth of them and all.

    Raises:
        BenchmarkError: A file was not done exactly once.
    """
    empty = Sizes.of(cluster)
    cluster.servers.pause()
    cluster.hand_over(rows)
    waiting = Sizes.of(cluster)
    beginning = cluster.snapshot(0)
    cluster.servers.resume()
    first = cluster.wait_until_done(max(1, len(rows) // 10))
    last = cluster.wait_until_done(len(rows))
    cluster.check(len(rows))
    repeated = [name for name, count in cluster.servers.media.counts().items() if count > 1]
    if repeated:
        raise BenchmarkError(f"{len(repeated)} files were downloaded more than once, for example {repeated[0]}")
    too_few_between = last.done - first.done < len(rows) // 3  # most files were done between two checks
    return rates(beginning if too_few_between else first, last) | growth(empty, waiting, Sizes.of(cluster), len(rows))


def rates(first: ClusterSnapshot, last: ClusterSnapshot) -> Figures:
    """Files per second, processor time per file in ms, and the rest of the machine's share of all cores in percent."""
    files, seconds = last.done - first.done, last.at - first.at
    spent = {f"{name} ms": 1000 * (last.cpu[name] - first.cpu[name]) / files for name in last.cpu}
    other = 100 * (last.other - first.other) / seconds / (os.cpu_count() or 1)
    return {"files/s": files / seconds, **spent, "other %": other}


def growth(empty: Sizes, waiting: Sizes, done: Sizes, files: int) -> Figures:
    """Bytes per file while it waits and when it is done, and MB of a host's workers before and after the load."""
    return {
        "waiting, Redis bytes": (waiting.redis - empty.redis) / files,
        "done, catalogue bytes": (done.catalogue - empty.catalogue) / files,
        "host at rest MB": max(empty.hosts_mb),
        "host MB": max(done.hosts_mb),
    }
