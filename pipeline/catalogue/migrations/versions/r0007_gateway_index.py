"""The index of the sessions of each gateway, which separates sessions with the same name."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # It may have been built before, without blocking writes: see docs/operations.md.
    op.create_index("ix_media_gateway", "media", ["gateway", "session", "received_at"], if_not_exists=True)


def downgrade() -> None:
    op.drop_index("ix_media_gateway", "media")
