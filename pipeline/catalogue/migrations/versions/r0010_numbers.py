"""`media.chat_number` and `media.sender_number`: the phone numbers behind addresses that may be LIDs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COLUMNS = ("chat_number", "sender_number")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("media", sa.Column(name, sa.Text()))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("media", name)
