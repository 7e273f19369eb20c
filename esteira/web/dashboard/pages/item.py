"""One attachment: its preview, its facts, its way, and what to do with it; it is looked at again while it is shown."""

from __future__ import annotations

from typing import NamedTuple

from nicegui import ui
from nicegui.element import Element
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import details, links, parts, preview, timeline
from esteira.web.dashboard.attachments.actions import Actions
from esteira.web.dashboard.parts import box, card, link, text
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue import Preview
from pipeline.errors import PipelineError
from pipeline.history import HistoryEntry
from pipeline.models import Kind, Record
from pipeline.remedies import remedy
from pipeline.services import services

AGAIN_S = 1.0


async def build(view: View) -> None:
    """The attachment that the address names, or that there is none."""
    parts.head()
    media_id = ui.context.client.request.path_params["media_id"]
    link(view.t("item.back"), links.MEDIA, "back")
    try:
        found = await run_in_threadpool(_look, media_id)
    except PipelineError:
        text("h1", view.t("item.title"))
        text("p", view.t("shell.away"), "notice", role="status")
        return
    if found is None:
        text("h1", view.t("item.title"))
        text("p", view.t("item.unknown"), "empty", role="status")
        return
    shown = _Item(view, found)
    ui.timer(AGAIN_S, shown.again, immediate=False)


class _Found(NamedTuple):
    record: Record
    made: Preview | None
    history: list[HistoryEntry]

    @property
    def to_see(self) -> object:
        """What the preview is made of."""
        return self.record.storage_key, self.record.deleted_at, self.record.mime, self.made


def _look(media_id: str) -> _Found | None:
    catalogue = services().catalogue
    record = catalogue.get(media_id)
    if record is None:
        return None
    made = catalogue.previews.get_many([record.sha256]) if record.sha256 else {}
    return _Found(record, made.get(record.sha256 or ""), catalogue.history(media_id))


class _Item:
    """What the page shows. Of it is made anew only what has changed, so that a video goes on and the focus stays."""

    def __init__(self, view: View, found: _Found) -> None:
        self._view, self._found = view, found
        with box("div", "item-head"):
            self._title = text("h1", "")
            self._status = box("p", "stands", role="status")
        self._advice = box("section", "card advice", aria_label=view.t("item.remedy"))
        self._actions = Actions(view, found.record.id, self.again)
        with box("div", "item"):
            with card(view.t("item.preview"), "preview"):
                self._preview = box("div", "preview-body")
            with card(view.t("item.way")):
                self._way = box("div")
            with card(view.t("item.facts"), "wide"):
                self._facts = box("div")
        self._fill()
        self._fill_preview()

    async def again(self) -> None:
        """Looks at the attachment once more."""
        try:
            found = await run_in_threadpool(_look, self._found.record.id)
        except PipelineError:
            return  # it comes back
        if found is None or found == self._found:
            return
        before, self._found = self._found, found
        self._fill()
        if found.to_see != before.to_see:
            self._fill_preview()

    def _fill(self) -> None:
        view, record = self._view, self._found.record
        self._title.text = parts.name_of(record)
        with _anew(self._status):
            parts.badge(view, record)
            text("span", parts.told(view, record), "hint")
        self._advise()
        self._actions.show(record)
        with _anew(self._way):
            timeline.show(view, record, self._found.history)
        with _anew(self._facts):
            if record.caption:
                text("blockquote", record.caption)
            details.show(view, record)

    def _advise(self) -> None:
        view, record = self._view, self._found.record
        ended_badly = record.error_code is not None and record.finished_at is not None and record.deleted_at is None
        words = remedy(record.error_code, language=view.language) if ended_badly else None
        self._advice.set_visibility(ended_badly)
        with _anew(self._advice):
            if words:
                text("p", words.happened, "happened")
                text("p", words.to_do)
            if record.error:
                text("p", view.t("item.said", error=record.error), "hint")

    def _fill_preview(self) -> None:
        with _anew(self._preview):
            preview.show(self._view, self._found.record, self._found.made)


def _anew(element: Element) -> Element:
    element.clear()
    return element


PAGE = Page(
    "/dashboard/media/{media_id}", title="item.title", icon=parts.ICONS[Kind.IMAGE], build=build, in_navigation=False
)
