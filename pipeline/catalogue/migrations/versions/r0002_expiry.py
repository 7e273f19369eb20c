"""`media.expires_at`: when the source of an attachment expires, in Unix milliseconds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("media", sa.Column("expires_at", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("media", "expires_at")
