"""Full-text and exact search for attachments."""

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
from pipeline.catalogue.scoping import ScopeShape, conditions_of, parameters_of, shape_of
from pipeline.catalogue.tables import RECORD, media
from pipeline.models import Record
from pipeline.security.scopes import ALL_SESSIONS, Scope
from pipeline.values.gateway_values import clean_text

WITHIN = 10_000  # a search for words covers this many of the newest attachments that match the filters
PAGE = 1000  # rows of one query
MAX_QUERY = 200  # characters; the rest is ignored
MAX_TEXT = 1000  # characters of each column that are searched
SERVERS = ("c.us", "s.whatsapp.net", "g.us", "lid")  # the part after the number in the name of a WhatsApp chat

Position = tuple[int, str]  # (received_at, id)
Row = Sequence[Any]

_p = bindparam
_POSITION = [RECORD.index(media.c[name]) for name in ("received_at", "id")]
_TEXT_COLUMNS = ("message_id", "chat", "sender", "chat_number", "sender_number", "filename", "name", "caption")
_order = (media.c.received_at.desc(), media.c.id.desc())
_HEX = re.compile(r"[0-9a-f]{6,64}")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_EXACT = {
    "id": (media.c.id >= _p("value")) & (media.c.id < _p("end")),
    "sha256": (media.c.sha256 >= _p("value")) & (media.c.sha256 < _p("end")),
    "message_id": media.c.message_id == _p("value"),
    "chat": media.c.chat == _p("value"),
}


class SearchedBy(NamedTuple):
    """What a search is limited to: the names of its filters, and the shape of its scope."""

    filters: frozenset[str]
    scope: ScopeShape


class SearchResult(NamedTuple):
    """A page of results, newest first. `partial`: the search for words did not cover all attachments."""

    records: list[Record]
    more: bool
    partial: bool


