"""`pauses.paused_by` and `pauses.reason`: who has paused a stage or a session, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

COLUMNS = ("paused_by", "reason")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("pauses", sa.Column(name, sa.Text()))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("pauses", name)
