"""Migrates a catalogue to the newest revision. Several processes may do so at the same time."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from pipeline.catalogue.audit import INSERT, Audit
from pipeline.catalogue.audit_models import Action, Actor, AuditOutcome
from pipeline.catalogue.database import CatalogueError, Database
from pipeline.errors import Code, RetryableError

LOCK = 0x65737465697261  # "esteira": the advisory lock that serializes migrations of a PostgreSQL database


def upgrade(database: Database, audit: Audit, actor: Actor | None) -> tuple[str | None, str | None]:
    """Applies all missing revisions in one transaction, with an entry of `actor` in the audit log if there are any.

    Returns the revision before, None for a new database, and the one after.

    Raises:
        CatalogueError: the catalogue was made by a newer version.
        RetryableError: `catalogue`, if the database cannot be reached or stays locked.
    """
    try:
        with database.engine.begin() as connection:
            _lock(connection)
            config = Config()
            config.set_main_option("script_location", "pipeline.catalogue:migrations")
            config.attributes["connection"] = connection
            before = _revision(connection)
            command.upgrade(config, "head")
            after = _revision(connection)
            if actor and after != before:
                target = {"from": before or "none", "to": after}
                row = audit.row(actor, Action.MIGRATE, target, outcome=AuditOutcome.DONE)
                connection.execute(INSERT, row)
            return before, after
    except CommandError:
        raise CatalogueError(
            f"the catalogue {database.where} was made by a newer version: install that one, or restore a backup"
        ) from None
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise RetryableError(Code.CATALOGUE, f"the catalogue {database.where} cannot be migrated: {reason}") from None


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _lock(connection: Connection) -> None:
    """Begins the transaction. A second process waits for the first and then has nothing left to do."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # the migration of another process may take long
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
