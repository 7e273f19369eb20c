"""The page Media: the table of attachments with filters, search and pages, updated while it is open."""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import links, parts
from esteira.web.dashboard.attachments.selection import MediaSelectionBar, allowed_actions
from esteira.web.dashboard.attachments.table import MediaTable, TableWatcher, load
from esteira.web.dashboard.attachments.table_query import TableQuery
from esteira.web.dashboard.bulk.progress import Progress
from esteira.web.dashboard.filter_fields import choice_field, text_field
from esteira.web.dashboard.paging import page_links
from esteira.web.dashboard.parts import box, copyable, heading, link, text
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue.search import MAX_QUERY, WITHIN
from pipeline.errors import PayloadError, PipelineError
from pipeline.models import Kind, Stage, Status

# With a small picture in it, so that no other server is needed.
FIRST = """curl {host}/hooks/media -H "Authorization: Bearer $API_TOKEN" -H "Content-Type: application/json" \\
  -d '{{"session": "test", "message_id": "1", "filename": "first.png", "data": "{picture}"}}'"""
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQMAAACQp+OdAAAABlBMVEUNfW////97QE8oAAAATUlEQVR42t3RIRKAMBBD0ceCqIMjcFVu2iNU"
    "rmAoCs+AYYjKF/kmfC5z70lc+I8y6GB7NmdM5ipME8silGAtNz15UFPYd1oTjiTr27NOTNkSizV7sWMAAAAASUVORK5CYII="
)
SINCE = ("1h", "1d", "1w")


async def build(view: View) -> None:
    """Builds the page for the query in the address."""
    query = TableQuery.of(ui.context.client.request.query_params)
    heading(view.t("media.title"), view.t("media.lead"))
    _form(view, query)
    progress = Progress(view)
    newer = _newer(view, query)
    try:
        loaded = await run_in_threadpool(load, query, view.caller.scope)
    except PayloadError as error:
        text("p", view.t("media.wrong", reason=error.message), "fault", role="alert")
        return
    except PipelineError:
        text("p", view.t("shell.away"), "notice", role="status")
        return
    result = loaded.result
    if result.partial and query.search:
        text("p", view.t("media.partly", within=view.number(WITHIN)), "hint")
    selection = MediaSelectionBar(view, query, progress) if result.records and allowed_actions(view) else None
    table = MediaTable(view, loaded, selection) if result.records else None
    if not result.records:
        _nothing(view, query)
    newest = query.path() if query.after else None
    page_links(view, view.t("media.title"), newest=newest, older=query.next_path(result))
    if selection:
        selection.show()
    TableWatcher(query, result, table, newer, scope=view.caller.scope).start()


def _nothing(view: View, query: TableQuery) -> None:
    """What to do next: clear the filters, or send the first attachment."""
    if query.is_filtered or query.after:
        with box("div", "empty", role="status"):
            text("p", view.t("media.none"))
            link(view.t("media.clear"), links.MEDIA)
        return
    with box("section", "card empty", role="status"):
        text("p", view.t("media.nothing"))
        text("p", view.t("media.first"), "hint")
        copyable(FIRST.format(host=_host(), picture=PICTURE), view.t("item.copy"), view.t("item.copied"))


def _host() -> str:
    """Scheme, host and port at which this browser reaches the web app."""
    url = ui.context.client.request.base_url
    return f"{url.scheme}://{url.netloc}"


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
            text_field(
                "search",
                view.t("media.search"),
                query.search,
                type="search",
                maxlength=MAX_QUERY,
                aria_describedby="search-hint",
            )
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
    text_field("session", view.t("media.session"), value_of("session") or "", maxlength=512)
    text_field("error", view.t("media.error"), value_of("error") or "", maxlength=64)


def _choice(view: View, name: str, chosen: str | None, choices: Mapping[str, str]) -> None:
    choice_field(name, view.t(f"media.{name}"), {"": view.t("media.any"), **choices}, chosen=chosen or "")


PAGE = Page("/dashboard/media", title="media.title", icon=parts.ICONS[Kind.IMAGE], build=build)
