"""The table of the attachments: filters, search, pages; what is under way is seen going on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import links, parts
from esteira.web.dashboard.attachments.table_query import Asked
from esteira.web.dashboard.parts import box, card, heading, link, text
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue import Preview, SearchResult
from pipeline.catalogue.search import LONGEST, WITHIN
from pipeline.errors import PayloadError, PipelineError
from pipeline.models import Kind, Record, Stage, Status
from pipeline.remedies import remedy
from pipeline.services import services

AGAIN_S = 2.0
SINCE = ("1h", "1d", "1w")
COLUMNS = ("picture", "file", "session", "status", "received")


async def build(view: View) -> None:
    """The page as its address asks for it."""
    parts.head()
    asked = Asked.of(ui.context.client.request.query_params)
    heading(view.t("media.title"), view.t("media.lead"))
    _form(view, asked)
    newer = _newer(view, asked)
    try:
        found, previews = await run_in_threadpool(_look, asked)
    except PayloadError as error:
        text("p", view.t("media.wrong", reason=error.message), "fault", role="alert")
        return
    except PipelineError:
        text("p", view.t("shell.away"), "notice", role="status")
        return
    if found.partial and asked.search:
        text("p", view.t("media.partly", within=view.number(WITHIN)), "hint")
    if not found.records:
        text("p", view.t("media.none" if asked.narrowed or asked.after else "media.nothing"), "empty", role="status")
    table = _Table(view, found.records, previews) if found.records else None
    _pages(view, asked, found)
    _Watch(asked, found, table, newer).begin()


def _look(asked: Asked) -> tuple[SearchResult, Mapping[str, Preview]]:
    catalogue = services().catalogue
    found = asked.page(catalogue)
    return found, catalogue.previews.get_many(record.sha256 for record in found.records if record.sha256)


class _Table:
    """The rows; those under way change as they go on."""

    def __init__(self, view: View, records: Iterable[Record], previews: Mapping[str, Preview]) -> None:
        self._view = view
        self._cells: dict[str, tuple[TextElement, TextElement]] = {}
        self.open: dict[str, Record] = {}
        with card(view.t("media.title"), "table-card media"), box("table", "table stacked"):
            with box("thead"), box("tr"):
                for name in COLUMNS:
                    with box("th", scope="col"):
                        text("span", view.t(f"media.{name}"), "visually-hidden" if name == "picture" else "")
            with box("tbody"):
                for record in records:
                    self._row(record, previews.get(record.sha256 or ""))

    def show(self, record: Record) -> None:
        """How one of them stands now."""
        badge, why = self._cells[record.id]
        badge.text = self._view.t(f"status.{record.status}")
        badge.classes(replace=f"badge {record.status}")
        why.text = _why(self._view, record)
        self._note(record)

    def _note(self, record: Record) -> None:
        self.open.pop(record.id, None)
        if record.finished_at is None and record.deleted_at is None:
            self.open[record.id] = record

    def _row(self, record: Record, preview: Preview | None) -> None:
        view = self._view
        with box("tr"):
            with box("td", "shown"):
                parts.thumb(record, preview)
            with box("th", "file", scope="row"):
                link(parts.name_of(record), links.page(record.id))
                text("span", parts.told(view, record), "hint")
                if record.caption:
                    text("span", record.caption, "hint caption")
            with box("td", "session", data_label=view.t("media.session")):
                link(record.session, links.listing(session=record.session))
                if record.chat:
                    text("span", record.chat, "hint")
            with box("td", "stands", data_label=view.t("media.status")):
                self._cells[record.id] = parts.badge(view, record), text("span", _why(view, record), "hint")
            text("td", view.moment(record.received_at), "received", data_label=view.t("media.received"))
        self._note(record)


class _Watch:
    """Looks again every two seconds, as long as the page is open: at what is under way, and whether newer ones came."""

    def __init__(self, asked: Asked, found: SearchResult, table: _Table | None, newer: ui.element) -> None:
        self._asked = asked
        self._newest = (found.records[0].received_at, found.records[0].id) if found.records else (0, "")
        self._table = table
        self._newer = newer

    def begin(self) -> None:
        ui.timer(AGAIN_S, self._again, immediate=False)

    async def _again(self) -> None:
        try:
            changed, newer = await run_in_threadpool(self._look)
        except PipelineError:
            return  # it comes back
        for record in changed:
            assert self._table
            self._table.show(record)
        if newer:
            self._newer.set_visibility(True)

    def _look(self) -> tuple[list[Record], bool]:
        catalogue = services().catalogue
        known = dict(self._table.open) if self._table else {}
        now = [catalogue.get(media_id) for media_id in known]
        changed = [record for record in now if record and record != known[record.id]]
        if self._asked.after or self._asked.search or self._newer.visible:  # a search is not done every two seconds
            return changed, False
        first = self._asked.page(catalogue, limit=1).records
        return changed, bool(first) and (first[0].received_at, first[0].id) > self._newest


def _why(view: View, record: Record) -> str:
    """Where it is, or why it ended badly."""
    if record.finished_at is None and record.deleted_at is None:
        return view.t(f"now.stage.{record.stage}")
    words = remedy(record.error_code, language=view.language)
    return words.happened if words else record.error_code or ""


def _newer(view: View, asked: Asked) -> ui.element:
    with box("p", "notice", role="status") as notice:
        text("span", view.t("media.newer"))
        link(view.t("media.show.newer"), asked.path())
    notice.set_visibility(False)
    return notice


def _pages(view: View, asked: Asked, found: SearchResult) -> None:
    older = asked.behind(found)
    if not (asked.after or older):
        return
    with box("nav", "turning", aria_label=view.t("media.title")):
        if asked.after:
            link(view.t("media.newest"), asked.path(), "button")
        if older:
            link(view.t("media.older"), older, "button", rel="next")


# --- the form: a plain one, so that it works with every key, and the address says what is shown ---


def _form(view: View, asked: Asked) -> None:
    with box("form", "filters card", method="get", action=links.MEDIA, role="search", data_submit="change"):
        with box("div", "search"):
            _field(view, "search", asked.search, type="search", maxlength=LONGEST, aria_describedby="search-hint")
            text("button", view.t("media.apply"), "button primary", type="submit")
        hint = view.t("media.search.hint", within=view.number(WITHIN))
        text("p", hint, "hint", id="search-hint")
        with box("details", "more", **({"open": "open"} if asked.given else {})):
            text("summary", view.t("media.filters"))
            with box("div", "choices"):
                _choices(view, asked)
        if asked.narrowed:
            link(view.t("media.clear"), links.MEDIA)


def _choices(view: View, asked: Asked) -> None:
    given = asked.given.get
    _choice(view, "status", given("status"), {str(one): view.t(f"status.{one}") for one in Status})
    _choice(view, "kind", given("kind"), {str(one): view.t(f"kind.{one}") for one in Kind})
    _choice(view, "stage", given("stage"), {str(one): view.t(f"now.stage.{one}") for one in Stage})
    _choice(view, "since", given("since"), {one: view.t(f"media.since.{one}") for one in SINCE})
    _field(view, "session", given("session") or "", maxlength=512)
    _field(view, "error", given("error") or "", maxlength=64)


def _field(view: View, name: str, value: str, **attributes: str | int) -> None:
    with box("div", "field"):
        text("label", view.t(f"media.{name}"), for_=f"filter-{name}")
        # As an attribute: as a property it would be set again whenever anything of the page changes.
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
