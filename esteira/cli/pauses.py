"""`esteira pause`, `esteira resume`, `esteira pauses`: hold a stage or a session, and continue it."""

from __future__ import annotations

import rich_click as click

from actors.operations import pause as operations
from actors.operations.audit import AuditEntry
from esteira.cli.audited import audited
from esteira.cli.output import age, examples, local_time, print_json, print_table
from esteira.cli.services import services_for_command
from esteira.cli.table_layout import Column
from pipeline.catalogue import Action, PauseKind
from pipeline.errors import PayloadError
from pipeline.models import Stage

COLUMNS = (
    Column("paused", rank=0),
    Column("name", rank=1, least=8),
    Column("since", rank=3),
    Column("for", rank=2),
    Column("by", rank=4),
    Column("reason", rank=5),
)
KIND = click.Choice(["stage", "session"])


@click.command(epilog=examples("esteira pause stage notify", "esteira pause session shop --reason 'new phone'"))
@click.argument("kind", type=KIND)
@click.argument("name")
@click.option("--reason", help="Why: shown by `esteira pauses` and the dashboard.")
@audited(Action.PAUSE)
def pause(entry: AuditEntry, kind: PauseKind, name: str, reason: str | None) -> None:
    """Pauses a stage or a session: its attachments wait in the queue, also across restarts, until it is resumed.

    Takes effect within a second. What workers are processing continues: with a paused stage until this stage is done,
    with a paused session through all stages.
    """
    _check_name(kind, name)
    services_for_command()
    entry.begin({kind: name})
    paused = operations.pause(kind, name, paused_by=entry.actor.who, reason=reason)
    entry.count = int(paused)
    entry.note(reason=reason)
    click.echo(f"{kind} {name} {'is paused' if paused else 'was already paused'}")


@click.command(epilog=examples("esteira resume stage notify", "esteira resume session shop", "esteira resume --all"))
@click.argument("kind", type=KIND, required=False)
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Resume everything that is paused.")
@audited(Action.RESUME)
def resume(entry: AuditEntry, kind: PauseKind | None, name: str | None, everything: bool) -> None:
    """Resumes a paused stage or session."""
    if everything == bool(kind and name) or bool(kind) != bool(name):
        raise click.UsageError("give `stage NAME`, `session NAME` or --all")
    if kind and name:
        _check_name(kind, name)
    services_for_command()
    selected = [(kind, name)] if kind and name else [(pause.kind, pause.name) for pause in operations.pauses()]
    entry.begin({"all": True} if everything else {str(kind): name})
    for paused_kind, paused_name in selected:
        resumed = operations.resume("stage" if paused_kind == "stage" else "session", paused_name)
        entry.advance(int(resumed))
        click.echo(f"{paused_kind} {paused_name} {'is resumed' if resumed else 'was not paused'}")


def _check_name(kind: str, name: str) -> None:
    if not name.strip():
        raise click.UsageError(f"the name of the {kind} is empty")
    if kind == "stage" and name not in set(Stage):
        raise PayloadError("", f"there is no stage {name!r}: give one of {', '.join(Stage)}")


@click.command(epilog=examples("esteira pauses", "esteira pauses --json"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array; `since` is Unix milliseconds.")
def pauses(as_json: bool) -> None:
    """Lists paused stages and sessions: since when, by whom, and why."""
    services_for_command()
    paused = operations.pauses()
    if as_json:
        print_json([pause._asdict() for pause in paused])
        return
    rows = [
        (pause.kind, pause.name, local_time(pause.since), age(pause.since), pause.paused_by or "", pause.reason or "")
        for pause in paused
    ]
    print_table(COLUMNS, rows, empty="Nothing is paused.")
