"""What the table of the attachments was asked for, as it stands in the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from esteira.web.api.records import decode_cursor, encode_cursor, parse_filters
from esteira.web.dashboard.attachments import links
from pipeline.catalogue import Catalogue, Filters, SearchResult

NAMES = ("status", "session", "kind", "stage", "error", "since")
PAGE = 50


@dataclass(frozen=True)
class Asked:
    """`given` are the filters as they were written, without those that are empty."""

    given: Mapping[str, str]
    search: str = ""
    after: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        given = {name: query[name].strip() for name in NAMES if query.get(name, "").strip()}
        return cls(given, query.get("search", "").strip(), query.get("after", ""))

    @property
    def narrowed(self) -> bool:
        return bool(self.given or self.search)

    def path(self, after: str = "") -> str:
        """The address of this table, from its top or from behind a place."""
        return links.listing(**self.given, search=self.search, after=after)

    def page(self, catalogue: Catalogue, *, limit: int = PAGE) -> SearchResult:
        """The attachments of this page.

        Raises:
            PayloadError: a filter or the place is none.
        """
        filters = parse_filters(self.given)
        after = decode_cursor(self.after) if self.after else None
        if self.search:
            return catalogue.search.find(self.search, filters, limit=limit, after=after)
        records = catalogue.find(filters, limit=limit + 1, after=after)
        return SearchResult(records[:limit], len(records) > limit, partial=False)

    def behind(self, found: SearchResult) -> str | None:
        """The address of the page behind this one."""
        return self.path(encode_cursor(found.records[-1])) if found.more else None

    def filters(self) -> Filters:
        return parse_filters(self.given)
