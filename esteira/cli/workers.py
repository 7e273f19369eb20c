"""`esteira workers`: who works, where, and on what."""

from __future__ import annotations

import time

import rich_click as click

from actors.observability.worker_info import RunningAttachment
from actors.operations.workers import WorkerStatus
from actors.operations.workers import workers as current_workers
from esteira.cli.environment import settings_for_command
from esteira.cli.output import age, examples, print_json, print_table

COLUMNS = ("worker", "pid", "threads", "version", "up", "heard", "queues", "decoders died", "last error", "runs")


@click.command(
    epilog=examples("esteira workers", "esteira workers --json | jq '.[] | select(.alive) | .running[]'"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, an object for each worker process.")
def workers(as_json: bool) -> None:
    """Shows the worker processes of all hosts, and which attachment each of their threads works on.

    They say it every three seconds, so what takes less is seldom seen. One that was killed is shown as silent until
    another takes over what it held, at most for a minute.
    """
    settings_for_command()
    found = current_workers()
    if as_json:
        print_json([worker.model_dump(mode="json") for worker in found])
    else:
        alive = sum(worker.alive for worker in found)
        print_table(COLUMNS, map(_row, found), footer=f"{alive} worker process{'' if alive == 1 else 'es'} alive")


def _row(worker: WorkerStatus) -> tuple[object, ...]:
    heard = f"{worker.last_beat_s:.0f}s ago" + ("" if worker.alive else ", silent")
    up = age(worker.started_at) if worker.started_at else None
    error = worker.last_error
    failed = f"{error.code} ({error.stage}, {age(error.at)} ago)" if error else None
    runs = ", ".join(map(_run, worker.running))
    facts = (worker.host or worker.id, worker.pid or None, worker.threads or None, worker.version, up, heard)
    return (*facts, " ".join(worker.queues), worker.sandbox_deaths, failed, runs)


def _run(run: RunningAttachment) -> str:
    return f"{run.stage} {run.id} ({max(0.0, time.time() - run.since_ms / 1000):.0f}s)"
