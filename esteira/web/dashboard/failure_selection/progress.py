"""The progress of the bulk replay, for every viewer of the page."""

from __future__ import annotations

from nicegui import ui

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.bulk_replay import BULK_REPLAY, MISSED_SHOWN, ReplayRun
from esteira.web.dashboard.faults import fault
from esteira.web.dashboard.parts import box, link, text
from esteira.web.dashboard.view import View
from pipeline.security.roles import Permission

REFRESH_S = 0.5


class Progress:
    """The running bulk replay, or the results of the last one until they are dismissed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown: tuple[object, ...] | None = None
        self._card = box("section", "card round", aria_label=view.t("failures.round"))
        with self._card:
            self._status = text("p", "", role="status")
            self._bar = text("progress", "", max=1, value=0, aria_label=view.t("failures.round"))
            self._stop = text("button", view.t("failures.stop"), "button", type="button")
            self._stop.on("click", self._end)
            self._stop.set_visibility(view.caller.may(Permission.REPLAY))
            self._results = box("div", "results")
            self._hint = text("p", view.t("failures.round.hint"), "hint")
        self.show()
        ui.timer(REFRESH_S, self.show, immediate=False)

    def show(self) -> None:
        """Updates the page if the progress has changed."""
        now = BULK_REPLAY.visible_to(self._view.caller)
        shown = (id(now), now.tried, now.finished, now.stopped) if now else (None,)
        if shown == self._shown:
            return
        self._shown = shown
        self._card.set_visibility(now is not None)
        if now is None:
            return
        self._status.text = self._words(now)
        self._bar.props["max"], self._bar.props["value"] = max(1, now.total), now.tried
        self._bar.update()
        self._bar.set_visibility(not now.finished)
        self._hint.set_visibility(not now.finished)
        self._stop.text = self._view.t("failures.put_away" if now.finished else "failures.stop")
        self._fill(now)

    def _words(self, now: ReplayRun) -> str:
        view = self._view
        figures = {"sent": view.number(now.sent), "total": view.number(now.total)}
        if now.fault:
            return view.t("failures.broke_off", reason=fault(view, now.fault), **figures)
        if now.finished:
            return view.t("failures.stopped" if now.stopped else "failures.over", **figures)
        return view.t("failures.going", **figures)

    def _fill(self, now: ReplayRun) -> None:
        self._results.clear()
        if not (now.finished and now.missed_count):
            return
        with self._results:
            text("p", self._view.t("failures.missed", count=self._view.number(now.missed_count)))
            with box("ul"):
                for media_id in now.missed[:MISSED_SHOWN]:
                    with box("li"):
                        link(media_id, links.page(media_id))

    def _end(self) -> None:
        visible = BULK_REPLAY.visible_to(self._view.caller)
        if visible is None or not self._view.caller.may(Permission.REPLAY):
            return
        if BULK_REPLAY.running:
            visible.stop(by=self._view.caller.name)
        else:
            BULK_REPLAY.dismiss()
        self.show()
