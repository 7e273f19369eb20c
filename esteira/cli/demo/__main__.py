"""`python -m esteira.cli.demo`: runs the demo in the environment that `launch_demo` prepared."""

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
from esteira.cli.demo.file_server import serve_files
from esteira.cli.demo.samples import Sample, samples
from esteira.cli.embedded_valkey import embedded_valkey, lock_folder
from esteira.cli.environment import settings_for_command
from esteira.cli.migrate import migrate_catalogue
from esteira.cli.output import console, print_message, print_table, status_text
from esteira.cli.supervisor.commands import worker_command
from esteira.cli.table_layout import Column
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.models import Attachment, Record, Status
from pipeline.security.private_dirs import set_private_umask
from pipeline.services import services

TIMEOUT_S = 90.0  # for all files together; unfinished ones then count as unexpected results
POLL_S = 0.1
STOP_S = 20.0  # after SIGTERM; workers that take longer are killed
COLUMNS = (
    Column("file", rank=0, least=16),
    Column("declared", rank=4),
    Column("result", rank=1),
    Column("code", rank=2),
    Column("name", rank=3, least=12),
    Column("stored as", rank=5),
)


def main() -> int:
    """Runs the demo; 0 if every valid file is `done` and every invalid one `rejected` with the expected code."""
    set_private_umask()
    settings = settings_for_command()
    folder = settings.var_dir
    print_message("Making one file of each type…")
    files = {f"/{index}/{uuid4().hex}": sample for index, sample in enumerate(samples())}
    with lock_folder(folder), embedded_valkey(settings):
        migrate_catalogue(settings)
        with (
            serve_files({path: sample.content for path, sample in files.items()}) as url,
            _workers(settings) as workers,
        ):
            print_message(f"Processing {len(files)} files under {folder}…")
            sent = {_send(sample, url=url + path, message_id=path): sample for path, sample in files.items()}
            records = _wait(sent, workers)
        services().close()
    return _report(sent, records, folder=folder)


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


def _wait(sent: dict[str, Sample], workers: subprocess.Popen[bytes]) -> dict[str, Record]:
    """Shows the progress until all files are finished, the workers have died or the time is over."""
    records: dict[str, Record] = {}
    printed: set[str] = set()
    deadline = time.monotonic() + TIMEOUT_S
    screen = console()
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while time.monotonic() < deadline and workers.poll() is None:
            records = {media_id: _record(media_id) for media_id in sent}
            for media_id in [key for key, record in records.items() if record.finished_at and key not in printed]:
                printed.add(media_id)
                live.console.print(
                    Text.assemble(status_text(records[media_id].status.ljust(10)), sent[media_id].filename)
                )
            live.update(_unfinished(sent, records, height=screen.height - 2), refresh=screen.is_terminal)
            if all(record.finished_at for record in records.values()):
                break
            time.sleep(POLL_S)
    return records


def _record(media_id: str) -> Record:
    record = services().catalogue.get(media_id)
    assert record is not None  # it was accepted
    return record


def _unfinished(sent: dict[str, Sample], records: dict[str, Record], *, height: int) -> Table:
    """The unfinished files, as many as fit on the terminal."""
    table = Table(box=None, pad_edge=False, show_header=False)
    unfinished = [record for record in records.values() if not record.finished_at]
    for record in unfinished[:height]:
        table.add_row(Text(f"at {record.stage}", style="dim"), sent[record.id].filename)
    return table


def _report(sent: dict[str, Sample], records: dict[str, Record], *, folder: Path) -> int:
    rows = [_row(sample, records.get(media_id)) for media_id, sample in sent.items()]
    footer = f"Files are stored under {folder / 'media'}; the workers' log is {folder / 'worker.log'}"
    print_table(COLUMNS, rows, footer=footer)
    unexpected = [
        sample.filename for media_id, sample in sent.items() if not _as_expected(sample, records.get(media_id))
    ]
    if unexpected:
        print_message(f"Not as expected: {', '.join(unexpected)}")
    else:
        rejected = sum(sample.expected_error is not None for sample in sent.values())
        print_message(f"{len(sent) - rejected} stored, {rejected} rejected, as expected.")
    return 1 if unexpected else 0


def _row(sample: Sample, record: Record | None) -> tuple[object, ...]:
    if record is None:
        return (sample.filename, _declared(sample), "unknown", "", "", "")
    return (
        *(sample.filename, _declared(sample), status_text(record.status)),
        *(record.error_code, record.name, record.storage_key),
    )


def _declared(sample: Sample) -> str:
    return f"{sample.kind}, encrypted" if sample.media_key else str(sample.kind)


def _as_expected(sample: Sample, record: Record | None) -> bool:
    if record is None:
        return False
    if sample.expected_error is None:
        return record.status is Status.DONE
    return record.status is Status.REJECTED and record.error_code == sample.expected_error


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PipelineError as error:
        sys.exit(f"esteira: {error.message}")
    except KeyboardInterrupt:
        sys.exit(130)
