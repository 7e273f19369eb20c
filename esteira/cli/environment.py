"""What a command needs before it can work: settings, telemetry on stderr, the services of this process."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from click import get_current_context

from actors.observability.logging import configure_observability
from pipeline.catalogue import Catalogue, CatalogueError
from pipeline.catalogue.health import DatabaseHealth
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import SettingsError
from pipeline.security.private_dirs import make_private_dir
from pipeline.services import Services, services


def settings_for_command() -> Settings:
    """The settings, with telemetry configured. A command logs warnings only, unless LOG_LEVEL asks for more."""
    settings = current_settings()
    loud = "log_level" in settings.model_fields_set
    configure_observability(settings if loud else settings.model_copy(update={"log_level": "warning"}))
    return settings


def services_for_command() -> Services:
    """The services of this process, closed when the command ends.

    Raises:
        CatalogueError: there is none, or it was never migrated.
        RetryableError: `catalogue`, if the database does not answer.
    """
    _look_for_catalogue(settings_for_command())
    opened = services()
    get_current_context().call_on_close(opened.close)
    opened.catalogue.check_schema()
    return opened


def _look_for_catalogue(settings: Settings) -> None:
    # Whoever calls a command in another folder by mistake is told so, and finds no empty catalogue there afterwards.
    with closing(DatabaseHealth(settings.database)) as health:
        if health.missing:
            remedy = "`esteira start` makes one; if it stands elsewhere, call this in its folder, or set VAR_DIR"
            raise CatalogueError(f"there is no catalogue at {health.where}: {remedy}")


def catalogue_for_command() -> Catalogue:
    """The catalogue, ready to be read."""
    return services_for_command().catalogue


def make_folder(folder: Path) -> None:
    """Makes the folder of a command's files, for this user alone, if it is not there.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        make_private_dir(folder)
    except OSError as error:
        raise SettingsError(f"VAR_DIR: cannot make the folder {folder}: {error.strerror}") from None
