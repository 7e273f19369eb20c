"""Whether the tables are those that this version needs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, column, select, table

from pipeline.catalogue.database import REMEDY, CatalogueError, Database

HEAD = "0005"  # the newest revision in pipeline/migrations; kept here so that starting needs no Alembic
VERSION: Select[Any] = select(column("version_num")).select_from(table("alembic_version"))


def check(database: Database) -> None:
    """Raises CatalogueError, with the remedy, if the tables are older or newer than this version, or missing."""
    row = database.read(lambda session: session.row(VERSION))
    if row is None or row[0] != HEAD:
        found = row[0] if row else "none"
        raise CatalogueError(f"the catalogue {database.where} is at revision {found}, not {HEAD}: {REMEDY}")
