"""The table of attachments on the page Media, updated while the page is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import links, parts
from esteira.web.dashboard.attachments.selection import MediaSelectionBar
from esteira.web.dashboard.attachments.table_query import TableQuery
from esteira.web.dashboard.moments import Phrase, Piece, moment
from esteira.web.dashboard.parts import box, card, link, text
from esteira.web.dashboard.pauses.feed import PAUSE_FEED, pause_of
from esteira.web.dashboard.pauses.words import waiting_words
from esteira.web.dashboard.view import View
from pipeline.catalogue import Pause, Preview, SearchResult
from pipeline.errors import PipelineError
from pipeline.models import Record
from pipeline.remedies import remedy
from pipeline.security.scopes import Scope
from pipeline.services import services

REFRESH_S = 2.0
COLUMNS = ("picture", "file", "session", "status", "received")


class Loaded(NamedTuple):
    result: SearchResult
    previews: Mapping[str, Preview]
    pauses: tuple[Pause, ...]


def load(query: TableQuery, scope: Scope) -> Loaded:
    catalogue = services().catalogue
    result = query.page(catalogue, scope=scope)
    previews = catalogue.previews.get_many(record.sha256 for record in result.records if record.sha256)
    return Loaded(result, previews, PAUSE_FEED.current())


class MediaTable:
    """The rows. Rows of unfinished attachments are updated in place."""

    def __init__(self, view: View, loaded: Loaded, selection: MediaSelectionBar | None) -> None:
        self._view, self._selection = view, selection
        records, previews, pauses = loaded.result.records, loaded.previews, loaded.pauses
        self._cells: dict[str, tuple[TextElement, Phrase]] = {}
        self.open: dict[str, Record] = {}
        self._pauses = pauses
        with card(view.t("media.title"), "table-card media"), box("table", "table stacked"):
            with box("thead"), box("tr"):
                if selection:
                    with box("th", "select", scope="col"):
                        selection.tick_page()
                for name in COLUMNS:
                    with box("th", scope="col"):
                        text("span", view.t(f"media.{name}"), "visually-hidden" if name == "picture" else "")
            with box("tbody"):
                for record in records:
                    self._row(record, previews.get(record.sha256 or ""))

    def show(self, record: Record) -> None:
        """Updates a row."""
        badge, why = self._cells[record.id]
        badge.text = self._view.t(f"status.{record.status}")
        badge.classes(replace=f"badge {record.status}")
        why.show(_why(self._view, record, self._pauses))
        self._note(record)

    def show_pauses(self, pauses: tuple[Pause, ...]) -> None:
        """Updates what waits."""
        if pauses != self._pauses:
            self._pauses = pauses
            for record in list(self.open.values()):
                self.show(record)

    def _note(self, record: Record) -> None:
        self.open.pop(record.id, None)
        if record.finished_at is None and record.deleted_at is None:
            self.open[record.id] = record

    def _row(self, record: Record, preview: Preview | None) -> None:
        view = self._view
        with box("tr"):
            if self._selection:
                with box("td", "select"):
                    self._selection.tick(record)
            with box("td", "shown"):
                parts.thumb(view, record, preview)
            with box("th", "file", scope="row"):
                link(parts.name_of(record), links.page(record.id))
                text("span", parts.summary(view, record), "hint")
                if record.caption:
                    text("span", record.caption, "hint caption")
            with box("td", "session", data_label=view.t("media.session")):
                link(record.session, links.listing(session=record.session))
                if record.chat:
                    text("span", record.chat, "hint")
            with box("td", "stands", data_label=view.t("media.status")):
                badge = parts.badge(view, record)
                why = Phrase(view, "span", _why(view, record, self._pauses), "hint")
                self._cells[record.id] = badge, why
            moment(view, "td", record.received_at, "received", data_label=view.t("media.received"))
        self._note(record)


class TableWatcher:
    """Checks every two seconds, while the page is open, for progress and for newer attachments."""

    def __init__(
        self, query: TableQuery, result: SearchResult, table: MediaTable | None, newer: ui.element, *, scope: Scope
    ) -> None:
        self._query, self._scope = query, scope
        self._newest = (result.records[0].received_at, result.records[0].id) if result.records else (0, "")
        self._table = table
        self._newer = newer

    def start(self) -> None:
        ui.timer(REFRESH_S, self._again, immediate=False)

    async def _again(self) -> None:
        try:
            changed, newer, pauses = await run_in_threadpool(self._check)
        except PipelineError:
            return  # the next check tries again
        if self._table:
            self._table.show_pauses(pauses)
            for record in changed:
                self._table.show(record)
        if newer:
            self._newer.set_visibility(True)

    def _check(self) -> tuple[list[Record], bool, tuple[Pause, ...]]:
        catalogue = services().catalogue
        known = dict(self._table.open) if self._table else {}
        now = [catalogue.get(media_id) for media_id in known]
        changed = [record for record in now if record and record != known[record.id]]
        pauses = PAUSE_FEED.current()
        # Searching every two seconds would be too expensive.
        if self._query.after or self._query.search or self._newer.visible:
            return changed, False, pauses
        first = self._query.page(catalogue, scope=self._scope, limit=1).records
        return changed, bool(first) and (first[0].received_at, first[0].id) > self._newest, pauses


def _why(view: View, record: Record, pauses: tuple[Pause, ...]) -> tuple[Piece, ...]:
    """The current stage and the pause it waits for, or the reason of an unsuccessful result."""
    if record.finished_at is None and record.deleted_at is None:
        stage, pause = view.t(f"now.stage.{record.stage}"), pause_of(record, pauses)
        return waiting_words(view, pause) if pause else (stage,)
    words = remedy(record.error_code, language=view.language)
    return (words.happened if words else record.error_code or "",)
