"""What a command needs before it can work: settings, telemetry on stderr, the services of this process."""

from __future__ import annotations

from pathlib import Path

from click import get_current_context

from actors import telemetry
from pipeline.catalogue import Catalogue
from pipeline.errors import SettingsError
from pipeline.folders import make_private
from pipeline.services import Services, services
from pipeline.settings import Settings, current_settings


def settings_for_command() -> Settings:
    """The settings, with telemetry configured. A command logs warnings only, unless LOG_LEVEL asks for more."""
    settings = current_settings()
    loud = "log_level" in settings.model_fields_set
    telemetry.configure(settings if loud else settings.model_copy(update={"log_level": "warning"}))
    return settings


def services_for_command() -> Services:
    """The services of this process, closed when the command ends.

    Raises:
        RetryableError: `catalogue`, if the database does not answer or was never migrated.
    """
    settings_for_command()
    opened = services()
    get_current_context().call_on_close(opened.close)
    opened.catalogue.check_schema()
    return opened


def catalogue_for_command() -> Catalogue:
    """The catalogue, ready to be read."""
    return services_for_command().catalogue


def make_folder(folder: Path) -> None:
    """Makes the folder of a command's files, for this user alone, if it is not there.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        make_private(folder)
    except OSError as error:
        raise SettingsError(f"VAR_DIR: cannot make the folder {folder}: {error.strerror}") from None
