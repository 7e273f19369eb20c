"""`esteira migrate`: creates or updates the database tables; the release line of the Procfile."""

from __future__ import annotations

import rich_click as click

from esteira.cli.audited import cli_actor
from esteira.cli.environment import make_folder, settings_for_command
from esteira.cli.output import examples
from pipeline.catalogue import Catalogue
from pipeline.config.settings import Settings


def migrate_catalogue(settings: Settings) -> tuple[str | None, str]:
    """Brings the database tables to this version. Returns the revision before, None for a new database, and after."""
    make_folder(settings.var_dir)
    catalogue = Catalogue(settings.database)
    try:
        return catalogue.migrate(actor=cli_actor())
    finally:
        catalogue.close()


@click.command(
    epilog=examples(
        "esteira migrate",
        "DATABASE_URL=postgresql://user:password@db.internal/esteira esteira migrate",
    )
)
def migrate() -> None:
    """Creates or updates the database tables. Safe to repeat; `esteira start` does the same first."""
    before, after = migrate_catalogue(settings_for_command())
    if before is None:
        click.echo(f"The catalogue is created (revision {after}).")
    elif before != after:
        click.echo(f"The catalogue is updated from revision {before} to {after}.")
    else:
        click.echo(f"The catalogue is up to date (revision {after}).")
