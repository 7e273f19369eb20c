"""A quiet session beside the backlog of another."""

from __future__ import annotations

import statistics
import time

import rich_click as click

from actors.hook import Hook
from actors.redis_queue.queue import QUICK_TIMEOUT_S, open_queue
from pipeline.models import Attachment
from pipeline.services import Services
from scripts.benchmarks.environment import VARIETY, running_workers, show, site
from scripts.benchmarks.media_server import media_server
from tests.support.system import photo


@click.command()
@click.option("--backlog", default=10_000, show_default=True, help="Files of the busy session that wait.")
@click.option("--tries", default=10, show_default=True, help="Files of the quiet session, one after the other.")
@click.option(
    "--delay", "delays", type=float, multiple=True, default=(100, 0), help="What a server takes to answer, ms."
)
@click.option("--processes", default=2, show_default=True)
@click.option("--threads", default=8, show_default=True)
def fair(backlog: int, tries: int, delays: tuple[float, ...], processes: int, threads: int) -> None:
    """How long a quiet session's file takes from hand-over to done beside another's backlog, and alone."""
    options = [f"--processes={processes}", f"--threads={threads}"]
    rows = []
    for delay in delays:
        alone = quiet_files(0, tries, delay_s=delay / 1000, options=options)
        beside = quiet_files(backlog, tries, delay_s=delay / 1000, options=options)
        times = statistics.median(alone), statistics.median(beside)
        figures = (f"{times[0]:.0f}", f"{times[1]:.0f}", f"{max(beside)}", f"{times[1] / times[0]:.1f}")
        rows.append((f"server of {delay:.0f} ms", *figures))
    columns = ("a quiet session's file", "alone, ms", "beside, ms", "at most, ms", "ratio")
    show(f"Beside a backlog of {backlog} files, medians of {tries}", rows, *columns)


def quiet_files(backlog: int, tries: int, *, delay_s: float, options: list[str]) -> list[int]:
    """Milliseconds from hand-over to done of files that come one at a time while `backlog` others wait."""
    with site() as (settings, services):
        folder = settings.var_dir / "served"
        folder.mkdir()
        for number in range(VARIETY):
            (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
        taker = Hook(services, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
        with media_server(folder, delay_s=delay_s) as server:

            def take(session: str, number: int) -> str:
                place = f"{server.url}/{number % VARIETY}.jpg"
                given = {"session": session, "message_id": str(number), "url": place, "kind": "image"}
                return taker.take(Attachment.model_validate(given)).id

            for number in range(backlog):
                take("busy", number)
            with running_workers(settings, options):
                warm = [take("warm", number) for number in range(20)]
                took_ms(services, warm)
                took = []
                for number in range(tries):
                    time.sleep(0.3)
                    took += took_ms(services, [take("quiet", number)])
                return took


def took_ms(services: Services, ids: list[str]) -> list[int]:
    """How long each took until it was done, as the catalogue says it; waits for them."""
    took = []
    for media_id in ids:
        while not ((record := services.catalogue.get(media_id)) and record.finished_at):
            time.sleep(0.02)
        took.append(record.finished_at - record.received_at)
    return took
