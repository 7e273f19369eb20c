"""`esteira migrate`: the release line of the Procfile."""

from __future__ import annotations

import rich_click as click

from esteira.cli.environment import make_folder, settings_for_command
from esteira.cli.output import examples
from pipeline.catalogue import Catalogue
from pipeline.config.settings import Settings


def migrate_catalogue(settings: Settings) -> None:
    """Brings the catalogue's tables to this version; one that is there already stays as it is."""
    make_folder(settings.var_dir)
    catalogue = Catalogue(settings.database)
    try:
        catalogue.migrate()
    finally:
        catalogue.close()


@click.command(
    epilog=examples(
        "esteira migrate",
    )
)
def migrate() -> None:
    """Creates or updates the catalogue's tables. Safe to repeat; `esteira start` does it by itself."""
    migrate_catalogue(settings_for_command())
