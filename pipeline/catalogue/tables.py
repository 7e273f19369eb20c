"""The tables of the catalogue. Times are Unix milliseconds. The indexes are in indexes.py."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text, false

from pipeline.models import Record

TOTALS = (
    "received",
    "stored",
    "done",
    "rejected",
    "failed",
    "expired",
    "retried",
    "duplicates",
    "fallbacks",
    "ignored",
    "deduplicated",
)
IGNORED_BY_RULE = "ignored_rule_"  # and the number of a rule: the name of its counter
SHARDS = 16  # rows of each counter, because PostgreSQL locks a row for one transaction at a time

metadata = MetaData()

media = Table(
    "media",
    metadata,
    Column("id", Text, primary_key=True),
    Column("gateway", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("part", Integer, nullable=False),
    Column("chat", Text),
    Column("sender", Text),
    Column("chat_number", Text),
    Column("sender_number", Text),
    Column("status", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("error_code", Text),
    Column("error", Text),
    Column("kind", Text),  # the declared kind until the content is known
    Column("mime", Text),
    Column("ext", Text),
    Column("size", BigInteger),  # the declared size until the content is known
    Column("sha256", Text),
    Column("name", Text),
    Column("storage_key", Text),
    Column("declared_kind", Text),
    Column("declared_mime", Text),
    Column("filename", Text),
    Column("caption", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("duration_ms", BigInteger),
    Column("pages", Integer),
    Column("animated", Boolean),
    Column("flags", Text),  # separated by commas
    Column("mismatch", Text),
    Column("expires_at", BigInteger),
    Column("received_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("announced_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("claim", Text),
    Column("claimed_until", BigInteger),  # end of the live claim; without a claim, when it was released
    Column("intake", Boolean, nullable=False),
    Column("from_history", Boolean, nullable=False, server_default=false()),  # goes last in the queue
    Column("payload", Text, nullable=False),  # the attachment as JSON, perhaps encrypted; `{}` once it is done
    Column("progress", Text),  # JSON: the input of the stage that failed
    Column("history", Text),  # one line of JSON for each attempt at a stage, oldest first
    Column("cancelled_at", BigInteger),
    Column("declared_sha256", Text),  # only if its bytes have to be fetched and their hash is declared
    Column("source_mark", Text),  # see pipeline.models.source_fingerprint; NULL if its content came from another source
)

# One event for one endpoint. `body` is kept until it is delivered.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),  # from the event id and the endpoint's name
    Column("event_id", Text, nullable=False),
    Column("media_id", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("status", Text, nullable=False),  # see DeliveryStatus
    Column("attempts", Integer, nullable=False),
    Column("error", Text),  # of the newest attempt
    Column("body", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # start of its attempts: created_at, or when it was redelivered
    Column("tried_at", BigInteger),  # end of its newest attempt
    Column("next_at", BigInteger),  # if pending: when it is due, or when its claim expires
    Column("ended_at", BigInteger),
    Column("claim", Text),
)

# The circuit of an endpoint, for all processes. An endpoint that has never failed has no row.
endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),  # in a row
    Column("failing_since", BigInteger),
    Column("probe_at", BigInteger),  # when the next attempt is due, or when the claim on it expires
    Column("error", Text),
)

pauses = Table(
    "pauses",
    metadata,
    Column("kind", Text, primary_key=True),  # stage or session
    Column("name", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("paused_by", Text),  # the name of the user; null if it was paused by an older version
    Column("reason", Text),
)

# One preview for each content, shared by all attachments with that content.
previews = Table(
    "previews",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("state", Text, nullable=False),  # see PreviewState
    Column("thumbhash", Text),  # base64
    Column("width", Integer),
    Column("height", Integer),
    Column("peaks", Text),  # of a sound: numbers from 0 to 100, separated by commas
    Column("made_at", BigInteger, nullable=False),
)

# Who changed what. A row is written before its action, and completed once.
audit = Table(
    "audit",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("role", Text),
    Column("token_id", Text),
    Column("via", Text, nullable=False),  # see Via
    Column("source", Text, nullable=False),
    Column("action", Text, nullable=False),  # see Action
    Column("target", Text, nullable=False),  # JSON of limited length
    Column("count", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),  # see AuditOutcome
    Column("detail", Text, nullable=False),  # JSON of limited length
    Column("ended_at", BigInteger),
)

# Tokens of users. The secret is stored as its SHA-256 only.
user_tokens = Table(
    "user_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("scope", Text, nullable=False),  # JSON: a list of patterns, see pipeline.security.scopes
    Column("secret_hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("used_at", BigInteger),
)

# What was ended before it expired: logins, session tokens. Removed after `until`.
ended_access = Table(
    "ended_access",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

RECORD: tuple[Column[Any], ...] = tuple(media.c[name] for name in Record.model_fields)
