"""The index of done attachments that still have their source, which a maintenance task empties."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

WHERE = "status = 'done' AND payload <> '{}'"


def upgrade() -> None:
    where = sa.text(WHERE)
    # It may have been built before, without blocking writes: see docs/operations.md.
    op.create_index(
        "ix_media_source", "media", ["status"], sqlite_where=where, postgresql_where=where, if_not_exists=True
    )


def downgrade() -> None:
    op.drop_index("ix_media_source", "media")
