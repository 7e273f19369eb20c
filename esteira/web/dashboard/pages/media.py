"""The page Media: the table of attachments with filters, search and pages, updated while it is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import links, parts
from esteira.web.dashboard.attachments.table_query import TableQuery
from esteira.web.dashboard.moments import Phrase, Piece, moment
from esteira.web.dashboard.paging import page_links
from esteira.web.dashboard.parts import box, card, heading, link, text
from esteira.web.dashboard.pauses.feed import PAUSE_FEED, pause_of
from esteira.web.dashboard.pauses.words import waiting_words
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue import Pause, Preview, SearchResult
from pipeline.catalogue.search import MAX_QUERY, WITHIN
from pipeline.errors import PayloadError, PipelineError
from pipeline.models import Kind, Record, Stage, Status
from pipeline.remedies import remedy
from pipeline.security.scopes import Scope
from pipeline.services import services

REFRESH_S = 2.0
SINCE = ("1h", "1d", "1w")
COLUMNS = ("picture", "file", "session", "status", "received")


async def build(view: View) -> None:
    """Builds the page for the query in the address."""
    query = TableQuery.of(ui.context.client.request.query_params)
    heading(view.t("media.title"), view.t("media.lead"))
    _form(view, query)
    newer = _newer(view, query)
    try:
        loaded = await run_in_threadpool(_load, query, view.caller.scope)
    except PayloadError as error:
        text("p", view.t("media.wrong", reason=error.message), "fault", role="alert")
        return
    except PipelineError:
        text("p", view.t("shell.away"), "notice", role="status")
        return
    result = loaded.result
    if result.partial and query.search:
        text("p", view.t("media.partly", within=view.number(WITHIN)), "hint")
    if not result.records:
        text("p", view.t("media.none" if query.is_filtered or query.after else "media.nothing"), "empty", role="status")
    table = _Table(view, loaded) if result.records else None
    newest = query.path() if query.after else None
    page_links(view, view.t("media.title"), newest=newest, older=query.next_path(result))
    _Watcher(query, result, table, newer, scope=view.caller.scope).start()


class _Loaded(NamedTuple):
    result: SearchResult
    previews: Mapping[str, Preview]
    pauses: tuple[Pause, ...]


def _load(query: TableQuery, scope: Scope) -> _Loaded:
    catalogue = services().catalogue
    result = query.page(catalogue, scope=scope)
    previews = catalogue.previews.get_many(record.sha256 for record in result.records if record.sha256)
    return _Loaded(result, previews, PAUSE_FEED.current())


class _Table:
    """The rows. Rows of unfinished attachments are updated in place."""

    def __init__(self, view: View, loaded: _Loaded) -> None:
        self._view = view
        records, previews, pauses = loaded.result.records, loaded.previews, loaded.pauses
        self._cells: dict[str, tuple[TextElement, Phrase]] = {}
        self.open: dict[str, Record] = {}
        self._pauses = pauses
        with card(view.t("media.title"), "table-card media"), box("table", "table stacked"):
            with box("thead"), box("tr"):
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


class _Watcher:
    """Checks every two seconds, while the page is open, for progress and for newer attachments."""

    def __init__(
        self, query: TableQuery, result: SearchResult, table: _Table | None, newer: ui.element, *, scope: Scope
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


def _newer(view: View, query: TableQuery) -> ui.element:
    with box("p", "notice", role="status") as notice:
        text("span", view.t("media.newer"))
        link(view.t("media.show.newer"), query.path())
    notice.set_visibility(False)
    return notice


# --- the filter form: a plain HTML form, so that the keyboard works and the address contains the query ---


def _form(view: View, query: TableQuery) -> None:
    with box("form", "filters card", method="get", action=links.MEDIA, role="search", data_submit="change"):
        with box("div", "search"):
            _field(view, "search", query.search, type="search", maxlength=MAX_QUERY, aria_describedby="search-hint")
            text("button", view.t("media.apply"), "button primary", type="submit")
        hint = view.t("media.search.hint", within=view.number(WITHIN))
        text("p", hint, "hint", id="search-hint")
        with box("details", "more", **({"open": "open"} if query.filter_values else {})):
            text("summary", view.t("media.filters"))
            with box("div", "choices"):
                _choices(view, query)
        if query.is_filtered:
            link(view.t("media.clear"), links.MEDIA)


def _choices(view: View, query: TableQuery) -> None:
    value_of = query.filter_values.get
    _choice(view, "status", value_of("status"), {str(status): view.t(f"status.{status}") for status in Status})
    _choice(view, "kind", value_of("kind"), {str(kind): view.t(f"kind.{kind}") for kind in Kind})
    _choice(view, "stage", value_of("stage"), {str(stage): view.t(f"now.stage.{stage}") for stage in Stage})
    _choice(view, "since", value_of("since"), {since: view.t(f"media.since.{since}") for since in SINCE})
    _field(view, "session", value_of("session") or "", maxlength=512)
    _field(view, "error", value_of("error") or "", maxlength=64)


def _field(view: View, name: str, value: str, **attributes: str | int) -> None:
    with box("div", "field"):
        text("label", view.t(f"media.{name}"), for_=f"filter-{name}")
        # As an attribute: a property would be set again on every change of the page.
        box("input", "", id=f"filter-{name}", name=name, autocomplete="off", **attributes).props["^value"] = value


def _choice(view: View, name: str, chosen: str | None, choices: Mapping[str, str]) -> None:
    with box("div", "field"):
        text("label", view.t(f"media.{name}"), for_=f"filter-{name}")
        with box("select", "", id=f"filter-{name}", name=name):
            text("option", view.t("media.any"), value="")
            known = choices if not chosen or chosen in choices else {**choices, chosen: chosen}
            for value, named in known.items():
                option = text("option", named, value=value)
                if value == chosen:
                    option.props["^selected"] = "selected"


PAGE = Page("/dashboard/media", title="media.title", icon=parts.ICONS[Kind.IMAGE], build=build)
