"""Lists and counts attachments by filters, newest first."""

from __future__ import annotations

from typing import Any

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.filters import Filters
from pipeline.catalogue.scoping import parameters_of, shape_of
from pipeline.errors import Code, PermanentError
from pipeline.models import Record
from pipeline.security.scopes import Scope


class Listing:
    """See `Catalogue.find` and `Catalogue.count`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, filters: Filters, *, limit: int, after: str | tuple[int, str] | None, scope: Scope) -> list[Record]:
        values = {**filters.parameters(), "since": filters.since or 0, "limit": limit, **self.position(after)}
        values |= parameters_of(scope)
        by = frozenset(filters.parameters())
        statement = statements.listing(by, paged=after is not None, scope=shape_of(scope))
        return [rows.record(row) for row in self._database.read(lambda session: session.rows(statement, **values))]

    def count(self, filters: Filters, *, scope: Scope) -> int:
        statement = statements.counting(frozenset(filters.parameters()), scope=shape_of(scope))
        values = {**filters.parameters(), "since": filters.since or 0, **parameters_of(scope)}
        row = self._database.read(lambda session: session.row(statement, **values))
        return int(row[0]) if row else 0

    def position(self, after: str | tuple[int, str] | None) -> dict[str, Any]:
        """The parameters of a page that begins after this id or (received_at, id).

        Raises:
            PermanentError: `not_found`, if there is no attachment `after`.
        """
        if after is None:
            return {}
        if isinstance(after, tuple):
            return {"after_at": after[0], "after_id": after[1]}
        row = None
        if rows.is_id(after):
            row = self._database.read(lambda session: session.row(statements.POSITION, media_id=after))
        if row is None:
            raise PermanentError(Code.NOT_FOUND, "there is no attachment with the id given by 'after'")
        return {"after_at": row[0], "after_id": row[1]}
