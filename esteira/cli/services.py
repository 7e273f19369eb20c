"""Prepares a command that works with the services of this process: storage, queue, downloads."""

from __future__ import annotations

from click import get_current_context

from esteira.cli.environment import require_database, settings_for_command
from pipeline.catalogue import Catalogue
from pipeline.services import Services, services


def services_for_command() -> Services:
    """The services of this process, closed when the command ends.

    Raises:
        CatalogueError: the database does not exist or was never migrated.
        RetryableError: `catalogue`, if the database does not answer.
    """
    require_database(settings_for_command())
    opened = services()
    get_current_context().call_on_close(opened.close)
    opened.catalogue.check_schema()
    return opened


def shared_catalogue() -> Catalogue:
    """The catalogue of the services, for a command whose other parts use them too."""
    return services_for_command().catalogue
