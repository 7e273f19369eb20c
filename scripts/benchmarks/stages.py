"""Measures the processor time of each stage in a single thread."""

from __future__ import annotations

import contextlib
import cProfile
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import rich_click as click

from actors.execution.batch import MAX_BATCH
from actors.execution.claiming import claim_attachment
from actors.execution.claims import CLAIM_REGISTRY
from actors.execution.executor import Task, run_steps
from actors.hook import Hook
from actors.redis_queue.finished_jobs import FinishedJobs, job_entry
from actors.redis_queue.messages import Ack, AckAction, FetchedMessage
from actors.redis_queue.queue import QUICK_TIMEOUT_S, open_queue
from esteira.cli.output import examples
from pipeline.config.settings import load_settings
from pipeline.models import Claim, Model, Record, Stage, parse_attachment
from pipeline.services import build_services
from scripts.benchmarks import media
from scripts.benchmarks.machine import threads_cpu_ns
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.profiles import write_profiles
from scripts.benchmarks.results import BenchmarkResult, Chart, TableRow, json_option, show_and_save
from scripts.benchmarks.trials import log_progress, temporary_folder
from tests.support.valkey import ValkeyServer

WARM = 10
WORKER = "bench"
QUEUES = [stage.value for stage in reversed(Stage)]
PARTS = ("thread", "sandbox", "Redis")
STEPS = ("hand over", "get message", "claim", *(stage.value for stage in Stage), "acknowledge")
EXAMPLES = examples(
    "scripts/bench stages                           100 files of each kind: about half a minute",
    "scripts/bench stages --profile profile.txt     also the most expensive functions",
)

Share = tuple[float, float, float]
"""µs per file: in the thread itself, in the sandbox's children, in Redis."""
Spent = dict[str, Share]
"""By step."""
Item = TypeVar("Item")


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(5, 5000), default=100, show_default=True, help="Files of each kind.")
@click.option(
    "--profile", type=click.Path(dir_okay=False, path_type=Path), help="Write a profile of each stage to this file."
)
@json_option
def stages(count: int, profile: Path | None, json_file: Path | None) -> None:
    """Processor time of each stage, by kind of file, in a single thread."""
    show_and_save(measure(count, profile), json_file)


def measure(count: int, profile: Path | None = None) -> BenchmarkResult:
    """All files of a kind go through a stage before the next stage starts, so caches are warm."""
    single, batched = dict[str, Spent](), dict[str, Spent]()
    with single_thread_system(profile=profile is not None) as system:
        files = {kind: media.load_of_kind(kind, WARM + 2 * count) for kind in media.KINDS}
        for paths in files.values():
            system.run(paths[:WARM], "warm", batch_size=1)
        for kind, paths in files.items():
            log_progress(f"{count} × {kind}")
            single[kind] = system.run(paths[WARM : WARM + count], "m", batch_size=1)
        system.profiles.clear()
        for kind, paths in files.items():
            batched[kind] = system.run(paths[WARM + count :], "m", batch_size=MAX_BATCH)
    if profile:
        write_profiles(system.profiles, count * len(media.KINDS), profile)
    return build_result(batched, single, count)


def build_result(batched: dict[str, Spent], single: dict[str, Spent], count: int) -> BenchmarkResult:
    """Builds the table and the chart of the mix."""
    mix = mix_of(batched)
    rows: list[TableRow] = [
        {
            "µs": step,
            **{kind: sum(batched[kind][step]) for kind in batched},
            "mix": sum(mix[step]),
            **{f"mix, {part}": value for part, value in zip(PARTS, mix[step], strict=True)},
            "mix, single files": sum(mix_of(single)[step]),
        }
        for step in STEPS
    ]
    total: TableRow = {name: sum(float(row[name] or 0) for row in rows) for name in rows[0] if name != "µs"}
    chart = Chart("stages", "Processor time of each stage, per file of the mix", "µs", list(mix.items()), parts=PARTS)
    title = f"Processor time of each stage in one thread, in batches of {MAX_BATCH} files, {count} of each kind"
    return BenchmarkResult(
        "stages", title, [*rows, {"µs": "total", **total}], [chart], figures={"batched": batched, "single": single}
    )


def mix_of(spent: dict[str, Spent]) -> Spent:
    """The cost of each step for a file of the standard load."""
    return {step: weighted_mean([(media.KINDS[kind][1], spent[kind][step]) for kind in spent]) for step in STEPS}


def chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Splits the items into chunks of `size`."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def unwrap(outcome: Model | BaseException) -> Model:
    """Returns the result of a stage, or raises its error."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def weighted_mean(parts: Sequence[tuple[int, Share]]) -> Share:
    """The weighted mean of several shares."""
    weights = sum(weight for weight, _ in parts)
    first, second, third = (sum(weight * figures[n] for weight, figures in parts) / weights for n in range(3))
    return first, second, third


@contextlib.contextmanager
def single_thread_system(*, profile: bool) -> Iterator[SingleThreadSystem]:
    """Yields a system in this process with its files in memory, a Valkey and a media server."""
    with temporary_folder() as folder, media_server(media.LOAD_FOLDER) as server:
        valkey = ValkeyServer(folder / "valkey")
        valkey.start()
        try:
            instance = SingleThreadSystem(folder, valkey, server, profile=profile)
            yield instance
            instance.close()
        finally:
            valkey.kill()


class SingleThreadSystem:
    """Executes the functions of a listener and a worker step by step in the current thread."""

    def __init__(self, folder: Path, valkey: ValkeyServer, server: MediaServer, *, profile: bool) -> None:
        overrides = {"var_dir": folder, "redis_url": valkey.url, "fetch_allow_private": "127.0.0.0/8"}
        settings = load_settings(_env_file=None, **overrides)
        self._valkey, self._server = valkey, server
        self._services, self._accepting = build_services(settings), build_services(settings, durable=True)
        self._services.catalogue.migrate()
        self._queue = open_queue(settings)
        self._hook = Hook(self._accepting, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
        self._finished_jobs = FinishedJobs.of(settings)
        self._spent: Spent = {}
        self._profiling = profile
        self.profiles: dict[str, cProfile.Profile] = {}

    def close(self) -> None:
        self._services.close()
        self._accepting.close()

    def run(self, paths: Sequence[Path], prefix: str, *, batch_size: int) -> Spent:
        """Processes the files, in batches where a worker batches. Returns the cost of each step per file."""
        self._spent = {}
        rows = media.rows(paths, self._server.url, prefix=f"{prefix}-{batch_size}-{paths[0].suffix}-")
        attachments = [parse_attachment(row) for row in rows]
        with self._clock("hand over", len(rows)):
            for attachment in attachments:
                self._hook.accept(attachment)
        messages: list[FetchedMessage] = []
        with self._clock("get message", len(rows)):
            while len(messages) < len(rows):
                messages += self._queue.fetch(WORKER, MAX_BATCH, QUEUES)[1]
        with self._clock("claim", len(rows)):
            claims = [claim_attachment(self._services, message.key) for message in messages]
        records = self._run_stages(claims, batch_size)
        with self._clock("acknowledge", len(rows)):
            for batch in chunks(list(zip(messages, records, strict=True)), batch_size):
                self._queue.ack_many(WORKER, [self._ack(*pair) for pair in batch])
        return self._spent

    def _ack(self, message: FetchedMessage, record: Record) -> Ack:
        finished_job = self._finished_jobs.list_for(record), job_entry(record)
        return Ack(message.key, message.delivery_id, AckAction("done", message.queue), finished_job, None)

    def _run_stages(self, claims: list[Claim], batch_size: int) -> list[Record]:
        """Runs all stages one after the other. Returns the catalogue's final records."""
        for claim in claims:
            CLAIM_REGISTRY.add(claim.token)
        results: list[Model | None] = [None] * len(claims)
        for stage in Stage:
            tasks = [Task(claim, result, 1) for claim, result in zip(claims, results, strict=True)]
            batches = chunks(tasks, 1 if stage is Stage.FETCH else batch_size)
            with self._clock(stage.value, len(claims)):
                outcomes = [outcome for batch in batches for outcome in run_steps(self._services, stage, batch)]
            results = [unwrap(outcome) for outcome in outcomes]
            if stage is Stage.PERSIST:
                claims = [c.model_copy(update={"record": r}) for c, r in zip(claims, results, strict=True)]
                results = [None] * len(claims)  # notify uses only the catalogue's record
        for claim in claims:
            CLAIM_REGISTRY.drop(claim.token)
        return [result for result in results if isinstance(result, Record)]

    @contextlib.contextmanager
    def _clock(self, step: str, count: int) -> Iterator[None]:
        profile = self.profiles.setdefault(step, cProfile.Profile(time.thread_time)) if self._profiling else None
        before, thread_began = self._outside_ns(), time.thread_time_ns()
        if profile:
            profile.enable()
        yield
        if profile:
            profile.disable()
        thread = time.thread_time_ns() - thread_began  # read first, because the scans below run in this thread
        sandbox, redis = (now - then for now, then in zip(self._outside_ns(), before, strict=True))
        self._spent[step] = thread / 1000 / count, sandbox / 1000 / count, redis / 1000 / count

    def _outside_ns(self) -> tuple[int, int]:
        """Nanoseconds so far: of other threads and children except the servers, and of Redis."""
        redis, server = threads_cpu_ns({self._valkey.pid}), threads_cpu_ns({self._server.pid})
        other = threads_cpu_ns({os.getpid()}, without={threading.get_native_id()}) - redis - server
        return other, redis
