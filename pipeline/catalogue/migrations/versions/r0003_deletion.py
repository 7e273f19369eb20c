"""`media.deleted_at`, in Unix milliseconds, and indexes that find other attachments with the same content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("media", sa.Column("deleted_at", sa.BigInteger()))
    _partial("content", ["sha256"], "sha256 IS NOT NULL")
    _partial("deleted", ["sha256", "deleted_at"], "deleted_at IS NOT NULL")


def downgrade() -> None:
    op.drop_index("ix_media_deleted", "media")
    op.drop_index("ix_media_content", "media")
    op.drop_column("media", "deleted_at")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(f"ix_media_{name}", "media", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
