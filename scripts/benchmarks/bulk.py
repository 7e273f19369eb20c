"""Millions of rows for a catalogue on SQLite, made by SQLite itself."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from pipeline.catalogue import Catalogue
from scripts.benchmarks.machine import Trouble
from scripts.benchmarks.trials import tell

AT_ONCE = 500_000
BYTES_A_ROW = 2000  # with its indexes, and what making them takes meanwhile
YEAR_MS = 365 * 86_400_000

# What has come in over a year: 96 of 100 are done, the others were refused at fetch. Ids, hashes and message ids are in
# no order, as real ones are: that is what makes a large catalogue's indexes dear.
ROWS = """
WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)
INSERT INTO media (id, gateway, session, message_id, part, chat, sender,
  status, stage, attempts, run, error_code, error,
  kind, mime, ext, size, sha256, name, storage_key, declared_kind, declared_mime, width, height, animated,
  received_at, ended_at, finished_at, announced_at, intake, payload, history)
SELECT lower(hex(randomblob(16))), 'wppconnect', 's' || (n % 50), 'false_5511' || (n % 9973) || '@c.us_' ||
  hex(randomblob(10)), 0, '5511' || (n % 9973) || '@c.us', '5511' || (n % 9973) || '@c.us',
  iif(n % 25, 'done', 'expired'), iif(n % 25, 'notify', 'fetch'), 0, 0,
  iif(n % 25, NULL, 'source_gone'), iif(n % 25, NULL, 'the source answers 410'),
  iif(n % 3, 'image', 'ptt'), iif(n % 3, 'image/jpeg', 'audio/ogg'), iif(n % 3, 'jpeg', 'ogg'), 20000 + n % 90000,
  iif(n % 25, lower(hex(randomblob(32))), NULL), iif(n % 25, '1700000000_abcdef.jpeg', NULL),
  iif(n % 25, 'ab/' || lower(hex(randomblob(32))), NULL), iif(n % 3, 'image', 'ptt'),
  iif(n % 3, 'image/jpeg', 'audio/ogg'), 1080, 810, 0,
  :began + n * :step, :began + n * :step + 900, :began + n * :step + 905, :began + n * :step + 905, 0,
  '{"session":"s","message_id":"m","url":"https://mmg.whatsapp.net/v/t62.7118-24/0123456789_n.enc?ccb=11-4&oh=01&oe=6"}',
  '{"stage":"fetch","at":1700000000000,"ms":12.5,"worker":"host:1234"}'
FROM numbers
"""


def fill(path: Path, count: int) -> None:
    """A new catalogue at `path` with so many attachments of the year that ends now. Half a minute a million.

    Raises:
        Trouble: the disk has no room for them.
    """
    _check_room(path.parent, count)
    catalogue = Catalogue(f"sqlite:///{path}")
    catalogue.migrate()
    catalogue.close()
    if not count:
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000", "temp_store = FILE"):
            connection.execute(f"PRAGMA {setting}")
        indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > ''").fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        _insert(connection, count)
        tell("their indexes")
        for _, sql in indexes:  # sorted at once: a tenth of the time that row by row takes
            connection.execute(sql)
        connection.execute("PRAGMA journal_mode = WAL")


def _insert(connection: sqlite3.Connection, count: int) -> None:
    now = int(time.time() * 1000)
    given = {"began": now - YEAR_MS, "step": YEAR_MS // count}
    for first in range(0, count, AT_ONCE):
        last = min(count, first + AT_ONCE)
        connection.execute("BEGIN")
        connection.execute(ROWS, {"first": first, "last": last - 1, **given})
        connection.execute("COMMIT")
        tell(f"{last:,} of {count:,} rows")


def _check_room(folder: Path, count: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < count * BYTES_A_ROW:
        raise Trouble(f"{folder} has {free / 1e9:.0f} GB free; {count:,} rows take {count * BYTES_A_ROW / 1e9:.0f} GB")
