"""Brings a catalogue to the newest revision, safely also when several processes try it at once."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from pipeline.catalogue.database import CatalogueError, Database
from pipeline.errors import Code, RetryableError

LOCK = 0x65737465697261  # "esteira": the advisory lock of whoever migrates a PostgreSQL database


def upgrade(database: Database) -> None:
    """Runs every revision that is still missing, all of them or none.

    Raises:
        CatalogueError: the catalogue was made by a newer version.
        RetryableError: `catalogue`, if the database cannot be reached or stays locked.
    """
    try:
        with database.engine.begin() as connection:
            _take_turn(connection)
            config = Config()
            config.set_main_option("script_location", "pipeline.catalogue:migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError:
        raise CatalogueError(
            f"the catalogue {database.where} was made by a newer version: install that one, or restore a backup"
        ) from None
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise RetryableError(Code.CATALOGUE, f"the catalogue {database.where} cannot be migrated: {reason}") from None


def _take_turn(connection: Connection) -> None:
    """Begins the one transaction of all revisions. Who comes second waits and finds nothing left to do."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # another's migration may take long
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