class Search:
    """Finds attachments. Its methods raise what those of `Catalogue` do.

    An index finds the beginning (6 digits or more) of an id or of a content's SHA-256, a complete message id and a
    chat, regardless of age. Any other text is split into words. All of them must occur in the message id, chat, sender,
    name or caption of an attachment, ignoring case and accents. That search covers the newest 10,000 that match the
    filters.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self,
        text: str,
        filters: Filters,
        *,
        limit: int = 50,
        after: Position | None = None,
        scope: Scope = ALL_SESSIONS,
    ) -> SearchResult:
        """The attachments in the scope that match the text and every filter, after the position `after`."""
        query = str(clean_text(text)).strip()[:MAX_QUERY]
        values = {**filters.parameters(), "since": filters.since or 0, **parameters_of(scope)}
        by = SearchedBy(frozenset(filters.parameters()), shape_of(scope))
        floor = self._floor(by, values)
        more = {**values, "limit": limit + 1}
        exact = [
            self._exact_matches(column, {**value, **more}, by=by, after=after)
            for column, value in _interpretations(query)
        ]
        words = [] if re.fullmatch(r"[0-9a-fA-F]{32,}", query) else plain(query).split()
        by_words = self._word_matches(words, self._newest(by, values, after), floor) if words else iter(())
        matches = heapq.merge(*exact, by_words, key=_position, reverse=True)
        page = list(islice(_without_duplicates(matches), limit + 1))
        return SearchResult([rows.record(row) for row in page[:limit]], len(page) > limit, floor is not None)

    def by_id_prefix(self, prefix: str, *, limit: int) -> list[Record]:
        """Up to `limit` attachments, newest first, whose id begins with these hex digits; deleted ones too."""
        values = {"value": prefix, "end": f"{prefix}g", "since": 0, "limit": limit}  # g sorts after every hex digit
        by = SearchedBy(frozenset(), None)
        return [rows.record(row) for row in self._exact_matches("id", values, by=by, after=None)]

    def _exact_matches(
        self, column: str, values: dict[str, Any], *, by: SearchedBy, after: Position | None
    ) -> list[Row]:
        return self._rows(
            by_column(column, by.filters, paged=after is not None, scope=by.scope),
            {**values, **_after(after), "within": WITHIN},
        )

    def _word_matches(self, words: Sequence[str], newest: Iterable[Row], floor: Position | None) -> Iterator[Row]:
        for received_at, media_id, *texts in newest:
            if floor is not None and (received_at, media_id) < floor:
                return
            text = plain("\n".join([text[:MAX_TEXT] for text in texts if text]))
            if all(word in text for word in words):
                yield from self._rows(statements.GET, {"media_id": media_id})

    def _newest(self, by: SearchedBy, values: dict[str, Any], after: Position | None) -> Iterator[Row]:
        """Yields position and texts of all attachments that match the filters, read page by page."""
        while True:
            statement = texts(by.filters, paged=after is not None, scope=by.scope)
            page = self._rows(statement, {**values, **_after(after), "limit": PAGE})
            yield from page
            if len(page) < PAGE:
                return
            after = (page[-1][0], page[-1][1])

    def _floor(self, by: SearchedBy, values: dict[str, Any]) -> Position | None:
        """The position of the oldest attachment that the search for words covers; None if it covers all."""
        rows = self._rows(floor_of_words(by.filters, scope=by.scope), {**values, "within": WITHIN - 1})
        return (rows[0][0], rows[0][1]) if rows else None

    def _rows(self, statement: Executable, values: dict[str, Any]) -> list[Row]:
        return self._database.read(lambda session: session.rows(statement, **values))


def plain(text: str) -> str:
    """The text without case and accents: `reunião` and `REUNIAO` become `reuniao`."""
    folded = text.casefold()
    return folded if folded.isascii() else "".join(map(_plain_character, folded))


@functools.lru_cache(maxsize=20_000)
def _plain_character(character: str) -> str:
    # Normalised alone: for a text, `normalize` sorts runs of combining marks, in time quadratic to their length.
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", character))


@functools.cache
def by_column(column: str, by: frozenset[str], *, paged: bool, scope: ScopeShape = None) -> Select[Any]:
    """Selects the newest exact matches of a column, then applies the filters of these names.

    If the subquery applied them, SQLite might use the index of a filter and read a whole session for one message.
    """
    after = [tuple_(media.c.received_at, media.c.id) < tuple_(_p("after_at"), _p("after_id"))] if paged else []
    matches = select(*RECORD).where(_EXACT[column], *after).order_by(*_order).limit(_p("within")).subquery()
    conditions = [matches.c[statements.FILTERS[name]] == _p(name) for name in sorted(by)]
    conditions += conditions_of(scope, matches.c)
    filtered = select(matches).where(matches.c.received_at >= _p("since"), *conditions)
    return filtered.order_by(matches.c.received_at.desc(), matches.c.id.desc()).limit(_p("limit"))


@functools.cache
def texts(by: frozenset[str], *, paged: bool, scope: ScopeShape = None) -> Select[Any]:
    """Selects received_at, id and the searched columns of a listing."""
    columns = [media.c[name] for name in ("received_at", "id", *_TEXT_COLUMNS)]
    return statements.listing(by, paged=paged, scope=scope).with_only_columns(*columns)


@functools.cache
def floor_of_words(by: frozenset[str], *, scope: ScopeShape = None) -> Select[Any]:
    """Selects the position of the attachment with `within` newer ones in the listing."""
    rows = statements.listing(by, paged=False, scope=scope)
    positions: Select[Any] = rows.with_only_columns(media.c.received_at, media.c.id)
    return positions.limit(literal_column("1")).offset(_p("within"))


def _interpretations(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the columns that the text may be a value of, each with its parameters."""
    if not text:
        return
    if _HEX.fullmatch(text.lower()):
        prefix = {"value": text.lower(), "end": f"{text.lower()}g"}  # g sorts after every hex digit
        yield "sha256", prefix
        yield "id", prefix
    yield "message_id", {"value": text}
    yield "chat", {"value": text}
    number = re.sub(r"[ ()+.-]", "", text)
    if number.isdecimal():
        yield from (("chat", {"value": f"{number}@{server}"}) for server in SERVERS)


def _without_duplicates(matches: Iterable[Row]) -> Iterator[Row]:
    seen: set[Position] = set()
    for row in matches:
        if _position(row) not in seen:
            seen.add(_position(row))
            yield row


def _position(row: Row) -> Position:
    return row[_POSITION[0]], row[_POSITION[1]]


def _after(after: Position | None) -> dict[str, Any]:
    return {"after_at": after[0], "after_id": after[1]} if after else {}
