"""How far the round of replays is, for whoever opens the page while it goes on."""

from __future__ import annotations

from nicegui import ui

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.attachments.actions import fault
from esteira.web.dashboard.bulk_replay import MISSED_SHOWN, ROUNDS, Round
from esteira.web.dashboard.parts import box, link, text
from esteira.web.dashboard.view import View

AGAIN_S = 0.5
SAID_S = 5.0  # a screen reader is told no more often


class Progress:
    """The round that goes on, or the last one and its results, until they are put away."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown: tuple[object, ...] | None = None
        self._card = box("section", "card round", aria_label=view.t("failures.round"))
        with self._card:
            self._told = text("p", "", role="status")
            self._bar = text("progress", "", max=1, value=0, aria_label=view.t("failures.round"))
            self._stop = text("button", view.t("failures.stop"), "button", type="button")
            self._stop.on("click", self._end)
            self._results = box("div", "results")
            text("p", view.t("failures.round.hint"), "hint")
        self.show()
        ui.timer(AGAIN_S, self.show, immediate=False)

    def show(self) -> None:
        """As it stands now; nothing of the page changes unless it does."""
        now = ROUNDS.last
        shown = (id(now), now.tried, now.over, now.stopped) if now else (None,)
        if shown == self._shown:
            return
        self._shown = shown
        self._card.set_visibility(now is not None)
        if now is None:
            return
        self._told.text = self._words(now)
        self._bar.props["max"], self._bar.props["value"] = max(1, now.total), now.tried
        self._bar.update()
        self._bar.set_visibility(not now.over)
        self._stop.text = self._view.t("failures.put_away" if now.over else "failures.stop")
        self._fill(now)

    def _words(self, now: Round) -> str:
        view = self._view
        figures = {"sent": view.number(now.sent), "total": view.number(now.total)}
        if now.fault:
            return view.t("failures.broke_off", reason=fault(view, now.fault), **figures)
        if now.over:
            return view.t("failures.stopped" if now.stopped else "failures.over", **figures)
        return view.t("failures.going", **figures)

    def _fill(self, now: Round) -> None:
        self._results.clear()
        if not (now.over and now.missed_count):
            return
        with self._results:
            text("p", self._view.t("failures.missed", count=self._view.number(now.missed_count)))
            with box("ul"):
                for media_id in now.missed[:MISSED_SHOWN]:
                    with box("li"):
                        link(media_id, links.page(media_id))

    def _end(self) -> None:
        if ROUNDS.running and ROUNDS.last:
            ROUNDS.last.stop()
        else:
            ROUNDS.forget()
        self.show()
