"""Files a second through the five stages."""

from __future__ import annotations

import time

import rich_click as click

from actors.belt import QUICK_TIMEOUT_S, open_belt
from actors.hook import Hook
from pipeline.models import Attachment
from pipeline.services import Services
from pipeline.settings import Settings
from scripts.benchmarks.site import outside_server, running_workers, show, site
from tests.support.plant import photo


@click.command()
@click.option("--count", default=1000, show_default=True, help="Photos to carry.")
@click.option("--processes", default=2, show_default=True)
@click.option("--threads", default=8, show_default=True)
def throughput(count: int, processes: int, threads: int) -> None:
    """Files a second through the five stages, from a full queue."""
    with site() as (settings, services):
        folder = settings.var_dir / "served"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
        taker = Hook(services, open_belt(settings, timeout_s=QUICK_TIMEOUT_S))
        with outside_server(folder) as url:
            for number in range(count):
                taker.take(Attachment(session="bench", message_id=str(number), url=f"{url}/{number}.jpg", kind="image"))
            took = carry(settings, services, count, [f"--processes={processes}", f"--threads={threads}"])
    show("From a full queue", [(f"{count} photos", f"{count / took:.0f}")], "load", "files/s")


def carry(settings: Settings, services: Services, count: int, options: list[str]) -> float:
    """Seconds between a tenth and all of the files, scaled to all."""
    with running_workers(settings, options):
        reached: list[tuple[float, int]] = []
        while not reached or reached[-1][1] < count:
            done = services.catalogue.totals()["done"]
            if done >= count // 10:
                reached.append((time.perf_counter(), done))
            time.sleep(0.02)
    (first_at, first), (last_at, last) = reached[0], reached[-1]
    return (last_at - first_at) * count / (last - first)
