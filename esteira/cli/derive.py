"""`esteira derive`: requests previews of content that is already stored."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import rich_click as click

from actors.operations.audit import AuditEntry
from actors.redis_queue.preview_jobs import enqueue_preview
from actors.redis_queue.queue import shared_queue
from esteira.cli.audited import audited
from esteira.cli.filters import filter_options
from esteira.cli.output import confirm, examples, print_json, progress_bar
from esteira.cli.selection import filters_by_status, pages
from esteira.cli.services import services_for_command
from pipeline.catalogue import Action, PreviewState
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
@click.option("--failed", is_flag=True, help="Also those that failed before.")
@click.option("--again", is_flag=True, help="Also those that exist: make all of them again.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"matched": n, "asked": n}`.')
@audited(Action.DERIVE)
def derive(entry: AuditEntry, failed: bool, again: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Requests previews of stored content that has none, one per content.

    Workers make previews when no attachment waits for them; `esteira stats` shows how many are left.
    """
    services = services_for_command()
    if not services.settings.previews:
        raise SettingsError("PREVIEWS: is false, so workers make no previews: set it to true")
    selected = {"failed": failed, "again": again, **filters}
    wanted = _wanted(services, filters, replaceable=_replaceable(failed=failed, again=again))
    if wanted and not yes:
        confirm(f"Make {len(wanted)} previews?", consequence=f"{len(wanted)} previews would be made", options="--yes")
    entry.begin({**selected, "matched": len(wanted)})
    requested = _request(entry, services, wanted)
    if as_json:
        print_json({"matched": len(wanted), "asked": requested})
    else:
        click.echo(f"{requested} of {len(wanted)} requested")


def _replaceable(*, failed: bool, again: bool) -> frozenset[PreviewState]:
    """The states in which an existing preview is made again."""
    if again:
        return frozenset(PreviewState)
    return frozenset({PreviewState.FAILED} if failed else ())


def _wanted(
    services: Services, filters: dict[str, Any], *, replaceable: frozenset[PreviewState]
) -> list[tuple[Record, bool]]:
    """One attachment for each content whose preview is to be made, and whether the catalogue has an entry for it."""
    statuses = tuple(filters.pop("status"))
    wanted: dict[str, tuple[Record, bool]] = {}
    selections = filters_by_status(statuses, filters)
    for page in chain.from_iterable(pages(services.catalogue, selection) for selection in selections):
        records = [record for record in page if content_of(record)]
        existing = services.catalogue.previews.get_many(str(record.sha256) for record in records)
        for record in records:
            preview = existing.get(str(record.sha256))
            if preview is None or preview.state in replaceable:
                wanted[str(record.sha256)] = record, preview is not None
    return list(wanted.values())


def _request(entry: AuditEntry, services: Services, wanted: Sequence[tuple[Record, bool]]) -> int:
    """Queues the preview jobs; returns how many were not queued already."""
    requested, queue = 0, shared_queue()
    with progress_bar("requested") as bar:
        for record, has_entry in bar.track(wanted, description="previews"):
            if has_entry:
                services.discard_preview(str(record.sha256))
            entry.advance(enqueued := int(enqueue_preview(queue, record)))
            requested += enqueued
    return requested
