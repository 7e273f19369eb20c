"""`esteira pause`, `esteira resume`, `esteira pauses`: what waits until somebody says so."""

from __future__ import annotations

import rich_click as click

from actors.operations.pause import pause as pause_one
from actors.operations.pause import pauses as all_pauses
from actors.operations.pause import resume as resume_one
from esteira.cli.environment import services_for_command
from esteira.cli.output import age, examples, moment, print_json, print_table
from pipeline.catalogue import PauseKind

KIND = click.Choice(["stage", "session"])


@click.command(epilog=examples("esteira pause stage notify", "esteira pause session shop"))
@click.argument("kind", type=KIND)
@click.argument("name")
def pause(kind: PauseKind, name: str) -> None:
    """Pauses a stage or a session: what waits keeps waiting, across restarts, until it is resumed.

    Workers heed it within a second. What they have begun goes on: of a stage this step, of a session all its steps.
    """
    services_for_command()
    paused = pause_one(kind, name)
    click.echo(f"{kind} {name} {'is paused' if paused else 'was paused already'}")


@click.command(epilog=examples("esteira resume stage notify", "esteira resume session shop", "esteira resume --all"))
@click.argument("kind", type=KIND, required=False)
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything that is paused.")
def resume(kind: PauseKind | None, name: str | None, everything: bool) -> None:
    """Lets a paused stage or session go on."""
    if everything == bool(kind and name) or bool(kind) != bool(name):
        raise click.UsageError("give `stage NAME`, `session NAME` or --all")
    services_for_command()
    chosen = [(kind, name)] if kind and name else [(pause.kind, pause.name) for pause in all_pauses()]
    for one, of_name in chosen:
        resumed = resume_one("stage" if one == "stage" else "session", of_name)
        click.echo(f"{one} {of_name} {'goes on' if resumed else 'was not paused'}")


@click.command(epilog=examples("esteira pauses", "esteira pauses --json"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array; `since` is Unix milliseconds.")
def pauses(as_json: bool) -> None:
    """Shows what is paused, and since when."""
    services_for_command()
    found = all_pauses()
    if as_json:
        print_json([pause._asdict() for pause in found])
        return
    rows = [(pause.kind, pause.name, moment(pause.since), age(pause.since)) for pause in found]
    print_table(("paused", "name", "since", "for"), rows, footer=None if rows else "nothing is paused")
