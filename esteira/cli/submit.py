"""`esteira submit`: URLs, local files or lines of JSON onto the belt."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import uuid4

import rich_click as click

from actors.hook import Receipt, process_media
from esteira.cli.environment import services_for_command
from esteira.cli.jsonl import attachments
from esteira.cli.output import examples, leave, print_json, printable, progress, record_json, say
from esteira.cli.waiting import endings
from pipeline.catalogue import Catalogue
from pipeline.errors import PayloadError, PermanentError
from pipeline.models import Attachment, Kind, Record, Status, parse_attachment

URL = re.compile(r"[a-z][a-z0-9+.-]*:(//|$)", re.IGNORECASE)


class Given(NamedTuple):
    """One attachment to hand over, and where it was given; `file` has its bytes if they are on this machine."""

    place: str
    attachment: Attachment
    file: Path | None = None


@dataclass
class Tally:
    """What became of what was given."""

    ids: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    modes: Counter[str] = field(default_factory=Counter)
    wrong: int = 0

    def accept(self, place: str, receipt: Receipt) -> None:
        """Notes what was handed over, and where it was given."""
        self.ids.append(receipt.id)
        self.places[receipt.id] = place
        self.modes[receipt.mode] += 1

    def refuse(self, place: str, fault: str) -> None:
        """Tells of one that is wrong; the others go on."""
        self.wrong += 1
        say(f"{place}: {printable(fault)}")

    def __str__(self) -> str:
        modes = ", ".join(f"{count} {mode}" for mode, count in self.modes.most_common())
        refused = f"; {self.wrong} wrong" if self.wrong else ""
        return f"{len(self.ids)} accepted{f': {modes}' if modes else ''}{refused}"


@click.command(
    epilog=examples(
        "esteira submit https://example.com/photo.jpg --session shop",
        "esteira submit *.pdf --wait",
        "esteira submit --jsonl load.jsonl --wait",
        "make_load | esteira submit --jsonl -",
    )
)
@click.argument("sources", nargs=-1, metavar="[SOURCE…]")
@click.option("--jsonl", type=click.File("rb"), metavar="FILE", help="One attachment as JSON a line; `-` is stdin.")
@click.option("--session", metavar="NAME", help="The session it came in; default: `cli`.")
@click.option("--message-id", metavar="ID", help="For one SOURCE; default: a new one. The same id again is no new one.")
@click.option("--kind", type=click.Choice([str(one) for one in Kind]), help="What the sender declared.")
@click.option("--mimetype", metavar="TYPE", help="What the sender declared, such as `audio/ogg; codecs=opus`.")
@click.option("--filename", metavar="NAME", help="The sender's name of it; default: the local file's own.")
@click.option("--wait", is_flag=True, help="Until every one has ended; exit status 1 if one did not end `done`.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="With --wait: give up after so long.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each: its receipt, with --wait its row.")
def submit(
    sources: tuple[str, ...],
    jsonl: BinaryIO | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **declared: str | None,
) -> None:
    """Puts media on the belt: URLs, local files, or lines of JSON with --jsonl.

    A line of JSON needs session, message_id and one of url, data (base64) and direct_path; the README names the other
    fields. A wrong line is named by its number and field on stderr, and the others go on.
    """
    _refuse_nonsense(sources, jsonl, declared)
    local = _given(sources, declared)
    catalogue = services_for_command().catalogue
    tally = Tally()
    given = _lines(jsonl, tally) if jsonl else local
    for place, receipt in _hand_over(given, tally):
        if as_json and not wait:
            print_json({"id": receipt.id, "source": place, "mode": receipt.mode, "status": receipt.status})
        elif not jsonl and not wait:
            click.echo(f"{receipt.id}  {receipt.mode}  {printable(place)}")
    say(str(tally))
    ended_well = not wait or _wait(catalogue, tally.places, timeout=timeout, as_json=as_json)
    leave(0 if ended_well and not tally.wrong else 1)


def _refuse_nonsense(sources: tuple[str, ...], jsonl: BinaryIO | None, declared: dict[str, str | None]) -> None:
    if bool(sources) == bool(jsonl):
        raise click.UsageError("give SOURCEs or --jsonl FILE" + (", not both" if jsonl else ""))
    if jsonl and any(value is not None for value in declared.values()):
        named = ", ".join(_option(name) for name, value in declared.items() if value is not None)
        raise click.UsageError(f"{named}: with --jsonl every line says so itself")
    if declared["message_id"] and len(sources) > 1:
        raise click.UsageError("--message-id is the id of one attachment: give one SOURCE with it")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(sources: tuple[str, ...], declared: dict[str, str | None]) -> list[Given]:
    """The attachments of the sources; all are checked before the first one is handed over."""
    files = _local_files(sources)
    fields = {name: value for name, value in declared.items() if value is not None}
    try:
        return [_attachment(source, files.get(source), fields) for source in sources]
    except PayloadError as error:
        place = _option(error.field) if error.field in declared else "SOURCE"
        raise click.UsageError(f"{place}: {error.message.removeprefix(f'{error.field}: ')}") from None


def _attachment(source: str, file: Path | None, fields: dict[str, str]) -> Given:
    identity = {"session": "cli", "message_id": uuid4().hex}
    # A local file has no URL; the hook takes its bytes instead.
    origin = {"filename": file.name} if file else {"url": source}
    return Given(source, parse_attachment(identity | origin | fields, has_file=file is not None), file)


def _local_files(sources: tuple[str, ...]) -> dict[str, Path]:
    """The sources that are files of this machine."""
    files = {source: Path(source) for source in sources if not URL.match(source)}
    for source, path in files.items():
        if not (path.is_file() and os.access(path, os.R_OK)):
            raise click.UsageError(f"{printable(source)} is neither a URL nor a file that can be read")
    return files


def _lines(stream: BinaryIO, tally: Tally) -> Iterator[Given]:
    # A pipe has no size: then the bar shows only that it goes on.
    size = Path(stream.name).stat().st_size if isinstance(stream.name, str) and Path(stream.name).is_file() else None
    with progress("submitted") as bar:
        task = bar.add_task("reading", total=size)
        for place, attachment in attachments(_counted(stream, lambda read: bar.advance(task, read)), tally.refuse):
            yield Given(place, attachment)


def _counted(stream: BinaryIO, advance: Any) -> Iterator[bytes]:
    for line in stream:
        yield line
        advance(len(line))


def _hand_over(given: Iterable[Given], tally: Tally) -> Iterator[tuple[str, Receipt]]:
    for place, attachment, file in given:
        try:
            receipt = process_media(attachment, file=file)
        except PermanentError as error:
            tally.refuse(place, error.message)
            continue
        tally.accept(place, receipt)
        yield place, receipt


def _wait(catalogue: Catalogue, places: Mapping[str, str], *, timeout: float | None, as_json: bool) -> bool:
    """Waits for all of them, the ids with the places where they were given; whether every one ended `done`."""
    counts: Counter[str] = Counter()
    with progress("ended") as bar:
        task = bar.add_task("waiting", total=len(places))
        for record in endings(catalogue, list(places), timeout_s=timeout):
            counts[record.status] += 1
            _show_ending(record, places[record.id], as_json=as_json)
            bar.advance(task)
    unfinished = len(places) - counts.total()
    if unfinished:
        counts["not ended"] = unfinished
    say(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "nothing to wait for")
    return counts.total() == counts[Status.DONE]


def _show_ending(record: Record, place: str, *, as_json: bool) -> None:
    if as_json:
        print_json(record_json(record))
    elif record.status != Status.DONE:
        click.echo(f"{record.id}  {record.status}  {record.error_code}  {printable(f'{place}: {record.error}')}")
