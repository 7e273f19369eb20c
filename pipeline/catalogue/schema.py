"""Checks that the tables have the revision that this version needs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, column, select, table

from pipeline.catalogue.database import REMEDY, CatalogueError, Database

HEAD = "0012"  # the newest revision in migrations/versions; repeated here so that a start need not import Alembic
VERSION: Select[Any] = select(column("version_num")).select_from(table("alembic_version"))


def check(database: Database, *, newer_allowed: bool = False) -> None:
    """Raises CatalogueError, with the remedy, if the tables are missing, or older or newer than this version.

    With `newer_allowed` those of a newer version pass: migrations only add what this version can leave out.
    """
    row = database.read(lambda session: session.row(VERSION))
    revision = row[0] if row else "none"
    if revision != HEAD and not (newer_allowed and revision.isdecimal() and revision > HEAD):
        raise CatalogueError(f"the catalogue {database.where} is at revision {revision}, not {HEAD}: {REMEDY}")
