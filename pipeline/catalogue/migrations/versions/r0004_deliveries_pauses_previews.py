"""Webhook deliveries and their endpoints, pauses, previews; the history of an attachment and when it was cancelled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("media", sa.Column("history", sa.Text()))
    op.add_column("media", sa.Column("cancelled_at", sa.BigInteger()))
    op.create_index("ix_media_message", "media", ["message_id"])
    _partial("ix_media_chat", ["chat", "received_at"], where="chat IS NOT NULL")
    failures = ["error_code", "stage", "session", "status", "received_at"]
    _partial("ix_media_failures", failures, where="error_code IS NOT NULL")
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("media_id", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("body", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("tried_at", sa.BigInteger()),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("claim", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_media", "deliveries", ["media_id"])
    op.create_index("ix_deliveries_status", "deliveries", ["status", "created_at", "endpoint"])
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["endpoint", "next_at", "since"],
        sqlite_where=sa.text("next_at IS NOT NULL"),
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_table(
        "endpoints",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("probe_at", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_endpoints"),
    )
    op.create_table(
        "pauses",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_pauses"),
    )
    op.create_table(
        "previews",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("thumbhash", sa.Text()),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("peaks", sa.Text()),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_previews"),
    )


def _partial(name: str, columns: list[str], *, where: str) -> None:
    op.create_index(name, "media", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for name in ("ix_media_failures", "ix_media_chat", "ix_media_message"):
        op.drop_index(name, "media")
    op.drop_table("previews")
    op.drop_table("pauses")
    op.drop_table("endpoints")
    op.drop_table("deliveries")
    op.drop_column("media", "cancelled_at")
    op.drop_column("media", "history")
