"""`python -m esteira.cli.demo`: the demo itself, in the environment that `launch_demo` prepared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from rich.live import Live
from rich.table import Table
from rich.text import Text

from actors.hook import process_media
from esteira.cli.demo.samples import Sample, samples
from esteira.cli.demo.source import served
from esteira.cli.embedded_valkey import embedded_valkey, sole_use
from esteira.cli.environment import settings_for_command
from esteira.cli.migrate import migrate_catalogue
from esteira.cli.output import console, print_table, say, status_text
from esteira.cli.process_manager import worker_command
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.models import Attachment, Record, Status
from pipeline.services import services

PATIENCE_S = 90.0
PAUSE_S = 0.1
STOP_S = 20.0
COLUMNS = ("file", "declared", "ending", "code", "name", "where it lies")


def main() -> int:
    """Runs the demo; 0 if every good file ended `done` and every bad one `rejected` with its code."""
    settings = settings_for_command()
    folder = settings.var_dir
    say("Making one file of each type…")
    made = {f"/{index}/{uuid4().hex}": sample for index, sample in enumerate(samples())}
    with sole_use(folder), embedded_valkey(settings):
        migrate_catalogue(settings)
        with served({path: sample.content for path, sample in made.items()}) as url, _workers(settings) as workers:
            say(f"Sending {len(made)} files over the belt under {folder}…")
            sent = {_send(sample, url=url + path, message_id=path): sample for path, sample in made.items()}
            records = _watch(sent, workers)
        services().close()
    return _conclude(sent, records, folder=folder)


def _send(sample: Sample, *, url: str, message_id: str) -> str:
    attachment = Attachment(
        session="demo",
        message_id=message_id,
        url=url,
        kind=sample.kind,
        mimetype=sample.mimetype,
        filename=sample.filename,
        media_key=sample.media_key,
    )
    return process_media(attachment).id


@contextmanager
def _workers(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    command = worker_command(processes=settings.web_concurrency, threads=settings.worker_threads)
    with (settings.var_dir / "worker.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _watch(sent: dict[str, Sample], workers: subprocess.Popen[bytes]) -> dict[str, Record]:
    """Follows them until all have ended, the workers die or patience is at its end."""
    records: dict[str, Record] = {}
    told: set[str] = set()
    deadline = time.monotonic() + PATIENCE_S
    screen = console()
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while time.monotonic() < deadline and workers.poll() is None:
            records = {media_id: _record(media_id) for media_id in sent}
            for media_id in [key for key, record in records.items() if record.finished_at and key not in told]:
                told.add(media_id)
                live.console.print(
                    Text.assemble(status_text(records[media_id].status.ljust(10)), sent[media_id].filename)
                )
            live.update(_underway(sent, records, height=screen.height - 2), refresh=screen.is_terminal)
            if all(record.finished_at for record in records.values()):
                break
            time.sleep(PAUSE_S)
    return records


def _record(media_id: str) -> Record:
    record = services().catalogue.get(media_id)
    assert record is not None  # it was accepted
    return record


def _underway(sent: dict[str, Sample], records: dict[str, Record], *, height: int) -> Table:
    """Those that have not ended, as many as fit on the terminal."""
    table = Table(box=None, pad_edge=False, show_header=False)
    moving = [record for record in records.values() if not record.finished_at]
    for record in moving[:height]:
        table.add_row(Text(f"at {record.stage}", style="dim"), sent[record.id].filename)
    return table


def _conclude(sent: dict[str, Sample], records: dict[str, Record], *, folder: Path) -> int:
    rows = [_row(sample, records.get(media_id)) for media_id, sample in sent.items()]
    print_table(
        COLUMNS, rows, footer=f"Files lie under {folder / 'media'}; the workers' log is {folder / 'worker.log'}"
    )
    wrong = [sample.filename for media_id, sample in sent.items() if not _as_expected(sample, records.get(media_id))]
    if wrong:
        say(f"Not as expected: {', '.join(wrong)}")
    else:
        refused = sum(sample.refused is not None for sample in sent.values())
        say(f"{len(sent) - refused} stored and announced, {refused} refused, as expected.")
    return 1 if wrong else 0


def _row(sample: Sample, record: Record | None) -> tuple[object, ...]:
    if record is None:
        return (sample.filename, _declared(sample), "not seen", "", "", "")
    return (
        *(sample.filename, _declared(sample), status_text(record.status)),
        *(record.error_code, record.name, record.storage_key),
    )


def _declared(sample: Sample) -> str:
    return f"{sample.kind}, encrypted" if sample.media_key else str(sample.kind)


def _as_expected(sample: Sample, record: Record | None) -> bool:
    if record is None:
        return False
    if sample.refused is None:
        return record.status is Status.DONE
    return record.status is Status.REJECTED and record.error_code == sample.refused


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PipelineError as error:
        sys.exit(f"esteira: {error.message}")
    except KeyboardInterrupt:
        sys.exit(130)
