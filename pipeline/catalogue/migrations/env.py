"""The environment of Alembic. upgrade.py passes a connection that is in a transaction already."""

from __future__ import annotations

from alembic import context

from pipeline.catalogue.indexes import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite supports it, but Alembic does not assume so
)
with context.begin_transaction():
    context.run_migrations()
