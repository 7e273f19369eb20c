"""`esteira cancel`: ends attachments that are not finished yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rich_click as click

from actors.operations.audit import AuditEntry
from actors.operations.cancel import cancel as cancel_attachment
from actors.operations.cancel import cancel_refusal
from esteira.cli.audited import audited
from esteira.cli.errors import refusal
from esteira.cli.filters import filter_options
from esteira.cli.ids import media_ids
from esteira.cli.media_table import DRY_RUN_ROWS, print_media_table
from esteira.cli.output import confirm, examples, exit_with, print_json, print_message, progress_bar
from esteira.cli.selection import all_ids, filters_by_status
from esteira.cli.services import shared_catalogue
from pipeline.catalogue import Action, Catalogue
from pipeline.errors import Code, PermanentError
from pipeline.models import Record, Status


@click.command(
    epilog=examples(
        "esteira cancel ID",
        "esteira cancel --session shop --since 1h --dry-run",
        "esteira cancel --status received --yes    # all unfinished attachments",
    )
)
@click.argument("ids", nargs=-1, metavar="[ID…]")
@filter_options(Status.RECEIVED)
@click.option("--dry-run", is_flag=True, help="Only show what would be cancelled.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@audited(Action.CANCEL)
def cancel(entry: AuditEntry, ids: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Cancels unfinished attachments: they end as `rejected` with the error code `cancelled`, and the event is sent.

    Takes either IDs or filters. A selection by filters is counted and confirmed first. An attachment that a worker is
    processing ends after its current stage. A cancelled attachment can be replayed. The first characters of an ID are
    enough if no other ID begins with them.
    """
    if bool(ids) == any(filters.values()):
        raise click.UsageError("give either ids or filters; --status received selects all unfinished attachments")
    catalogue = shared_catalogue()
    others = {name: value for name, value in filters.items() if name != "status"}
    selected = media_ids(catalogue, ids) or all_ids(catalogue, filters_by_status((Status.RECEIVED,), others))
    if dry_run:
        exit_with(1 if _print_selection(catalogue, selected, as_json) else 0)
    if selected and not (yes or ids):
        confirm(f"Cancel {len(selected)} attachments?", consequence=f"{len(selected)} would be cancelled")
    entry.begin({"ids": selected if ids else (), **filters, "matched": len(selected)})
    ended, pending, missed = _cancel_all(entry, selected)
    if as_json:
        print_json({"matched": len(selected), "cancelled": ended, "pending": pending, "missed": missed})
    else:
        later = f"; {pending} of them end after their current stage" if pending else ""
        click.echo(f"{ended + pending} of {len(selected)} cancelled{later}")
    exit_with(1 if missed else 0)


def _print_selection(catalogue: Catalogue, selected: Sequence[str], as_json: bool) -> list[str]:
    """Prints what would be cancelled; returns the IDs that cannot be."""
    records = {media_id: catalogue.get(media_id) for media_id in selected}
    missed = [media_id for media_id, record in records.items() if not _can_be_cancelled(media_id, record)]
    remaining = [media_id for media_id in selected if media_id not in missed]
    if as_json:
        print_json({"matched": len(selected), "ids": remaining, "missed": missed})
        return missed
    shown = [record for media_id in remaining[:DRY_RUN_ROWS] if (record := records[media_id])]
    print_media_table(shown, footer=f"{len(remaining)} would be cancelled")
    return missed


def _can_be_cancelled(media_id: str, record: Record | None) -> bool:
    reason = cancel_refusal(record)
    if reason:
        print_message(refusal(media_id, reason))
    return reason is None


def _cancel_all(entry: AuditEntry, selected: Sequence[str]) -> tuple[int, int, list[str]]:
    """How many have ended, how many will end after their stage, and the IDs that can no longer be cancelled."""
    ended, missed = 0, []
    with progress_bar("cancelled") as bar:
        for media_id in bar.track(selected, description="cancelling"):
            try:
                ended += cancel_attachment(media_id).ended_at is not None
            except PermanentError as error:
                if error.code not in {Code.NOT_FOUND, Code.NOT_PENDING}:
                    raise
                print_message(refusal(media_id, error))
                missed.append(media_id)
            else:
                entry.advance()
    entry.note(missed=len(missed))
    return ended, len(selected) - len(missed) - ended, missed
