"""The page of one attachment: preview, details, timeline and actions, refreshed while it is open."""

from __future__ import annotations

from typing import NamedTuple

from nicegui import ui
from nicegui.element import Element
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.attachments import details, links, parts, preview, timeline
from esteira.web.dashboard.attachments.actions import Actions
from esteira.web.dashboard.moments import Phrase
from esteira.web.dashboard.parts import box, card, link, text
from esteira.web.dashboard.pauses.feed import PAUSE_FEED, pause_of
from esteira.web.dashboard.pauses.words import waiting_words
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.view import View
from pipeline.catalogue import Pause, Preview
from pipeline.errors import PipelineError
from pipeline.history import HistoryEntry
from pipeline.models import Kind, Record
from pipeline.remedies import remedy
from pipeline.remedies.messages import translated
from pipeline.services import services

REFRESH_S = 1.0


async def build(view: View) -> None:
    """Builds the page of the attachment in the address."""
    media_id = ui.context.client.request.path_params["media_id"]
    link(view.t("item.back"), links.MEDIA, "back")
    try:
        loaded = await run_in_threadpool(_load, media_id)
    except PipelineError:
        text("h1", view.t("item.title"))
        text("p", view.t("shell.away"), "notice", role="status")
        return
    if loaded is None or not view.caller.sees(loaded.record):
        text("h1", view.t("item.title"))
        text("p", view.t("item.unknown"), "empty", role="status")
        return
    shown = AttachmentView(view, loaded)
    ui.timer(REFRESH_S, shown.refresh, immediate=False)


class _Loaded(NamedTuple):
    record: Record
    made: Preview | None
    history: list[HistoryEntry]
    pause: Pause | None = None

    @property
    def preview_key(self) -> object:
        """The values that the preview depends on."""
        return self.record.storage_key, self.record.deleted_at, self.record.mime, self.made


def _load(media_id: str) -> _Loaded | None:
    catalogue = services().catalogue
    record = catalogue.get(media_id)
    if record is None:
        return None
    made = catalogue.previews.get_many([record.sha256]) if record.sha256 else {}
    pause = pause_of(record, PAUSE_FEED.current())
    return _Loaded(record, made.get(record.sha256 or ""), catalogue.history(media_id), pause)


class AttachmentView:
    """The elements of the page. Only changed parts are rebuilt, so that a video keeps playing and the focus stays."""

    def __init__(self, view: View, loaded: _Loaded) -> None:
        self._view, self._loaded = view, loaded
        with box("div", "item-head"):
            self._title = text("h1", "")
            self._status = box("p", "stands", role="status")
        self._waits = Phrase(view, "p", (), "notice", role="status")
        self._advice = box("section", "card advice", aria_label=view.t("item.remedy"))
        self._actions = Actions(view, loaded.record.id, self.refresh)
        with box("div", "item"):
            with card(view.t("item.preview"), "preview"):
                self._preview = box("div", "preview-body")
            with card(view.t("item.way")):
                self._timeline = box("div")
            with card(view.t("item.facts"), "wide"):
                self._details = box("div")
        self._fill()
        self._fill_preview()

    async def refresh(self) -> None:
        """Reads the attachment again and updates the page."""
        try:
            loaded = await run_in_threadpool(_load, self._loaded.record.id)
        except PipelineError:
            return  # the next refresh tries again
        if loaded is None or loaded == self._loaded:
            return
        before, self._loaded = self._loaded, loaded
        self._fill()
        if loaded.preview_key != before.preview_key:
            self._fill_preview()

    def _fill(self) -> None:
        view, record = self._view, self._loaded.record
        self._title.text = parts.name_of(record)
        with _emptied(self._status):
            parts.badge(view, record)
            text("span", parts.summary(view, record), "hint")
        self._waits.set_visibility(self._loaded.pause is not None)
        if self._loaded.pause:
            self._waits.show(waiting_words(view, self._loaded.pause))
        self._advise()
        self._actions.show(record)
        with _emptied(self._timeline):
            timeline.show(view, record, self._loaded.history)
        with _emptied(self._details):
            if record.caption:
                text("blockquote", record.caption)
            details.show(view, record)

    def _advise(self) -> None:
        view, record = self._view, self._loaded.record
        unsuccessful = record.error_code is not None and record.finished_at is not None and record.deleted_at is None
        words = remedy(record.error_code, language=view.language) if unsuccessful else None
        self._advice.set_visibility(unsuccessful)
        with _emptied(self._advice):
            if words:
                text("p", words.happened, "happened")
                text("p", words.to_do)
            if record.error:
                text("p", view.t("item.said", error=translated(record.error, view.language)), "hint")

    def _fill_preview(self) -> None:
        with _emptied(self._preview):
            preview.show(self._view, self._loaded.record, self._loaded.made)


def _emptied(element: Element) -> Element:
    element.clear()
    return element


PAGE = Page(
    "/dashboard/media/{media_id}", title="item.title", icon=parts.ICONS[Kind.IMAGE], build=build, in_navigation=False
)
