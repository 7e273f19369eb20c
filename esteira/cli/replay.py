"""`esteira replay`: processes failed, rejected or expired attachments again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import rich_click as click

from actors.operations.audit import AuditEntry
from actors.operations.replay import replay as replay_attachment
from actors.operations.replay import replay_refusal
from actors.redis_queue.address import redis_address
from esteira.cli.audited import audited
from esteira.cli.errors import refusal
from esteira.cli.filters import filter_options
from esteira.cli.ids import media_ids
from esteira.cli.media_table import DRY_RUN_ROWS, print_media_table
from esteira.cli.output import confirm, examples, exit_with, print_json, print_message, progress_bar
from esteira.cli.selection import all_ids, filters_by_status
from esteira.cli.services import shared_catalogue
from esteira.cli.source_options import pop_source, source_options
from pipeline.catalogue import Action, Catalogue
from pipeline.config.settings import current_settings
from pipeline.errors import Code, PermanentError
from pipeline.models import REPLAYABLE, Status


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
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most N per second.")
@click.option("--dry-run", is_flag=True, help="Only show what would be replayed.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@audited(Action.REPLAY)
def replay(
    entry: AuditEntry,
    ids: tuple[str, ...],
    rate: float | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Processes failed, rejected or expired attachments again, oldest first, from the stage that failed.

    Takes either IDs or filters. Without --status, filters select failed attachments, and with --error those of any
    status that have this code. A selection by filters is counted and confirmed first. A new source (--url,
    --direct-path, --file) is for exactly one ID, which then starts again at fetch. The first characters of an ID are
    enough if no other ID begins with them.

    While Redis is away, the attachments are reopened all the same, and processed when it is back; the exit status is 0.
    """
    source, file = pop_source(options)
    _check_usage(ids, options, has_source=bool(source or file))
    catalogue = shared_catalogue()
    selected = media_ids(catalogue, ids) or all_ids(catalogue, filters_by_status(_statuses(options), _others(options)))
    if dry_run:
        exit_with(1 if _print_selection(catalogue, selected, as_json, by_id=bool(ids)) else 0)
    if selected and not (yes or ids):
        confirm(f"Replay {len(selected)} attachments?", consequence=f"{len(selected)} would be replayed")
    target = {"ids": selected if ids else (), **options, "matched": len(selected)}
    entry.begin(target, action=Action.NEW_SOURCE if source or file else None)
    missed, spooled = _replay_all(entry, selected, partial(replay_attachment, source=source, file=file), rate=rate)
    if as_json:
        print_json({"matched": len(selected), "replayed": len(selected) - len(missed), "missed": missed})
    else:
        click.echo(f"{len(selected) - len(missed)} of {len(selected)} replayed")
    if spooled:
        where = redis_address(current_settings())
        print_message(f"Redis at {where} does not answer: {spooled} reopened, and processed when Redis is back")
    exit_with(1 if missed else 0)


def _check_usage(ids: tuple[str, ...], filters: dict[str, Any], *, has_source: bool) -> None:
    if ids and any(filters.values()):
        raise click.UsageError("give either ids or filters")
    if has_source and len(ids) != 1:
        raise click.UsageError("--url, --direct-path, --file and the key options are for one attachment: give one ID")


def _statuses(filters: dict[str, Any]) -> Sequence[str]:
    if filters["status"]:
        return tuple(filters["status"])
    return REPLAYABLE if filters["error"] else (Status.FAILED,)


def _others(filters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if name != "status"}


def _print_selection(catalogue: Catalogue, selected: Sequence[str], as_json: bool, *, by_id: bool) -> list[str]:
    """Prints what would be replayed; returns the IDs that cannot be. Filters select only what can be."""
    missed = [media_id for media_id in selected if not _can_be_replayed(catalogue, media_id)] if by_id else []
    remaining = [media_id for media_id in selected if media_id not in missed]
    if as_json:
        print_json({"matched": len(selected), "ids": remaining, "missed": missed})
        return missed
    records = [record for media_id in remaining[:DRY_RUN_ROWS] if (record := catalogue.get(media_id))]
    print_media_table(records, footer=f"{len(remaining)} would be replayed")
    return missed


def _can_be_replayed(catalogue: Catalogue, media_id: str) -> bool:
    reason = replay_refusal(catalogue.get(media_id))
    if reason:
        print_message(refusal(media_id, reason))
    return reason is None


def _replay_all(
    entry: AuditEntry, selected: Sequence[str], replay_one: Callable[[str], bool], *, rate: float | None
) -> tuple[list[str], int]:
    """Replays them; returns the IDs that cannot be replayed, and how many wait for Redis."""
    missed, spooled = [], 0
    with progress_bar("replayed") as bar:
        start = time.monotonic()
        for index, media_id in enumerate(bar.track(selected, description="replaying")):
            if rate:
                time.sleep(max(0.0, start + index / rate - time.monotonic()))
            try:
                spooled += not replay_one(media_id)
            except PermanentError as error:
                if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                    raise
                print_message(refusal(media_id, error))
                missed.append(media_id)
            else:
                entry.advance()
    entry.note(missed=len(missed))
    return missed, spooled
