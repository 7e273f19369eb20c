"""`esteira submit`: hands over URLs, local files or lines of JSON for processing."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import uuid4

import rich_click as click

from actors.hook import Receipt, process_media
from actors.operations.audit import AuditEntry
from esteira.cli.audited import audited
from esteira.cli.jsonl import attachments
from esteira.cli.output import examples, exit_with, print_json, print_message, printable, progress_bar, record_json
from esteira.cli.services import services_for_command
from esteira.cli.waiting import wait_for_results
from pipeline.catalogue import Action
from pipeline.errors import PayloadError, PermanentError
from pipeline.models import Attachment, Kind, Record, Status, parse_attachment
from pipeline.services import Services
from pipeline.storage import Storage
from pipeline.values.emptiness import is_empty

URL = re.compile(r"[a-z][a-z0-9+.-]*:(//|$)", re.IGNORECASE)


class Submission(NamedTuple):
    """An attachment to hand over. `origin` is its URL, path or line number; `file` has its bytes if it is local."""

    origin: str
    attachment: Attachment
    file: Path | None = None


@dataclass
class Summary:
    """Counts the results of the hand-over; `origins` maps the ID of each accepted attachment to its origin."""

    origins: dict[str, str] = field(default_factory=dict)
    modes: Counter[str] = field(default_factory=Counter)
    invalid: int = 0

    def add(self, origin: str, receipt: Receipt) -> None:
        self.origins[receipt.id] = origin
        self.modes[receipt.mode] += 1

    def add_invalid(self, origin: str, reason: str) -> None:
        """Counts an invalid one and prints why."""
        self.invalid += 1
        print_message(f"{origin}: {printable(reason)}")

    def __str__(self) -> str:
        modes = ", ".join(f"{count} {mode}" for mode, count in self.modes.most_common())
        invalid = f"; {self.invalid} invalid" if self.invalid else ""
        return f"{self.modes.total()} accepted{f': {modes}' if modes else ''}{invalid}"


@click.command(
    epilog=examples(
        "esteira submit https://example.com/photo.jpg --session shop",
        "esteira submit *.pdf --wait",
        "esteira submit --jsonl load.jsonl --wait",
        "make_load | esteira submit --jsonl -",
    )
)
@click.argument("sources", nargs=-1, metavar="[SOURCE…]")
@click.option("--jsonl", type=click.File("rb"), metavar="FILE", help="Read one attachment per line; `-` is stdin.")
@click.option("--session", metavar="NAME", help="The session that received it; default: `cli`.")
@click.option("--message-id", metavar="ID", help="For one SOURCE; default: a new ID. A known ID is a duplicate.")
@click.option("--kind", type=click.Choice(list(map(str, Kind))), help="The kind that the sender declared.")
@click.option("--mimetype", metavar="TYPE", help="The type that the sender declared, e.g. `audio/ogg; codecs=opus`.")
@click.option("--filename", metavar="NAME", help="The sender's file name; default: the name of the local file.")
@click.option("--wait", is_flag=True, help="Print each result and its place; exit status 1 if any is not `done`.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="With --wait: wait at most this long.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one line of JSON each: the receipt, or with --wait the row."
)
@audited(Action.SUBMIT)
def submit(
    entry: AuditEntry,
    sources: tuple[str, ...],
    jsonl: BinaryIO | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **declared: str | None,
) -> None:
    """Hands over attachments for processing: URLs, local files, or lines of JSON with --jsonl.

    A line of JSON needs `session`, `message_id` and one of `url`, `data` (base64) and `direct_path`; the README lists
    the other fields. INTAKE_RULES do not apply: what is submitted is wanted. An invalid line is reported on stderr with
    its number and field, and skipped.
    """
    _check_usage(sources, jsonl, declared)
    submissions: Iterable[Submission] = _from_sources(sources, declared)
    services = services_for_command()
    entry.begin({"sources": len(sources), "jsonl": jsonl is not None, **declared})
    summary = Summary()
    if jsonl:
        submissions = _from_lines(jsonl, summary)
    for origin, receipt in _hand_over(submissions, summary):
        entry.advance()
        if as_json and not wait:
            print_json({"id": receipt.id, "source": origin, "mode": receipt.mode, "status": receipt.status})
        elif not jsonl and not wait:
            click.echo(f"{receipt.id}  {receipt.mode}  {printable(origin)}")
    print_message(str(summary))
    all_done = not wait or _wait(services, summary.origins, timeout=timeout, as_json=as_json)
    exit_with(0 if all_done and not summary.invalid else 1)


def _check_usage(sources: tuple[str, ...], jsonl: BinaryIO | None, declared: dict[str, str | None]) -> None:
    if bool(sources) == bool(jsonl):
        raise click.UsageError("give SOURCEs or --jsonl FILE" + (", not both" if jsonl else ""))
    if jsonl and any(value is not None for value in declared.values()):
        options = ", ".join(_option(name) for name, value in declared.items() if value is not None)
        raise click.UsageError(f"{options}: cannot be combined with --jsonl, where each line has its own fields")
    for name, value in declared.items():
        if value is not None and is_empty(value):  # perhaps of an unset variable
            raise click.UsageError(f"{_option(name)} is empty: give a value, or leave the option out")
    if declared["message_id"] and len(sources) > 1:
        raise click.UsageError("--message-id is the id of one attachment: give one SOURCE")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _from_sources(sources: tuple[str, ...], declared: dict[str, str | None]) -> list[Submission]:
    """The attachments of the sources; all are validated before the first one is handed over."""
    files = _local_files(sources)
    fields = {name: value for name, value in declared.items() if value is not None}
    try:
        return [_submission(source, files.get(source), fields) for source in sources]
    except PayloadError as error:
        option = _option(error.field) if error.field in declared else "SOURCE"
        raise click.UsageError(f"{option}: {error.message.removeprefix(f'{error.field}: ')}") from None


def _submission(source: str, file: Path | None, fields: dict[str, str]) -> Submission:
    identity = {"session": "cli", "message_id": uuid4().hex}
    # A local file has no URL; process_media() reads its bytes instead.
    origin = {"filename": file.name} if file else {"url": source}
    return Submission(source, parse_attachment(identity | origin | fields, has_file=file is not None), file)


def _local_files(sources: tuple[str, ...]) -> dict[str, Path]:
    """The sources that are local files."""
    files = {source: Path(source) for source in sources if not URL.match(source)}
    for source, path in files.items():
        if is_empty(source):
            raise click.UsageError("a SOURCE is empty: give a URL or a file")
        if not (path.is_file() and os.access(path, os.R_OK)):
            raise click.UsageError(f"{printable(source)} is neither a URL nor a readable file")
    return files


def _from_lines(stream: BinaryIO, summary: Summary) -> Iterator[Submission]:
    # A pipe has no size; the bar then only shows activity.
    size = Path(stream.name).stat().st_size if isinstance(stream.name, str) and Path(stream.name).is_file() else None
    with progress_bar("submitted") as bar:
        task = bar.add_task("reading", total=size)
        lines = _counted(stream, lambda read: bar.advance(task, read))
        for origin, attachment in attachments(lines, summary.add_invalid):
            yield Submission(origin, attachment)


def _counted(stream: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    for line in stream:
        yield line
        advance(len(line))


def _hand_over(submissions: Iterable[Submission], summary: Summary) -> Iterator[tuple[str, Receipt]]:
    for origin, attachment, file in submissions:
        try:
            receipt = process_media(attachment, file=file, by_rules=False)
        except PermanentError as error:
            summary.add_invalid(origin, error.message)
            continue
        summary.add(origin, receipt)
        yield origin, receipt


def _wait(services: Services, origins: Mapping[str, str], *, timeout: float | None, as_json: bool) -> bool:
    """Waits for the results and prints each when it is known; whether all are `done`."""
    counts: Counter[str] = Counter()
    unfinished = dict.fromkeys(origins)
    with progress_bar("finished") as bar:
        task = bar.add_task("waiting", total=len(origins))
        for record in wait_for_results(services.catalogue, list(origins), timeout_s=timeout):
            counts[record.status] += 1
            del unfinished[record.id]
            _print_result(record, origins[record.id], storage=services.storage, as_json=as_json)
            bar.advance(task)
    for media_id in unfinished:
        print_message(f"{media_id}  not finished  {printable(origins[media_id])}")
    if unfinished:
        counts["not finished"] = len(unfinished)
    print_message(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "nothing to wait for")
    return counts.total() == counts[Status.DONE]


def _print_result(record: Record, origin: str, *, storage: Storage, as_json: bool) -> None:
    if as_json:
        print_json(record_json(record))
    elif record.status != Status.DONE:
        click.echo(f"{record.id}  {record.status}  {record.error_code}  {printable(f'{origin}: {record.error}')}")
    else:
        click.echo(f"{record.id}  {record.status}  {printable(_location(record, storage))}  {printable(origin)}")


def _location(record: Record, storage: Storage) -> str:
    """The path of the stored file, or its URL in an object store."""
    if not record.storage_key:
        return "not stored"
    return str(storage.local_path(record.storage_key) or storage.url(record.storage_key))
