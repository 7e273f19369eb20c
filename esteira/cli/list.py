"""`esteira list`: attachments, newest first."""

from __future__ import annotations

from typing import Any

import rich_click as click

from esteira.cli.environment import catalogue_for_command
from esteira.cli.filters import filter_options
from esteira.cli.media_table import print_media_table
from esteira.cli.output import examples, print_json, record_json
from esteira.cli.selection import filters_by_status, newest
from pipeline.models import Status


@click.command(
    "list",
    epilog=examples("esteira list --status failed --since 2h", "esteira list --error fetch_timeout --json | jq length"),
)
@filter_options(*Status)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Maximum number of rows.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields.")
def list_(status: tuple[str, ...], limit: int, as_json: bool, **filters: Any) -> None:
    """Lists attachments, newest first."""
    catalogue = catalogue_for_command()
    selections = filters_by_status(status, filters)
    records = newest(catalogue, selections, limit=limit)
    if as_json:
        print_json([record_json(record) for record in records])
        return
    total = sum(map(catalogue.count, selections))
    print_media_table(records, footer=f"{len(records)} of {total}" if total > len(records) else None)
