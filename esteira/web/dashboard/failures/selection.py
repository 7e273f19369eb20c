"""The selection on the page Failures, with its dry run and its replay button."""

from __future__ import annotations

from nicegui.element import Element
from nicegui.events import GenericEventArguments
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.bulk.actions import REPLAY
from esteira.web.dashboard.bulk.progress import Progress
from esteira.web.dashboard.bulk.selections import ReplayForecast, ReplaySelection, forecast
from esteira.web.dashboard.bulk.start import RateChoice, start
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.view import View
from pipeline.errors import PipelineError
from pipeline.models import Stage
from pipeline.security.roles import Permission
from pipeline.services import services

CHECKED = "(event) => emit(event.target.checked)"


class Selection:
    """The selected groups and attachments, and the bar at the bottom of the page."""

    def __init__(self, view: View, since: int, progress: Progress) -> None:
        self._view, self._since, self._progress = view, since, progress
        self._groups: dict[tuple[str, Stage], None] = {}
        self._ids: dict[str, None] = {}

    def watch_group(self, tick: Element, code: str, stage: Stage) -> None:
        """Tracks a group's checkbox."""
        tick.on("change", lambda event: self._note(self._groups, (code, stage), event), js_handler=CHECKED)

    def watch_one(self, tick: Element, media_id: str) -> None:
        """Tracks an attachment's checkbox."""
        tick.on("change", lambda event: self._note(self._ids, media_id, event), js_handler=CHECKED)

    def show_bar(self) -> None:
        """Adds the bar with the buttons."""
        view = self._view
        self._bar = box("section", "card bar", aria_label=view.t("failures.replay"))
        with self._bar:
            self._status = text("p", "", role="status")
            with box("div", "actions"):
                text("button", view.t("failures.dry_run"), "button", type="button").on("click", self._dry_run)
                text("button", view.t("failures.replay"), "button primary", type="button").on("click", self._replay)
                self._rate = RateChoice(view, "rate")
        self._bar.set_visibility(False)

    def _note(self, chosen: dict, what: object, event: GenericEventArguments) -> None:  # type: ignore[type-arg]
        if event.args is True:
            chosen[what] = None
        else:
            chosen.pop(what, None)
        may_replay = self._view.caller.may(Permission.REPLAY)
        self._bar.set_visibility(may_replay and bool(self._groups or self._ids))
        self._status.text = self._view.t(
            "failures.chosen", groups=self._view.number(len(self._groups)), ones=self._view.number(len(self._ids))
        )

    @property
    def _selected(self) -> ReplaySelection:
        return ReplaySelection(tuple(self._groups), tuple(self._ids), self._since, self._view.caller)

    async def _dry_run(self) -> None:
        expected = await self._forecast(self._selected)
        if expected:
            self._status.text = forecast_text(self._view, expected)

    async def _replay(self) -> None:
        if not self._view.caller.may(Permission.REPLAY):
            self._status.text = self._view.t("shell.forbidden")
            return
        selection = self._selected
        expected = await self._forecast(selection)
        if expected is None or not expected.total:
            self._status.text = self._view.t("failures.gone") if expected else self._status.text
            return
        refusal = await start(self._view, REPLAY, selection, total=expected.total, rate=self._rate.value)
        self._status.text = refusal or forecast_text(self._view, expected)
        self._progress.show()

    async def _forecast(self, selection: ReplaySelection) -> ReplayForecast | None:
        try:
            return await run_in_threadpool(lambda: forecast(services().catalogue, selection))
        except PipelineError:
            self._status.text = self._view.t("shell.failed", reason=self._view.t("fault.catalogue"))
            return None


def forecast_text(view: View, expected: ReplayForecast) -> str:
    """What a replay would do, in words."""
    words = [view.t("failures.would", count=view.number(expected.total))]
    if expected.resumed:
        words.append(view.t("failures.would.resume", count=view.number(expected.resumed)))
    if expected.fetched:
        words.append(view.t("failures.would.fetch", count=view.number(expected.fetched)))
    if expected.expired:
        words.append(view.t("failures.would.expire", count=view.number(expected.expired)))
    return " ".join(words)
