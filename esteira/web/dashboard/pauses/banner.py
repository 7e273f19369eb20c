"""The banner at the top of every page: what is paused, since when, by whom and why."""

from __future__ import annotations

from functools import partial

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.moments import Phrase
from esteira.web.dashboard.parts import box, link, text
from esteira.web.dashboard.pauses.buttons import change, may_control
from esteira.web.dashboard.pauses.feed import PAUSE_FEED
from esteira.web.dashboard.pauses.words import paused_words, title_of
from esteira.web.dashboard.view import View
from pipeline.catalogue import Action, Pause, PauseKind
from pipeline.errors import PipelineError

REFRESH_S = 3.0
MAX_SHOWN = 4


class PauseBanner:
    """The pauses that the viewer may see; hidden without one. It keeps its content while the catalogue is away."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown: tuple[Pause, ...] = ()
        self._list = box("ul", "notice paused-now", role="status")
        self._list.set_visibility(False)

    async def start(self) -> None:
        """Shows the pauses now, and after every change while the page is open."""
        await self.refresh()
        ui.timer(REFRESH_S, self.refresh, immediate=False)
        PAUSE_FEED.watch(self.refresh)
        ui.context.client.on_delete(lambda: PAUSE_FEED.leave(self.refresh))

    async def refresh(self) -> None:
        """Updates the banner if the pauses have changed."""
        try:
            pauses = await run_in_threadpool(PAUSE_FEED.visible_to, self._view.caller)
        except PipelineError:
            return  # the next refresh tries again
        if pauses == self._shown:
            return
        self._shown = pauses
        self._list.clear()
        self._list.set_visibility(bool(pauses))
        with self._list:
            for pause in pauses[:MAX_SHOWN]:
                self._line(pause)
            if more := len(pauses) - MAX_SHOWN:
                self._more(more)

    def _line(self, pause: Pause) -> None:
        view = self._view
        with box("li"):
            Phrase(view, "span", paused_words(view, pause), "paused-words")
            if may_control(view, pause.kind):
                label = view.t("now.resume.of", name=title_of(view, pause.kind, pause.name))
                button = text("button", view.t("now.resume"), "button small", type="button", aria_label=label)
                kind: PauseKind = "stage" if pause.kind == "stage" else "session"
                button.on("click", partial(change, view, kind, pause.name, Action.RESUME))

    def _more(self, count: int) -> None:
        if count > 0:
            with box("li"):
                link(self._view.t("pauses.more", count=self._view.number(count)), "/dashboard/sessions")
