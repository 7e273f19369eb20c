"""Measures a quiet session's files while another session has a backlog."""

from __future__ import annotations

import statistics
import time

import rich_click as click

from actors.hook import Hook
from actors.redis_queue.queue import QUICK_TIMEOUT_S, open_queue
from pipeline.models import Attachment
from pipeline.services import Services
from scripts.benchmarks.environment import PHOTOS, isolated_services, running_workers, show
from scripts.benchmarks.media_server import media_server
from tests.support.system import photo


@click.command()
@click.option("--backlog", default=10_000, show_default=True, help="Waiting files of the busy session.")
@click.option("--tries", default=10, show_default=True, help="Files of the quiet session, one at a time.")
@click.option("--delay", "delays", type=float, multiple=True, default=(100, 0), help="Delay of the media server, ms.")
@click.option("--processes", default=2, show_default=True)
@click.option("--threads", default=8, show_default=True)
def fair(backlog: int, tries: int, delays: tuple[float, ...], processes: int, threads: int) -> None:
    """Time from hand-over to done of a quiet session's file, alone and with another session's backlog."""
    options = [f"--processes={processes}", f"--threads={threads}"]
    rows = []
    for delay in delays:
        alone = quiet_files(0, tries, delay_s=delay / 1000, options=options)
        with_backlog = quiet_files(backlog, tries, delay_s=delay / 1000, options=options)
        times = statistics.median(alone), statistics.median(with_backlog)
        figures = (f"{times[0]:.0f}", f"{times[1]:.0f}", f"{max(with_backlog)}", f"{times[1] / times[0]:.1f}")
        rows.append((f"server with {delay:.0f} ms delay", *figures))
    columns = ("quiet session's file", "alone, ms", "with backlog, ms", "max, ms", "ratio")
    show(f"With a backlog of {backlog} files, medians of {tries}", rows, *columns)


def quiet_files(backlog: int, tries: int, *, delay_s: float, options: list[str]) -> list[int]:
    """Milliseconds from hand-over to done of files that arrive one at a time while `backlog` others wait."""
    with isolated_services() as (settings, services):
        folder = settings.var_dir / "served"
        folder.mkdir()
        for number in range(PHOTOS):
            (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
        hook = Hook(services, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
        with media_server(folder, delay_s=delay_s) as server:

            def submit(session: str, number: int) -> str:
                url = f"{server.url}/{number % PHOTOS}.jpg"
                fields = {"session": session, "message_id": str(number), "url": url, "kind": "image"}
                return hook.accept(Attachment.model_validate(fields)).id

            for number in range(backlog):
                submit("busy", number)
            with running_workers(settings, options):
                warm = [submit("warm", number) for number in range(20)]
                took_ms(services, warm)
                delays = []
                for number in range(tries):
                    time.sleep(0.3)
                    delays += took_ms(services, [submit("quiet", number)])
                return delays


def took_ms(services: Services, ids: list[str]) -> list[int]:
    """Waits until all are done. Returns the milliseconds of each, from the catalogue's timestamps."""
    delays = []
    for media_id in ids:
        while not ((record := services.catalogue.get(media_id)) and record.finished_at):
            time.sleep(0.02)
        delays.append(record.finished_at - record.received_at)
    return delays
