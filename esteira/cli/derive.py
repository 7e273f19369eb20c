"""`esteira derive`: previews of what is stored already."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import rich_click as click

from actors.redis_queue.preview_jobs import request_preview
from actors.redis_queue.queue import shared_queue
from esteira.cli.environment import services_for_command
from esteira.cli.filters import filter_options
from esteira.cli.output import ask, examples, print_json, progress
from esteira.cli.selection import each_status, pages
from pipeline.catalogue import PreviewState
from pipeline.errors import SettingsError
from pipeline.models import Record, Status
from pipeline.services import Services
from pipeline.steps.preview import content_of


@click.command(
    epilog=examples(
        "esteira derive",
        "esteira derive --since 30d --kind video --yes",
        "esteira derive --failed",
        "esteira derive --again --yes",
    )
)
@filter_options(Status.DONE, Status.FAILED)
@click.option("--failed", is_flag=True, help="Also those that could not be made before.")
@click.option("--again", is_flag=True, help="Also those that are made: all of them anew.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"matched": n, "asked": n}`.')
def derive(failed: bool, again: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Asks the workers for the previews of stored content that has none yet, once for each content.

    They make them when no attachment needs them; `esteira stats` shows how many wait.
    """
    tools = services_for_command()
    if not tools.settings.previews:
        raise SettingsError("PREVIEWS: is false, and no worker makes any: set it to true")
    wanted = _wanted(tools, filters, over=_over(failed=failed, again=again))
    if wanted and not yes:
        ask(f"Make {len(wanted)} previews?", would=f"{len(wanted)} previews would be made", add="--yes")
    asked = _ask_workers(tools, wanted)
    if as_json:
        print_json({"matched": len(wanted), "asked": asked})
    else:
        click.echo(f"{asked} of {len(wanted)} asked for")


def _over(*, failed: bool, again: bool) -> frozenset[PreviewState]:
    """The states over which a preview is made once more."""
    if again:
        return frozenset(PreviewState)
    return frozenset({PreviewState.FAILED} if failed else ())


def _wanted(tools: Services, filters: dict[str, Any], *, over: frozenset[PreviewState]) -> list[tuple[Record, bool]]:
    """An attachment for each content whose preview is to be made, and whether something of it is noted."""
    statuses = tuple(filters.pop("status"))
    found: dict[str, tuple[Record, bool]] = {}
    chosen = each_status(statuses, filters)
    for page in chain.from_iterable(pages(tools.catalogue, each) for each in chosen):
        records = [record for record in page if content_of(record)]
        noted = tools.catalogue.previews.get_many(str(record.sha256) for record in records)
        for record in records:
            known = noted.get(str(record.sha256))
            if known is None or known.state in over:
                found[str(record.sha256)] = record, known is not None
    return list(found.values())


def _ask_workers(tools: Services, wanted: Sequence[tuple[Record, bool]]) -> int:
    """How many were not on the belt already."""
    asked, belt = 0, shared_queue()
    with progress("asked for") as bar:
        for record, noted in bar.track(wanted, description="previews"):
            if noted:
                tools.discard_preview(str(record.sha256))
            asked += request_preview(belt, record)
    return asked
