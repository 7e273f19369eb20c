"""The revisions of the catalogue's tables, which Alembic runs from the installed package."""
