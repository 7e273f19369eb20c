"""`esteira replay`: failed, rejected or expired attachments go again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import rich_click as click

from actors.operations.replay import REPLAYABLE, replay_refusal
from actors.operations.replay import replay as replay_one
from esteira.cli.environment import catalogue_for_command
from esteira.cli.filters import filter_options
from esteira.cli.new_source import source_options, taken
from esteira.cli.output import ask, examples, leave, print_json, print_table, progress, say
from esteira.cli.selection import all_ids, each_status
from esteira.cli.status import COLUMNS, row
from pipeline.catalogue import Catalogue
from pipeline.errors import Code, PermanentError
from pipeline.models import Record, Status

SHOWN = 20  # rows of a dry run; the count stands below them


@click.command(
    epilog=examples(
        "esteira replay ID",
        "esteira replay --since 2h --dry-run",
        "esteira replay --error fetch_unavailable --rate 5 --yes",
        "esteira replay ID --url https://example.com/again.jpg",
        "esteira replay ID --direct-path /v/t62.7118-24/… --media-key-file - < key",
        "esteira replay ID --file again.jpg",
    )
)
@click.argument("ids", nargs=-1, metavar="[ID…]")
@filter_options(*REPLAYABLE)
@source_options
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most N a second.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def replay(ids: tuple[str, ...], rate: float | None, dry_run: bool, yes: bool, as_json: bool, **others: Any) -> None:
    """Sends attachments that ended badly over the belt again, the oldest first, from the stage that failed.

    Takes ids, or filters. Without --status it takes the failed ones; with --error, whatever ended with that code.
    What filters chose is counted, and a question asked, before anything goes.
    """
    source, file = taken(others)
    _refuse_nonsense(ids, others, one=bool(source or file))
    catalogue = catalogue_for_command()
    chosen = list(dict.fromkeys(ids)) or all_ids(catalogue, each_status(_statuses(others), _others(others)))
    if dry_run:
        leave(1 if _show(catalogue, chosen, as_json, named=bool(ids)) else 0)
    if chosen and not (yes or ids):
        ask(f"Send {len(chosen)} again?", would=f"{len(chosen)} would be sent again")
    missed = _replay_all(chosen, partial(replay_one, source=source, file=file), rate=rate)
    if as_json:
        print_json({"matched": len(chosen), "replayed": len(chosen) - len(missed), "missed": missed})
    else:
        click.echo(f"{len(chosen) - len(missed)} of {len(chosen)} sent again")
    leave(1 if missed else 0)


def _refuse_nonsense(ids: tuple[str, ...], filters: dict[str, Any], *, one: bool) -> None:
    if ids and any(filters.values()):
        raise click.UsageError("give ids or filters, not both")
    if one and len(ids) != 1:
        raise click.UsageError(
            "--url, --direct-path and the like are the source of one attachment: give exactly one ID"
        )


def _statuses(filters: dict[str, Any]) -> Sequence[str]:
    if filters["status"]:
        return tuple(filters["status"])
    return REPLAYABLE if filters["error"] else (Status.FAILED,)


def _others(filters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if name != "status"}


def _show(catalogue: Catalogue, chosen: Sequence[str], as_json: bool, *, named: bool) -> list[str]:
    """Shows what would go; returns those that could not, of which filters choose none."""
    missed = [media_id for media_id in chosen if _is_missed(catalogue, media_id)] if named else []
    fit = [media_id for media_id in chosen if media_id not in missed]
    if as_json:
        print_json({"matched": len(chosen), "ids": fit, "missed": missed})
        return missed
    found = [record for media_id in fit[:SHOWN] if (record := catalogue.get(media_id))]
    print_table(COLUMNS, map(row, found), footer=f"{len(fit)} would be sent again")
    return missed


def _is_missed(catalogue: Catalogue, media_id: str) -> bool:
    reason = replay_refusal(catalogue.get(media_id))
    if reason:
        say(f"{media_id}: {reason.message}")
    return reason is not None


def _replay_all(chosen: Sequence[str], replay_it: Callable[[str], Record], *, rate: float | None) -> list[str]:
    """Sends them again; returns those that could not go: unknown, or not ended badly."""
    missed = []
    with progress("sent again") as bar:
        begin = time.monotonic()
        for index, media_id in enumerate(bar.track(chosen, description="replaying")):
            if rate:
                time.sleep(max(0.0, begin + index / rate - time.monotonic()))
            try:
                replay_it(media_id)
            except PermanentError as error:
                if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                    raise
                say(f"{media_id}: {error.message}")
                missed.append(media_id)
    return missed
