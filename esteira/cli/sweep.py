"""`esteira sweep`: puts back on the belt what it has lost."""

from __future__ import annotations

import rich_click as click

from actors.maintenance.requeue_lost import sweep as sweep_once
from esteira.cli.environment import services_for_command
from esteira.cli.output import examples, print_json


@click.command(
    epilog=examples(
        "esteira sweep",
        "esteira sweep --older-than 0    # Redis was wiped: lose no time",
    )
)
@click.option("--older-than", type=click.FloatRange(min=0), metavar="SECONDS", help="Instead of SWEEP_AFTER_S.")
@click.option("--json", "as_json", is_flag=True, help='Print `{"swept": n}`.')
def sweep(older_than: float | None, as_json: bool) -> None:
    """Puts unfinished attachments that the belt no longer holds back on it. Workers do so by themselves too."""
    services_for_command()
    swept = sweep_once(older_than_s=older_than)
    if as_json:
        print_json({"swept": swept})
    else:
        click.echo(f"{swept} put back on the belt")
