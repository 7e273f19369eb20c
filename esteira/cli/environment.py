"""Prepares a command: settings, logging on stderr, and the catalogue. `esteira.cli.services` has the other services."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from click import get_current_context

from actors.observability.logging import configure_observability
from pipeline.catalogue import Catalogue, CatalogueError
from pipeline.catalogue.health import DatabaseHealth
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import SettingsError
from pipeline.security.folder_faults import write_fault
from pipeline.security.private_dirs import make_private_dir


def settings_for_command() -> Settings:
    """The settings, with logging configured. A command logs only warnings unless LOG_LEVEL is set."""
    settings = current_settings()
    level_is_set = "log_level" in settings.model_fields_set
    configure_observability(settings if level_is_set else settings.model_copy(update={"log_level": "warning"}))
    return settings


def catalogue_for_command() -> Catalogue:
    """The catalogue alone, closed when the command ends: commands that only read need no other service.

    Raises:
        CatalogueError: the database does not exist or was never migrated.
        RetryableError: `catalogue`, if the database does not answer.
    """
    settings = settings_for_command()
    require_database(settings)
    catalogue = Catalogue(settings.database, keys=settings.source_keys)
    get_current_context().call_on_close(catalogue.close)
    catalogue.check_schema()
    return catalogue


def require_database(settings: Settings) -> None:
    """Raises CatalogueError if the database is a file that does not exist."""
    # Opening SQLite creates the file: a command called in the wrong folder would leave an empty database there.
    with closing(DatabaseHealth(settings.database)) as health:
        if health.missing:
            remedy = "`esteira start` creates one; if it is stored elsewhere, run this in its folder, or set VAR_DIR"
            raise CatalogueError(f"there is no database at {health.where}: {remedy}")


def make_folder(folder: Path) -> None:
    """Creates the folder, with mode 0700, if it does not exist.

    Raises:
        SettingsError: it cannot be created.
    """
    try:
        make_private_dir(folder)
    except OSError as error:
        raise SettingsError(f"VAR_DIR: {write_fault(folder, error)}") from None
