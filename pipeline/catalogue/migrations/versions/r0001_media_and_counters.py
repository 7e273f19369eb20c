"""The tables `media` and `counters`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "media",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("chat", sa.Text()),
        sa.Column("sender", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("kind", sa.Text()),
        sa.Column("mime", sa.Text()),
        sa.Column("ext", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("storage_key", sa.Text()),
        sa.Column("declared_kind", sa.Text()),
        sa.Column("declared_mime", sa.Text()),
        sa.Column("filename", sa.Text()),
        sa.Column("caption", sa.Text()),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("pages", sa.Integer()),
        sa.Column("animated", sa.Boolean()),
        sa.Column("flags", sa.Text()),
        sa.Column("mismatch", sa.Text()),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("announced_at", sa.BigInteger()),
        sa.Column("claim", sa.Text()),
        sa.Column("claimed_until", sa.BigInteger()),
        sa.Column("intake", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("progress", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_media"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "shard", name="pk_counters"),
    )
    for column in ("status", "session", "stage", "kind"):
        op.create_index(f"ix_media_{column}", "media", [column, "received_at"])
    op.create_index("ix_media_received", "media", ["received_at"])
    _partial("error", ["error_code", "received_at"], "error_code IS NOT NULL")
    _partial("unfinished", ["received_at"], "finished_at IS NULL")
    _partial("finished", ["finished_at", "status", "run", "received_at"], "finished_at IS NOT NULL")


def downgrade() -> None:
    op.drop_table("counters")
    op.drop_table("media")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(f"ix_media_{name}", "media", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
