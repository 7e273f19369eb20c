"""The declared hash and the source mark, which find other attachments with the same content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("media", sa.Column("declared_sha256", sa.Text()))
    op.add_column("media", sa.Column("source_mark", sa.Text()))
    _partial("declared", ["declared_sha256"], "declared_sha256 IS NOT NULL AND status = 'received'")
    op.drop_index("ix_media_content", "media")
    _partial("content", ["sha256", "session"], "sha256 IS NOT NULL")


def downgrade() -> None:
    op.drop_index("ix_media_content", "media")
    _partial("content", ["sha256"], "sha256 IS NOT NULL")
    op.drop_index("ix_media_declared", "media")
    op.drop_column("media", "source_mark")
    op.drop_column("media", "declared_sha256")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(f"ix_media_{name}", "media", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
