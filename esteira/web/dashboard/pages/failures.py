"""The page Failures: groups with their remedies; groups or single attachments can be replayed."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import links, parts
from esteira.web.dashboard.failure_selection.progress import Progress
from esteira.web.dashboard.failure_selection.selection import Selection
from esteira.web.dashboard.moments import Moment, Name, Phrase, joined
from esteira.web.dashboard.parts import box, heading, link, text
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue import FailureGroup, Filters, parse_since
from pipeline.errors import PipelineError
from pipeline.models import Record, Stage
from pipeline.remedies import remedy
from pipeline.security.scopes import Scope
from pipeline.services import services

SINCES = ("1d", "1w", "")
MAX_SHOWN = 20  # attachments shown of an expanded group


async def build(view: View) -> None:
    """Builds the page for the period in the address: a day, a week or all."""
    requested = ui.context.client.request.query_params.get("since", SINCES[0])
    chosen = requested if requested in SINCES else SINCES[0]
    since = parse_since(chosen) if chosen else 0
    heading(view.t("failures.title"), view.t("failures.lead"))
    _times(view, chosen)
    progress = Progress(view)
    scope = view.caller.scope
    try:
        groups = await run_in_threadpool(lambda: services().catalogue.failures.find(since=since, scope=scope))
    except PipelineError:
        text("p", view.t("shell.away"), "notice", role="status")
        return
    if not groups:
        text("p", view.t(f"failures.none.{chosen or 'all'}"), "empty", role="status")
        return
    text("p", view.t("failures.nothing"), "hint")
    selection = Selection(view, since, progress)
    with box("div", "groups"):
        for group in groups:
            _Group(view, group, selection, since)
    selection.show_bar()


def _times(view: View, chosen: str) -> None:
    with box("nav", "tabs", aria_label=view.t("failures.since")):
        for since in SINCES:
            here = {"aria_current": "true"} if since == chosen else {}
            link(
                view.t(f"failures.since.{since or 'all'}"), f"/dashboard/failures?since={since}", "button small", **here
            )


class _Group:
    """The card of one code at one stage."""

    def __init__(self, view: View, group: FailureGroup, selection: Selection, since: int) -> None:
        self._view, self._group, self._selection, self._since = view, group, selection, since
        self._opened = False
        with box("section", "card group") as section:
            self._head()
            words = remedy(group.code, language=view.language)
            if words:
                text("p", words.happened, "happened")
                text("p", words.to_do, "to-do")
            self._figures()
            self._single()
        section.props["aria-labelledby"] = self._title.html_id

    def _head(self) -> None:
        view, group = self._view, self._group
        with box("div", "group-head"):
            box_ = _tick(view.t("failures.select", code=group.code, stage=view.t(f"now.stage.{group.stage}")))
            self._selection.watch_group(box_, group.code, group.stage)
            self._title = text("h2", group.code)
            text("span", view.t(f"now.stage.{group.stage}"), "badge")
            text("span", view.number(group.count), "count")

    def _figures(self) -> None:
        view, group = self._view, self._group
        with box("dl", "facts"):
            for name, value in (
                ("newest", Moment(group.newest)),
                ("oldest", Moment(group.oldest)),
                ("sessions", _sessions(view, group)),
                ("example", group.example.error or ""),
            ):
                with box("div"):
                    text("dt", view.t(f"failures.{name}"))
                    Phrase(view, "dd", (value,))

    def _single(self) -> None:
        details = box("details", "more")
        with details:
            text("summary", self._view.t("failures.single"))
            self._list = box("div")
        details.on("toggle", self._open)

    async def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        group = self._group
        filters = [
            Filters(status=status, error=group.code, stage=Stage(group.stage), since=self._since)
            for status in ("failed", "rejected", "expired")
        ]
        try:
            records = await run_in_threadpool(_newest, filters, self._view.caller.scope)
        except PipelineError:
            self._opened = False
            return
        with self._list, box("ul", "singles"):
            for record in records:
                self._one(record)
        if group.count > len(records):
            with self._list:
                path = links.listing(error=group.code, stage=group.stage)
                link(self._view.t("failures.all", count=self._view.number(group.count)), path)

    def _one(self, record: Record) -> None:
        name = parts.name_of(record)
        with box("li"):
            tick = _tick(self._view.t("failures.select.one", name=name))
            self._selection.watch_one(tick, record.id)
            with box("div"):
                link(name, links.page(record.id))
                Phrase(self._view, "span", joined((Name(record.session), Moment(record.received_at))), "hint")
                text("span", record.error or "", "hint")


def _tick(label: str) -> TextElement:
    return text("input", "", "tick", type="checkbox", aria_label=label)


def _newest(chosen: Sequence[Filters], scope: Scope) -> list[Record]:
    catalogue = services().catalogue
    records = [record for filters in chosen for record in catalogue.find(filters, limit=MAX_SHOWN, scope=scope)]
    return sorted(records, key=lambda record: (record.received_at, record.id), reverse=True)[:MAX_SHOWN]


def _sessions(view: View, group: FailureGroup) -> str:
    others = group.sessions - len(group.busiest)
    names = ", ".join(group.busiest)
    return view.t("failures.sessions.more", names=names, count=view.number(others)) if others else names


PAGE = Page(
    "/dashboard/failures",
    title="failures.title",
    icon="M12 4l9 16H3zM12 10v4M12 17h.01",
    build=build,
)
