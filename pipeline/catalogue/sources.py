"""The sources of attachments at rest: re-encrypts them with the newest key, and removes those of done attachments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Select, UnaryExpression, bindparam, case, func, literal_column, null, select, text, union, update

from pipeline.catalogue.database import Database
from pipeline.catalogue.session import Session
from pipeline.catalogue.statements import BY_ID, IS_UNFINISHED, NO_SOURCE
from pipeline.catalogue.tables import media
from pipeline.models import REPLAYABLE, Status
from pipeline.security.encryption import EncryptionKeyError, SourceCipher, key_id

PAGE = 500  # rows of one transaction
CHECKPOINT_WAIT_S = 0.2  # a checkpoint keeps writers waiting while it waits for readers

_p = bindparam
_has_source = media.c.payload != NO_SOURCE
_key = case((media.c.payload.like("enc1:%"), func.substr(media.c.payload, 6, 8)), else_=null())
MAX_CHECKED = 1000
_waiting = select(_key.label("key")).where(IS_UNFINISHED).limit(literal_column(str(MAX_CHECKED))).subquery()
KEYS_OF_WAITING = select(_waiting.c.key, func.count()).group_by(_waiting.c.key)


def keys_of_ended(limit: int) -> Select[Any]:
    """Selects status, key and count of attachments that can be replayed: of each status so many oldest and newest."""
    orders = (media.c.received_at.asc(), media.c.received_at.desc())
    rows = union(*(_ended(status, order, limit) for status in REPLAYABLE for order in orders)).subquery()
    return select(rows.c.status, rows.c.key, func.count()).group_by(rows.c.status, rows.c.key)


def _ended(status: Status, order: UnaryExpression[Any], limit: int) -> Select[Any]:
    is_status = media.c.status == literal_column(f"'{status.value}'")
    rows = select(media.c.id, media.c.status, _key.label("key")).where(is_status)
    return select(rows.order_by(order).limit(literal_column(str(limit))).subquery())


KEYS_OF_ENDED = keys_of_ended(MAX_CHECKED)
KEY_COUNTS = select(_key, func.count()).where(_has_source).group_by(_key)
NEXT = (
    select(media.c.id, media.c.payload)
    .where(media.c.id > _p("after"), _has_source)
    .order_by(media.c.id)
    .limit(_p("limit"))
)
# Only if no other process has written the source meanwhile.
REPLACE = update(media).where(BY_ID, media.c.payload == _p("before")).values(payload=_p("after"))
_left = select(media.c.id).where(media.c.status == literal_column("'done'"), _has_source).limit(_p("limit"))
REMOVE = update(media).where(media.c.id.in_(_left.scalar_subquery())).values(payload=NO_SOURCE)
CHECKPOINT = text("PRAGMA wal_checkpoint(TRUNCATE)")


class MissingKeys(NamedTuple):
    """How many rows each key encrypts that is not set, by key id, and whether all rows were read."""

    rows: Mapping[str, int]
    is_complete: bool


class RotatedPage(NamedTuple):
    """A part of a rotation: the last id, how many rows were read and rewritten, and the unreadable ones by key id."""

    last_id: str
    read: int
    rewritten: int
    unreadable: Mapping[str, int]


class Sources:
    """The column `payload` of the table `media`. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, cipher: SourceCipher) -> None:
        self._database = database
        self._cipher = cipher

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys that are set; the first one encrypts."""
        return self._cipher.key_ids

    def count_by_key(self) -> dict[str | None, int]:
        """How many rows have a source that each key encrypts, by key id; None for those in plain text.

        Reads the whole table.
        """
        return {name: int(n) for name, n in self._database.read(lambda session: session.rows(KEY_COUNTS))}

    def missing_keys(self) -> dict[str, int]:
        """How many unfinished attachments each key encrypts that is not set, by key id, among a thousand of them."""
        counts = self._database.read(lambda session: session.rows(KEYS_OF_WAITING))
        return {name: int(n) for name, n in counts if name is not None and name not in self.key_ids}

    def missing_keys_of_ended(self) -> MissingKeys:
        """The keys that failed, rejected and expired attachments need for a replay.

        Reads the thousand oldest and newest ones of each status, so at most 6000 rows, whatever the size of the table.
        """
        counts = self._database.read(lambda session: session.rows(KEYS_OF_ENDED))
        read: Counter[str] = Counter()
        missing: Counter[str] = Counter()
        for status, name, n in counts:
            read[status] += int(n)
            if name is not None and name not in self.key_ids:
                missing[name] += int(n)
        return MissingKeys(missing, all(n < 2 * MAX_CHECKED for n in read.values()))

    def rotate_page(self, *, after: str, limit: int = PAGE) -> RotatedPage | None:
        """Encrypts the next sources after this id with the first key, in one transaction. None at the end.

        Rows that are encrypted with it already, or whose key is missing, stay as they are. Workers may run meanwhile.
        """
        found = self._database.read(lambda session: session.rows(NEXT, after=after, limit=limit))
        if not found:
            return None
        changes: list[dict[str, Any]] = []
        unreadable: Counter[str] = Counter()
        for media_id, stored in found:
            try:
                if not self._cipher.is_current(stored):
                    changed = self._cipher.encrypt(self._cipher.decrypt(stored))
                    changes.append({"media_id": media_id, "before": stored, "after": changed})
            except EncryptionKeyError:
                unreadable[key_id(stored) or ""] += 1

        def work(session: Session) -> int:
            return sum(session.execute(REPLACE, **change) for change in changes)

        return RotatedPage(found[-1][0], len(found), self._database.write(work) if changes else 0, unreadable)

    def remove_from_done(self, *, limit: int = PAGE) -> int:
        """Removes the sources of up to so many done attachments. Returns how many.

        `finish` removes them as well, so these are rows of older versions. They are found by an index.
        """
        return self._database.write(lambda session: session.execute(REMOVE, limit=limit))

    def purge_log(self) -> None:
        """Empties the write-ahead log of SQLite, which has older versions of the rows. Skipped if it is in use."""
        if self._database.dialect == "sqlite":
            self._database.read(lambda session: session.rows(CHECKPOINT), wait_s=CHECKPOINT_WAIT_S)
