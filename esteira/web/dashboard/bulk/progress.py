"""The progress of the bulk action, on the pages where one can be started."""

from __future__ import annotations

from nicegui import ui

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.bulk.run import BULK_RUNS, MISSED_SHOWN, BulkRun
from esteira.web.dashboard.faults import fault
from esteira.web.dashboard.parts import box, link, text
from esteira.web.dashboard.recorded import PERMISSION_OF
from esteira.web.dashboard.view import View

REFRESH_S = 0.5


class Progress:
    """The running bulk action, or the results of the last one until they are dismissed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown: tuple[object, ...] | None = None
        self._card = box("section", "card round", aria_label=view.t("bulk.progress"))
        with self._card:
            self._status = text("p", "", role="status")
            self._bar = text("progress", "", max=1, value=0, aria_label=view.t("bulk.progress"))
            self._stop = text("button", view.t("bulk.stop"), "button", type="button")
            self._stop.on("click", self._end)
            self._results = box("div", "results")
            self._hint = text("p", view.t("bulk.hint"), "hint")
        self.show()
        ui.timer(REFRESH_S, self.show, immediate=False)

    def show(self) -> None:
        """Updates the page if the progress has changed."""
        now = BULK_RUNS.visible_to(self._view.caller)
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
        self._stop.text = self._view.t("bulk.put_away" if now.finished else "bulk.stop")
        self._stop.set_visibility(self._may_end(now))
        self._fill(now)

    def _words(self, now: BulkRun) -> str:
        view, name = self._view, now.action.name
        figures = {"sent": view.number(now.sent), "total": view.number(now.total)}
        if now.fault:
            return view.t("bulk.broke_off", reason=fault(view, now.fault), **figures)
        if now.finished:
            return view.t(f"bulk.stopped.{name}" if now.stopped else f"bulk.over.{name}", **figures)
        return view.t(f"bulk.going.{name}", **figures)

    def _fill(self, now: BulkRun) -> None:
        self._results.clear()
        if not (now.finished and now.missed_count):
            return
        with self._results:
            text("p", self._view.t("bulk.missed", count=self._view.number(now.missed_count)))
            with box("ul"):
                for media_id in now.missed[:MISSED_SHOWN]:
                    with box("li"):
                        link(media_id, links.page(media_id))

    def _may_end(self, run: BulkRun) -> bool:
        return self._view.caller.may(PERMISSION_OF[run.action.action])

    def _end(self) -> None:
        visible = BULK_RUNS.visible_to(self._view.caller)
        if visible is None or not self._may_end(visible):
            return
        if BULK_RUNS.running:
            visible.stop(by=self._view.caller.name)
        else:
            BULK_RUNS.dismiss()
        self.show()
