"""`esteira cancel`: attachments that have not ended end as cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rich_click as click

from actors.operations.cancel import cancel_refusal
from actors.operations.pause import cancel as cancel_one
from esteira.cli.environment import catalogue_for_command
from esteira.cli.filters import filter_options
from esteira.cli.output import ask, examples, leave, print_json, print_table, progress, say
from esteira.cli.selection import all_ids, each_status
from esteira.cli.status import COLUMNS, row
from pipeline.catalogue import Catalogue
from pipeline.errors import Code, PermanentError
from pipeline.models import Record, Status

SHOWN = 20  # rows of a dry run; the count stands below them


@click.command(
    epilog=examples(
        "esteira cancel ID",
        "esteira cancel --session shop --since 1h --dry-run",
        "esteira cancel --status received --yes    # all that has not ended",
    )
)
@click.argument("ids", nargs=-1, metavar="[ID…]")
@filter_options(Status.RECEIVED)
@click.option("--dry-run", is_flag=True, help="Only show what would be cancelled.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def cancel(ids: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Ends attachments that are neither stored nor refused, as `rejected` with the code `cancelled`, and announces it.

    Takes ids, or filters. What a worker has begun ends when its step is over. What was cancelled can be replayed. What
    filters chose is counted, and a question asked, before anything ends.
    """
    if bool(ids) == any(filters.values()):
        raise click.UsageError("give ids or filters, and not both; --status received chooses all that has not ended")
    catalogue = catalogue_for_command()
    others = {name: value for name, value in filters.items() if name != "status"}
    chosen = list(dict.fromkeys(ids)) or all_ids(catalogue, each_status((Status.RECEIVED,), others))
    if dry_run:
        leave(1 if _show(catalogue, chosen, as_json) else 0)
    if chosen and not (yes or ids):
        ask(f"Cancel {len(chosen)}?", would=f"{len(chosen)} would be cancelled")
    ended, pending, missed = _cancel_all(chosen)
    if as_json:
        print_json({"matched": len(chosen), "cancelled": ended, "pending": pending, "missed": missed})
    else:
        later = f"; {pending} of them end when their step is over" if pending else ""
        click.echo(f"{ended + pending} of {len(chosen)} cancelled{later}")
    leave(1 if missed else 0)


def _show(catalogue: Catalogue, chosen: Sequence[str], as_json: bool) -> list[str]:
    """Shows what would be cancelled; returns those that cannot be."""
    found = {media_id: catalogue.get(media_id) for media_id in chosen}
    missed = [media_id for media_id, record in found.items() if _is_missed(media_id, record)]
    fit = [media_id for media_id in chosen if media_id not in missed]
    if as_json:
        print_json({"matched": len(chosen), "ids": fit, "missed": missed})
        return missed
    shown = [record for media_id in fit[:SHOWN] if (record := found[media_id])]
    print_table(COLUMNS, map(row, shown), footer=f"{len(fit)} would be cancelled")
    return missed


def _is_missed(media_id: str, record: Record | None) -> bool:
    reason = cancel_refusal(record)
    if reason:
        say(f"{media_id}: {reason.message}")
    return reason is not None


def _cancel_all(chosen: Sequence[str]) -> tuple[int, int, list[str]]:
    """How many have ended, how many will, and which cannot be cancelled any more."""
    ended, missed = 0, []
    with progress("cancelled") as bar:
        for media_id in bar.track(chosen, description="cancelling"):
            try:
                ended += cancel_one(media_id).ended_at is not None
            except PermanentError as error:
                if error.code not in {Code.NOT_FOUND, Code.NOT_PENDING}:
                    raise
                say(f"{media_id}: {error.message}")
                missed.append(media_id)
    return ended, len(chosen) - len(missed) - ended, missed
