"""The catalogue's revisions, run by Alembic out of the installed package."""
