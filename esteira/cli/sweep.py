"""`esteira sweep`: runs the requeue scan once, for attachments that Redis has lost."""

from __future__ import annotations

import rich_click as click

from actors.hook import hook
from actors.intake.requeue_scan import requeue_lost
from actors.observability import metrics_store
from actors.operations.audit import AuditEntry
from actors.redis_queue.queue import shared_queue
from esteira.cli.audited import audited
from esteira.cli.output import examples, print_json
from esteira.cli.services import shared_catalogue
from pipeline.catalogue import Action
from pipeline.config.settings import current_settings


@click.command(
    epilog=examples(
        "esteira sweep",
        "esteira sweep --older-than 0    # right after Redis lost its data",
    )
)
@click.option("--older-than", type=click.FloatRange(min=0), metavar="SECONDS", help="Default: SWEEP_AFTER_S.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"swept": n, "handed_over": n}`.')
@audited(Action.SWEEP)
def sweep(entry: AuditEntry, older_than: float | None, as_json: bool) -> None:
    """Requeues unfinished attachments that are missing from the queue. Workers do this regularly by themselves.

    Before that, it hands over what waits in the intake spool of this machine.
    """
    catalogue, settings = shared_catalogue(), current_settings()
    entry.begin({"older_than_s": older_than})
    handed_over = hook().hand_over_spooled()
    older_than_s = settings.sweep_after_s if older_than is None else older_than
    count = entry.count = requeue_lost(catalogue, shared_queue(), older_than_s=older_than_s)
    metrics_store.flush(shared_queue())  # the command ends now
    if as_json:
        print_json({"swept": count, "handed_over": handed_over})
    else:
        spooled = f", {handed_over} handed over from the intake spool" if handed_over else ""
        click.echo(f"{count} requeued{spooled}")
