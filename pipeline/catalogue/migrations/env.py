"""Alembic's entry: upgrade.py hands it a connection that is in its transaction already."""

from __future__ import annotations

from alembic import context

from pipeline.catalogue.indexes import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, though Alembic does not rely on it by itself
)
with context.begin_transaction():
    context.run_migrations()
