"""The catalogue's tables. Times are Unix milliseconds; their indexes stand in indexes.py."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text

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
SHARDS = 16  # rows a counter is spread over: PostgreSQL lets one transaction at a time write a row

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
    Column("status", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("error_code", Text),
    Column("error", Text),
    Column("kind", Text),  # the declared one until the content is known
    Column("mime", Text),
    Column("ext", Text),
    Column("size", BigInteger),  # the declared one until the content is known
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
    Column("flags", Text),  # words with a comma between them
    Column("mismatch", Text),
    Column("expires_at", BigInteger),
    Column("received_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("announced_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("claim", Text),
    Column("claimed_until", BigInteger),  # of a live claim its end; of a released row when that was
    Column("intake", Boolean, nullable=False),
    Column("payload", Text, nullable=False),  # the attachment as JSON with its media key, which a replay needs
    Column("progress", Text),  # JSON: what the stage that failed was given
    Column("history", Text),  # a line of JSON for each attempt at a stage, the first one first
    Column("cancelled_at", BigInteger),
    Column("declared_sha256", Text),  # where its bytes have to be fetched, and what they are said to be is known
    Column("source_mark", Text),  # see pipeline.models.source_fingerprint; None also if its content came from elsewhere
)

# One event to one endpoint. What is to be sent stands in `body` until it has been.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),  # from the event's id and the endpoint's name
    Column("event_id", Text, nullable=False),
    Column("media_id", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("status", Text, nullable=False),  # pending, delivered, undelivered
    Column("attempts", Integer, nullable=False),
    Column("error", Text),  # of the newest attempt
    Column("body", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # when its attempts began: at first as created_at
    Column("tried_at", BigInteger),  # when its newest attempt ended
    Column("next_at", BigInteger),  # of a pending one when it is due, or when its claim runs out
    Column("ended_at", BigInteger),
    Column("claim", Text),
)

# How it went lately with a receiver, for all processes. One that has never failed has no row.
endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),  # in a row
    Column("failing_since", BigInteger),
    Column("probe_at", BigInteger),  # when the next attempt is made, or when the claim of who makes it runs out
    Column("error", Text),
)

pauses = Table(
    "pauses",
    metadata,
    Column("kind", Text, primary_key=True),  # stage or session
    Column("name", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
)

# What is made of a content for the eye, once for all attachments that carry it.
previews = Table(
    "previews",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("state", Text, nullable=False),  # made; none, if there is nothing to show; failed
    Column("thumbhash", Text),  # base64
    Column("width", Integer),
    Column("height", Integer),
    Column("peaks", Text),  # of a sound: numbers from 0 to 100 with a comma between them
    Column("made_at", BigInteger, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

RECORD: tuple[Column[Any], ...] = tuple(media.c[name] for name in Record.model_fields)
