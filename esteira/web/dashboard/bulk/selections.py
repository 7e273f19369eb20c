"""Which attachments an action applies to: groups of failures, single ones, or all that match a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from esteira.web.dashboard.attachments.table_query import TableQuery
from esteira.web.dashboard.bulk.actions import REPLAY, BulkAction
from pipeline.catalogue import Catalogue, Filters
from pipeline.models import Record, Stage, Status
from pipeline.security.callers import ANONYMOUS, Caller
from pipeline.security.scopes import Scope

PAGE = 200


class BulkSelection(Protocol):
    """Selected attachments. Only those that the `caller` sees are changed."""

    @property
    def caller(self) -> Caller: ...

    def audit_target(self) -> dict[str, Any]:
        """What the audit log says about the selection."""
        ...

    def pages(self, catalogue: Catalogue, action: BulkAction) -> Iterator[Sequence[str]]:
        """The ids that the action may apply to, the newest first, page by page. It blocks.

        Raises:
            PipelineError: the catalogue cannot be reached.
        """
        ...


@dataclass(frozen=True)
class ReplaySelection:
    """Whole groups (code, stage) of failures received since a time (Unix ms), and single ids."""

    groups: tuple[tuple[str, Stage], ...] = ()
    ids: tuple[str, ...] = ()
    since: int = 0
    caller: Caller = ANONYMOUS

    def audit_target(self) -> dict[str, Any]:
        groups = [f"{code}:{stage}" for code, stage in self.groups]
        return {"groups": groups, "ids": self.ids, "since": self.since if groups else None}

    def filters(self) -> Iterator[Filters]:
        """One filter for each group and each status that can be replayed."""
        for code, stage in self.groups:
            for status in REPLAY.statuses:
                yield Filters(status=status, error=code, stage=stage, since=self.since)

    def pages(self, catalogue: Catalogue, action: BulkAction) -> Iterator[Sequence[str]]:  # noqa: ARG002  replays only
        seen: set[str] = set()
        for filters in self.filters():
            for ids in _pages(catalogue, filters, scope=self.caller.scope):
                seen.update(ids)
                yield ids
        yield [media_id for media_id in self.ids if media_id not in seen]


@dataclass(frozen=True)
class MediaSelection:
    """Single ids; with None instead, all that match a query and were received before `before` (Unix ms)."""

    query: TableQuery
    before: int
    ids: tuple[str, ...] | None
    caller: Caller = ANONYMOUS

    def audit_target(self) -> dict[str, Any]:
        if self.ids is not None:
            return {"ids": self.ids}
        search = {"search": self.query.search} if self.query.search else {}
        return {**self.query.filters().model_dump(mode="json", exclude_none=True), **search, "until": self.before}

    def count(self, catalogue: Catalogue, action: BulkAction) -> int:
        """How many attachments the action applies to at the moment. For a search it may take seconds.

        Raises:
            PipelineError: the catalogue cannot be reached, or a filter is invalid.
        """
        if self.ids is not None or self.query.search:
            return sum(map(len, self.pages(catalogue, action)))
        return sum(catalogue.count(filters, scope=self.caller.scope) for filters in self._filters(action))

    def pages(self, catalogue: Catalogue, action: BulkAction) -> Iterator[Sequence[str]]:
        if self.ids is not None:
            yield self._applicable(filter(None, map(catalogue.get, self.ids)), action)
        elif self.query.search:
            yield from self._searched(catalogue, action)
        else:
            for filters in self._filters(action):
                yield from _pages(catalogue, filters, scope=self.caller.scope, before=self.before)

    def _searched(self, catalogue: Catalogue, action: BulkAction) -> Iterator[Sequence[str]]:
        after: tuple[int, str] | None = (self.before, "")
        while after:
            text, filters = self.query.search, self.query.filters()
            found = catalogue.search.find(text, filters, limit=PAGE, after=after, scope=self.caller.scope)
            yield self._applicable(found.records, action)
            after = (found.records[-1].received_at, found.records[-1].id) if found.more else None

    def _applicable(self, records: Iterable[Record], action: BulkAction) -> Sequence[str]:
        return [record.id for record in records if self.caller.sees(record) and action.applies(record)]

    def _filters(self, action: BulkAction) -> list[Filters]:
        filters = self.query.filters()
        statuses = [status for status in action.statuses if filters.status in {None, status}]
        return [filters.model_copy(update={"status": status}) for status in statuses]


def _pages(
    catalogue: Catalogue, filters: Filters, *, scope: Scope, before: int | None = None
) -> Iterator[Sequence[str]]:
    after = (before, "") if before is not None else None
    while page := catalogue.find(filters, limit=PAGE, after=after, scope=scope):
        yield [record.id for record in page]
        after = page[-1].received_at, page[-1].id


@dataclass(frozen=True)
class ReplayForecast:
    """What a replay would do: how many resume at the failed stage, and how many start at fetch."""

    resumed: int = 0
    fetched: int = 0
    expired: int = 0  # of those at fetch: their source is gone

    @property
    def total(self) -> int:
        return self.resumed + self.fetched


def forecast(catalogue: Catalogue, selection: ReplaySelection) -> ReplayForecast:
    """Counts the attachments of a selection.

    Raises:
        PipelineError: the catalogue cannot be reached.
    """
    counts = dict.fromkeys(REPLAY.statuses, 0)
    for filters in selection.filters():
        assert filters.status
        counts[filters.status] += catalogue.count(filters, scope=selection.caller.scope)
    for record in filter(None, map(catalogue.get, selection.ids)):
        if record.status in counts and selection.caller.sees(record) and not _within(record, selection):
            counts[record.status] += 1
    expired = counts[Status.EXPIRED]
    return ReplayForecast(counts[Status.FAILED], counts[Status.REJECTED] + expired, expired)


def _within(record: Record, selection: ReplaySelection) -> bool:
    return (record.error_code, record.stage) in selection.groups and record.received_at >= selection.since
