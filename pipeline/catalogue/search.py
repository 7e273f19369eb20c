"""Looking for an attachment by whatever somebody has of it at hand."""

from __future__ import annotations

import functools
import heapq
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Executable, Select, bindparam, literal_column, select, tuple_

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.filters import Filters
from pipeline.catalogue.tables import RECORD, media
from pipeline.models import Record
from pipeline.values.gateway_values import clean_text

WITHIN = 10_000  # the newest that fit the filters, among which words are looked for
PAGE = 1000
LONGEST = 200  # characters of what is looked for
LOOKED_AT = 1000  # characters of each text that is looked into
SERVERS = ("c.us", "s.whatsapp.net", "g.us", "lid")  # behind the number in the name of a WhatsApp chat

Position = tuple[int, str]  # (received_at, id)
Row = Sequence[Any]

_p = bindparam
_PLACE = [RECORD.index(media.c[name]) for name in ("received_at", "id")]
_WORDY = ("message_id", "chat", "sender", "filename", "name", "caption")
_order = (media.c.received_at.desc(), media.c.id.desc())
_HEX = re.compile(r"[0-9a-f]{6,64}")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_WAYS = {
    "id": (media.c.id >= _p("value")) & (media.c.id < _p("end")),
    "sha256": (media.c.sha256 >= _p("value")) & (media.c.sha256 < _p("end")),
    "message_id": media.c.message_id == _p("value"),
    "chat": media.c.chat == _p("value"),
}


class SearchResult(NamedTuple):
    """A page of what was found, the newest first. `partly` tells that words were not looked for in all."""

    records: list[Record]
    more: bool
    partial: bool


class Search:
    """Finds attachments. Its methods raise what those of Catalogue do.

    By an index, however old: the beginning (6 digits or more) of an id or of a content's SHA-256, a whole message id, a
    chat. Everything else is words, all of which must stand in a message id, a chat, a sender, a name or a caption,
    whatever their case and accents: they are looked for among the newest 10,000 that fit the filters.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, text: str, filters: Filters, *, limit: int = 50, after: Position | None = None) -> SearchResult:
        """What fits the text and every filter, behind the position `after`."""
        wanted = str(clean_text(text)).strip()[:LONGEST]
        given = {**filters.given(), "since": filters.since or 0}
        by = frozenset(filters.given())
        floor = self._floor(by, given)
        more = {**given, "limit": limit + 1}
        exact = [self._exactly(way, {**value, **more}, by=by, after=after) for way, value in _ways(wanted)]
        words = [] if re.fullmatch(r"[0-9a-fA-F]{32,}", wanted) else plain(wanted).split()
        worded = self._worded(words, self._newest(by, given, after), floor) if words else iter(())
        found = list(islice(_once(heapq.merge(*exact, worded, key=_place, reverse=True)), limit + 1))
        return SearchResult([rows.record(row) for row in found[:limit]], len(found) > limit, floor is not None)

    def _exactly(self, way: str, given: dict[str, Any], *, by: frozenset[str], after: Position | None) -> list[Row]:
        return self._rows(finding(way, by, paged=after is not None), {**given, **_behind(after), "within": WITHIN})

    def _worded(self, words: Sequence[str], newest: Iterable[Row], floor: Position | None) -> Iterator[Row]:
        for received_at, media_id, *texts in newest:
            if floor is not None and (received_at, media_id) < floor:
                return
            text = plain("\n".join([text[:LOOKED_AT] for text in texts if text]))
            if all(word in text for word in words):
                yield from self._rows(statements.GET, {"media_id": media_id})

    def _newest(self, by: frozenset[str], given: dict[str, Any], after: Position | None) -> Iterator[Row]:
        """Place and texts of all that fit the filters, read as far as they are asked for."""
        while True:
            statement = texts(by, paged=after is not None)
            page = self._rows(statement, {**given, **_behind(after), "limit": PAGE})
            yield from page
            if len(page) < PAGE:
                return
            after = (page[-1][0], page[-1][1])

    def _floor(self, by: frozenset[str], given: dict[str, Any]) -> Position | None:
        """The last one that is looked into for words; None if that is all of them."""
        found = self._rows(flooring(by), {**given, "within": WITHIN - 1})
        return (found[0][0], found[0][1]) if found else None

    def _rows(self, statement: Executable, given: dict[str, Any]) -> list[Row]:
        return self._database.read(lambda session: session.rows(statement, **given))


def plain(text: str) -> str:
    """The text without case and accents: `reunião` as `REUNIAO`."""
    folded = text.casefold()
    return folded if folded.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", folded))


@functools.cache
def finding(way: str, by: frozenset[str], *, paged: bool) -> Select[Any]:
    """The newest that are found one of the exact ways, narrowed by the filters of these names afterwards.

    Narrowed within, SQLite might prefer a filter's index, and look at a whole session for one message.
    """
    behind = [tuple_(media.c.received_at, media.c.id) < tuple_(_p("after_at"), _p("after_id"))] if paged else []
    found = select(*RECORD).where(_WAYS[way], *behind).order_by(*_order).limit(_p("within")).subquery()
    wanted = [found.c[statements.FILTERS[name]] == _p(name) for name in sorted(by)]
    narrowed = select(found).where(found.c.received_at >= _p("since"), *wanted)
    return narrowed.order_by(found.c.received_at.desc(), found.c.id.desc()).limit(_p("limit"))


@functools.cache
def texts(by: frozenset[str], *, paged: bool) -> Select[Any]:
    """As a listing: received_at, id and the texts that are looked into."""
    columns = [media.c[name] for name in ("received_at", "id", *_WORDY)]
    return statements.listing(by, paged=paged).with_only_columns(*columns)


@functools.cache
def flooring(by: frozenset[str]) -> Select[Any]:
    """The place of the one that has `within` newer ones in the listing."""
    listing = statements.listing(by, paged=False).with_only_columns(media.c.received_at, media.c.id)
    return listing.limit(literal_column("1")).offset(_p("within"))


def _ways(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The exact ways that this text may mean, each with its values."""
    if not text:
        return
    if _HEX.fullmatch(text.lower()):
        reach = {"value": text.lower(), "end": f"{text.lower()}g"}  # g stands behind every hex digit
        yield "sha256", reach
        yield "id", reach
    yield "message_id", {"value": text}
    yield "chat", {"value": text}
    number = re.sub(r"[ ()+.-]", "", text)
    if number.isdecimal():
        yield from (("chat", {"value": f"{number}@{server}"}) for server in SERVERS)


def _once(found: Iterable[Row]) -> Iterator[Row]:
    seen: set[Position] = set()
    for row in found:
        if _place(row) not in seen:
            seen.add(_place(row))
            yield row


def _place(row: Row) -> Position:
    return row[_PLACE[0]], row[_PLACE[1]]


def _behind(after: Position | None) -> dict[str, Any]:
    return {"after_at": after[0], "after_id": after[1]} if after else {}
