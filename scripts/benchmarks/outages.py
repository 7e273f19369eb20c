"""Outages of one of several hosts, and the recovery by the others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from scripts.benchmarks.host_cluster import ALIVE_S, BOOT_S, POLL_S, TIMEOUT_S, HostCluster, Workers
from scripts.benchmarks.machine import BenchmarkError, wait_for
from scripts.benchmarks.media import Row


def _kill(victim: Workers) -> None:
    """A power failure: the workers are killed, and no connection is closed."""
    victim.host.set_link(up=False)
    victim.kill()


def _cut(victim: Workers) -> None:
    """A network failure: no connection is closed, and the workers continue."""
    victim.host.set_link(up=False)


OUTAGES: dict[str, Callable[[Workers], None]] = {"kill": _kill, "cut": _cut}


def run_outage(cluster: HostCluster, rows: Sequence[Row], outage: str) -> str:
    """Starts an outage when a third of the files are done. Returns a description of the recovery.

    Raises:
        BenchmarkError: A file was not done or was done twice, or the host did not continue after a network failure.
    """
    before = cluster.servers.done()
    cluster.enqueue_while_paused(rows)
    cluster.wait_until_done(before + len(rows) // 3)
    victim = cluster.workers[0]
    worker_ids = _worker_ids(cluster, victim)
    at_ms = time.time() * 1000
    OUTAGES[outage](victim)
    held = [message.key for name in worker_ids for message in cluster.servers.queue.held_messages(name)]
    takeover_s = _wait_for_takeover(cluster, worker_ids, at_ms)
    cluster.wait_until_done(before + len(rows))
    text = _completion_note(cluster, held, at_ms)
    if outage == "cut":
        text += f" {_reconnect(cluster, victim)}"
    cluster.check(before + len(rows))
    repeated = sum(count - 1 for count in cluster.servers.media.counts().values())
    event = "was killed and its cable pulled" if outage == "kill" else "lost its network"
    return (
        f"{victim.host.name} {event} while it held {len(held)} files, which the others took over after "
        f"{takeover_s:.1f} s; {text} All {len(rows)} were done, each once; {repeated} were downloaded a second time."
    )


def _worker_ids(cluster: HostCluster, victim: Workers) -> list[str]:
    """The worker ids of a host's processes."""
    heartbeats = cluster.servers.queue.stats.workers()
    return [name for name, _, info in heartbeats if info and json.loads(info)["host"] == victim.host.name]


def _wait_for_takeover(cluster: HostCluster, worker_ids: Sequence[str], at_ms: float) -> float:
    """Waits until these workers hold no messages. Returns the seconds since the outage."""
    deadline = time.monotonic() + TIMEOUT_S
    while any(cluster.servers.queue.held_messages(name) for name in worker_ids):
        if time.monotonic() > deadline:
            raise BenchmarkError("the messages of the host were not taken over")
        time.sleep(POLL_S)
    return time.time() - at_ms / 1000


def _completion_note(cluster: HostCluster, held: Sequence[str], at_ms: float) -> str:
    finished_at = dict(map(tuple, cluster.servers.query("SELECT id, finished_at FROM media")))
    delays_s = [(finished_at[media_id] - at_ms) / 1000 for media_id in held if finished_at[media_id] > at_ms]
    if not delays_s:
        return "all of them were finished just before."
    return f"they were finished within {max(delays_s):.1f} s."


def _reconnect(cluster: HostCluster, victim: Workers) -> str:
    """Restores the network and waits until all worker processes of the host send heartbeats."""
    wanted = max(cluster.alive().values())
    silent = time.monotonic()
    victim.host.set_link(up=True)
    wait_for(
        f"{victim.host.name} has reconnected",
        lambda: cluster.alive()[victim.host.name] >= wanted,
        within_s=BOOT_S + ALIVE_S,
    )
    return f"Its network was restored, and {time.monotonic() - silent:.1f} s later its workers sent heartbeats again."
