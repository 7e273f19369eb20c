"""`esteira workers`: the worker processes of all hosts."""

from __future__ import annotations

import time

import rich_click as click

from actors.observability.worker_info import RunningAttachment
from actors.operations.workers import WorkerStatus
from actors.operations.workers import workers as current_workers
from esteira.cli.environment import settings_for_command
from esteira.cli.output import age, examples, print_json, print_table
from esteira.cli.table_layout import Column

COLUMNS = (
    Column("worker", rank=0, least=16),
    Column("pid", rank=1),
    Column("threads", rank=5),
    Column("version", rank=7, least=8),
    Column("up", rank=3),
    Column("heartbeat", rank=2),
    Column("queues", rank=8, least=12),
    Column("decoder crashes", rank=9),
    Column("last error", rank=6, least=12),
    Column("runs", rank=4),
)
NO_WORKERS = "No worker runs: `esteira start` starts some, and so does the line `worker` of the Procfile."


@click.command(
    epilog=examples("esteira workers", "esteira workers --json | jq '.[] | select(.alive) | .running[]'"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with one object per worker process.")
def workers(as_json: bool) -> None:
    """Lists the worker processes of all hosts, and which attachments they are processing.

    Workers report every three seconds, so attachments that take less time rarely appear. A killed worker is listed as
    silent until another worker has taken over its attachments, for at most a minute.
    """
    settings_for_command()
    all_workers = current_workers()
    if as_json:
        print_json([worker.model_dump(mode="json") for worker in all_workers])
    else:
        alive = sum(worker.alive for worker in all_workers)
        footer = f"{alive} worker process{'' if alive == 1 else 'es'} alive"
        print_table(COLUMNS, map(_row, all_workers), footer=footer, empty=NO_WORKERS)


def _row(worker: WorkerStatus) -> tuple[object, ...]:
    heartbeat = f"{worker.last_beat_s:.0f}s ago" + ("" if worker.alive else ", silent")
    up = age(worker.started_at) if worker.started_at else None
    error = worker.last_error
    last_error = f"{error.code} ({error.stage}, {age(error.at)} ago)" if error else None
    process = (worker.host or worker.id, worker.pid or None, worker.threads or None, worker.version, up, heartbeat)
    runs = ", ".join(map(_run, worker.running))
    return (*process, " ".join(worker.queues), worker.sandbox_deaths, last_error, runs)


def _run(run: RunningAttachment) -> str:
    return f"{run.stage} {run.id} ({max(0.0, time.time() - run.since_ms / 1000):.0f}s)"
