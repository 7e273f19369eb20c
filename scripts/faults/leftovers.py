"""Reads the results of a run from outside the product: catalogue rows, objects in storage and leftover files."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPEN = ("received", "stored")


@dataclass(frozen=True)
class Row:
    """One attachment as recorded. `number`: number of the file. Times in Unix seconds, None if unfinished."""

    id: str
    number: int
    status: str
    stage: str
    code: str | None
    sha256: str | None
    object: Path | None
    event_id: str | None
    received_at: float
    finished_at: float | None
    announced: bool
    run: int = 0


@dataclass(frozen=True)
class StoredFiles:
    """All files of the product under test. `objects` with their SHA-256; `staged` and `intake` by attachment id."""

    objects: list[tuple[Path, str]] = field(default_factory=list)
    staged: dict[str, Path] = field(default_factory=dict)
    intake: dict[str, Path] = field(default_factory=dict)
    parts: list[Path] = field(default_factory=list)

    def leftovers(self, rows: list[Row], *, cleaned_up: bool = True) -> list[Path]:
        """Returns the files that must not remain: partial files, and bytes that no replay needs.

        Intake without a row, or that could not be removed when its attachment was done, may stay for an hour. Therefore
        it counts only if `cleaned_up`.
        """
        known = {row.id for row in rows}
        status = {row.id: row.status for row in rows if row.finished_at}
        staged = [path for media_id, path in self.staged.items() if status.get(media_id, "failed") != "failed"]
        intake = [path for media_id, path in self.intake.items() if status.get(media_id) == "done"]
        intake += [path for media_id, path in self.intake.items() if media_id not in known]
        return [*self.parts, *staged, *(intake if cleaned_up else [])]


Query = Callable[[str], list[tuple[Any, ...]]]  # runs a SELECT on a catalogue


def sqlite_query(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Returns the rows of a query on a file, which it does not change."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query).fetchall()


def esteira_rows(query: Query, media: Path) -> list[Row]:
    """Returns the rows of Esteira's catalogue. `media` is the folder of the content."""
    columns = "id, message_id, status, stage, error_code, sha256, storage_key, run, received_at, finished_at"
    rows = query(f"SELECT {columns}, announced_at FROM media")  # noqa: S608
    return [_row(values, media) for values in rows]


def esteira_backlog(database: Path) -> tuple[int, int, float]:
    """Returns the numbers of finished and unfinished attachments, and the age of the oldest unfinished in seconds."""
    query = "SELECT count(finished_at), count(*), min(CASE WHEN finished_at IS NULL THEN received_at END) FROM media"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        ended, known, oldest = connection.execute(query).fetchone()
    return ended, known - ended, time.time() - oldest / 1000 if oldest else 0.0


def esteira_deliveries(query: Query) -> Counter[str]:
    """Returns the number of webhook deliveries by status: pending, delivered, undelivered."""
    return Counter(dict(query("SELECT status, count(*) FROM deliveries GROUP BY status")))


def esteira_stored_files(var: Path) -> StoredFiles:
    """Returns the files of storage, with partial files and intake, and of the staging directory."""
    media = var / "media"
    intake = {path.name: path for path in _files(media / "intake")}
    parts = list(_files(media / ".parts"))
    known = {*intake.values(), *parts}
    staging = list(_files(var / "staging"))
    return StoredFiles(
        objects=[(path, _digest(path)) for path in _files(media) if path not in known and not is_preview(path)],
        staged={path.name: path for path in staging if path.suffix != ".part"},
        intake=intake,
        parts=[*parts, *(path for path in staging if path.suffix == ".part")],
    )


def stock_table(folder: Path) -> sqlite3.Connection:
    """Opens the result table of the control arm and creates it if it does not exist."""
    connection = sqlite3.connect(folder / "stock.db", isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode = wal")
    columns = "number INTEGER PRIMARY KEY, status TEXT, sha256 TEXT, received REAL, ended REAL"
    connection.execute(f"CREATE TABLE IF NOT EXISTS media ({columns})")
    return connection


def integrity(database: Path) -> str:
    """Returns the result of SQLite's integrity check: "ok", or the errors."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def _row(values: tuple[object, ...], media: Path) -> Row:
    media_id, number, status, stage, code, sha256, key, run, received, finished, announced = values
    return Row(
        id=str(media_id),
        number=int(str(number)),
        status=str(status),
        stage=str(stage),
        code=str(code) if code else None,
        sha256=str(sha256) if sha256 else None,
        object=media / str(key) if key else None,
        event_id=hashlib.sha256(f"{media_id}:{run}".encode()).hexdigest()[:32],
        received_at=int(str(received)) / 1000,
        finished_at=int(str(finished)) / 1000 if finished else None,
        announced=announced is not None,
        run=int(str(run)),
    )


def is_preview(path: Path) -> bool:
    """Whether this file is a preview and not an original."""
    return path.name.endswith(".thumb.webp")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
