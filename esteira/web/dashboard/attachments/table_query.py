"""The query of the attachment table, as it is in the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from esteira.web.api.records import decode_cursor, encode_cursor, parse_filters
from esteira.web.dashboard.attachments import links
from pipeline.catalogue import Catalogue, Filters, SearchResult
from pipeline.security.scopes import Scope

NAMES = ("status", "session", "kind", "stage", "error", "since")
PAGE = 50


@dataclass(frozen=True)
class TableQuery:
    """`filter_values` are the filters as written in the address, without empty ones."""

    filter_values: Mapping[str, str]
    search: str = ""
    after: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> TableQuery:
        values = {name: query[name].strip() for name in NAMES if query.get(name, "").strip()}
        return cls(values, query.get("search", "").strip(), query.get("after", ""))

    @property
    def is_filtered(self) -> bool:
        return bool(self.filter_values or self.search)

    def path(self, after: str = "") -> str:
        """The address of this table, from the top or after a cursor."""
        return links.listing(**self.filter_values, search=self.search, after=after)

    def page(self, catalogue: Catalogue, *, scope: Scope, limit: int = PAGE) -> SearchResult:
        """The attachments of this page that are in the scope.

        Raises:
            PayloadError: a filter or the cursor is invalid.
        """
        filters = parse_filters(self.filter_values)
        after = decode_cursor(self.after) if self.after else None
        if self.search:
            return catalogue.search.find(self.search, filters, limit=limit, after=after, scope=scope)
        records = catalogue.find(filters, limit=limit + 1, after=after, scope=scope)
        return SearchResult(records[:limit], len(records) > limit, partial=False)

    def next_path(self, result: SearchResult) -> str | None:
        """The address of the next page; None on the last one."""
        return self.path(encode_cursor(result.records[-1])) if result.more else None

    def filters(self) -> Filters:
        return parse_filters(self.filter_values)
