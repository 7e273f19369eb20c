"""What each stage costs, one by one, in a single thread."""

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
from actors.redis_queue.queue import QUICK_TIMEOUT_S, Ack, AckAction, FetchedMessage, open_queue
from esteira.cli.output import examples
from pipeline.config.settings import load_settings
from pipeline.models import Claim, Model, Record, Stage, parse_attachment
from pipeline.services import build_services
from scripts.benchmarks import media
from scripts.benchmarks.findings import Chart, Finding, Line, json_option, tell_and_keep
from scripts.benchmarks.machine import run_ns
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.profiles import write_profiles
from scripts.benchmarks.trials import folder_for, tell
from tests.support.valkey import ValkeyServer

WARM = 10
WORKER = "bench"
QUEUES = [stage.value for stage in reversed(Stage)]
PARTS = ("thread", "sandbox", "Redis")
STEPS = ("hand over", "take", "claim", *(stage.value for stage in Stage), "acknowledge")
EXAMPLES = examples(
    "scripts/bench stages                           100 files of each kind: about half a minute",
    "scripts/bench stages --profile profile.txt     and the functions that take it",
)

Share = tuple[float, float, float]
"""µs of one file: in the thread itself, in the sandbox' children, in Redis."""
Spent = dict[str, Share]
"""Of each step."""
Item = TypeVar("Item")


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(5, 5000), default=100, show_default=True, help="Files of each kind.")
@click.option("--profile", type=click.Path(dir_okay=False, path_type=Path), help="Write a profile of each stage there.")
@json_option
def stages(count: int, profile: Path | None, json_file: Path | None) -> None:
    """Processor time of each stage, by kind of file, in a single thread."""
    tell_and_keep(measure(count, profile), json_file)


def measure(count: int, profile: Path | None = None) -> Finding:
    """Every stage is gone through by all files of a kind before the next one begins: caches are as warm as they get."""
    alone, crews = dict[str, Spent](), dict[str, Spent]()
    with one_thread(profile=profile is not None) as system:
        files = {kind: media.of_kind(kind, WARM + 2 * count) for kind in media.KINDS}
        for paths in files.values():
            system.run(paths[:WARM], "warm", together=1)
        for kind, paths in files.items():
            tell(f"{count} × {kind}")
            alone[kind] = system.run(paths[WARM : WARM + count], "m", together=1)
        system.profiles.clear()
        for kind, paths in files.items():
            crews[kind] = system.run(paths[WARM + count :], "m", together=MAX_BATCH)
    if profile:
        write_profiles(system.profiles, count * len(media.KINDS), profile)
    return described(crews, alone, count)


def described(crews: dict[str, Spent], alone: dict[str, Spent], count: int) -> Finding:
    """The table, the chart of the mix."""
    mix = mix_of(crews)
    rows: list[Line] = [
        {
            "µs": step,
            **{kind: sum(crews[kind][step]) for kind in crews},
            "mix": sum(mix[step]),
            **{f"{part}'s part": value for part, value in zip(PARTS, mix[step], strict=True)},
            "mix, one by one": sum(mix_of(alone)[step]),
        }
        for step in STEPS
    ]
    total: Line = {name: sum(float(row[name] or 0) for row in rows) for name in rows[0] if name != "µs"}
    chart = Chart("stages", "Processor time of each stage, for a file of the mix", "µs", list(mix.items()), parts=PARTS)
    title = f"Processor time of each stage in one thread, {MAX_BATCH} files at a time, {count} of each kind"
    return Finding("stages", title, [*rows, {"µs": "all", **total}], [chart], figures={"crews": crews, "alone": alone})


def mix_of(spent: dict[str, Spent]) -> Spent:
    """Of each step what it takes for a file of the load."""
    return {step: mixed([(media.KINDS[kind][1], spent[kind][step]) for kind in spent]) for step in STEPS}


def chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """These items, so many at a time."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def well(found: Model | BaseException) -> Model:
    """What a stage found; raises what it raised."""
    if isinstance(found, BaseException):
        raise found
    return found


def mixed(parts: Sequence[tuple[int, Share]]) -> Share:
    """The mean of several lists of figures, each with its weight."""
    weights = sum(weight for weight, _ in parts)
    first, second, third = (sum(weight * figures[n] for weight, figures in parts) / weights for n in range(3))
    return first, second, third


@contextlib.contextmanager
def one_thread(*, profile: bool) -> Iterator[OneThread]:
    """A system in this process, in memory, with its servers beside it."""
    with folder_for() as folder, media_server(media.KEPT) as server:
        valkey = ValkeyServer(folder / "valkey")
        valkey.start()
        try:
            made = OneThread(folder, valkey, server, profile=profile)
            yield made
            made.close()
        finally:
            valkey.kill()


class OneThread:
    """Everything that a listener and a worker do for a file, step by step, by their own functions."""

    def __init__(self, folder: Path, valkey: ValkeyServer, server: MediaServer, *, profile: bool) -> None:
        given = {"var_dir": folder, "redis_url": valkey.url, "fetch_allow_private": "127.0.0.0/8"}
        settings = load_settings(_env_file=None, **given)
        self._valkey, self._server = valkey, server
        self._services, self._accepting = build_services(settings), build_services(settings, durable=True)
        self._services.catalogue.migrate()
        self._belt = open_queue(settings)
        self._hook = Hook(self._accepting, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
        self._ledger = FinishedJobs.of(settings)
        self._spent: Spent = {}
        self._profiling = profile
        self.profiles: dict[str, cProfile.Profile] = {}

    def close(self) -> None:
        self._services.close()
        self._accepting.close()

    def run(self, paths: Sequence[Path], prefix: str, *, together: int) -> Spent:
        """What each step took for a file of these, `together` at a time where a worker takes several at once."""
        self._spent = {}
        rows = media.rows(paths, self._server.url, prefix=f"{prefix}-{together}-{paths[0].suffix}-")
        attachments = [parse_attachment(row) for row in rows]
        with self._clock("hand over", len(rows)):
            for attachment in attachments:
                self._hook.accept(attachment)
        handed: list[FetchedMessage] = []
        with self._clock("take", len(rows)):
            while len(handed) < len(rows):
                handed += self._belt.fetch(WORKER, MAX_BATCH, QUEUES)[1]
        with self._clock("claim", len(rows)):
            claims = [claim_attachment(self._services, one.key) for one in handed]
        records = self._through(claims, together)
        with self._clock("acknowledge", len(rows)):
            for crew in chunks(list(zip(handed, records, strict=True)), together):
                self._belt.ack_many(WORKER, [self._settlement(*one) for one in crew])
        return self._spent

    def _settlement(self, one: FetchedMessage, record: Record) -> Ack:
        note = self._ledger.list_for(record), job_entry(record)
        return Ack(one.key, one.delivery_id, AckAction("done", one.queue), note, None)

    def _through(self, claims: list[Claim], together: int) -> list[Record]:
        """Every stage, one after the other; what the catalogue says at the end."""
        for claim in claims:
            CLAIM_REGISTRY.add(claim.token)
        results: list[Model | None] = [None] * len(claims)
        for stage in Stage:
            tasks = [Task(claim, result, 1) for claim, result in zip(claims, results, strict=True)]
            crews = chunks(tasks, 1 if stage is Stage.FETCH else together)
            with self._clock(stage.value, len(claims)):
                found = [one for crew in crews for one in run_steps(self._services, stage, crew)]
            results = [well(one) for one in found]
            if stage is Stage.PERSIST:
                claims = [c.model_copy(update={"record": r}) for c, r in zip(claims, results, strict=True)]
                results = [None] * len(claims)  # notify is given what the catalogue says
        for claim in claims:
            CLAIM_REGISTRY.drop(claim.token)
        return [result for result in results if isinstance(result, Record)]

    @contextlib.contextmanager
    def _clock(self, step: str, count: int) -> Iterator[None]:
        profile = self.profiles.setdefault(step, cProfile.Profile(time.thread_time)) if self._profiling else None
        before = self._now()
        if profile:
            profile.enable()
        yield
        if profile:
            profile.disable()
        thread, sandbox, redis = (now - then for now, then in zip(self._now(), before, strict=True))
        self._spent[step] = thread / 1000 / count, sandbox / 1000 / count, redis / 1000 / count

    def _now(self) -> tuple[int, int, int]:
        """Nanoseconds so far: of this thread, of what runs beside it but the servers, of Redis."""
        redis, server = run_ns({self._valkey.pid}), run_ns({self._server.pid})
        beside = run_ns({os.getpid()}, without={threading.get_native_id()}) - redis - server
        return time.thread_time_ns(), beside, redis
