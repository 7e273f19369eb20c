"""What was selected on the page of failures, what its replay would do, and the button that begins it."""

from __future__ import annotations

from nicegui.element import Element
from nicegui.events import GenericEventArguments
from starlette.concurrency import run_in_threadpool

from esteira.web.dashboard.bulk_replay import RATES, ROUNDS, Choice, Forecast, forecast
from esteira.web.dashboard.failure_selection.progress import Progress
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.view import View
from pipeline.errors import PipelineError
from pipeline.models import Stage
from pipeline.services import services

CHECKED = "(event) => emit(event.target.checked)"
VALUE = "(event) => emit(event.target.value)"


class Selection:
    """The groups and the single ones that are ticked, and the bar below the page."""

    def __init__(self, view: View, since: int, progress: Progress) -> None:
        self._view, self._since, self._progress = view, since, progress
        self._groups: dict[tuple[str, Stage], None] = {}
        self._ids: dict[str, None] = {}
        self._rate = RATES[1]

    def watch_group(self, tick: Element, code: str, stage: Stage) -> None:
        """Follows the box of a group."""
        tick.on("change", lambda event: self._note(self._groups, (code, stage), event), js_handler=CHECKED)

    def watch_one(self, tick: Element, media_id: str) -> None:
        """Follows the box of one attachment."""
        tick.on("change", lambda event: self._note(self._ids, media_id, event), js_handler=CHECKED)

    def show_bar(self) -> None:
        """The buttons, and what the replay would do."""
        view = self._view
        self._bar = box("section", "card bar", aria_label=view.t("failures.replay"))
        with self._bar:
            self._told = text("p", "", role="status")
            with box("div", "actions"):
                text("button", view.t("failures.dry_run"), "button", type="button").on("click", self._dry_run)
                text("button", view.t("failures.replay"), "button primary", type="button").on("click", self._replay)
                text("label", view.t("failures.rate"), "hint", for_="rate")
                self._rates()
        self._bar.set_visibility(False)

    def _rates(self) -> None:
        with box("select", "", id="rate") as rates:
            for rate in RATES:
                option = text("option", self._view.t("failures.per_second", count=rate), value=rate)
                if rate == self._rate:
                    option.props["^selected"] = "selected"
        rates.on("change", self._set_rate, js_handler=VALUE)

    def _set_rate(self, event: GenericEventArguments) -> None:
        given = str(event.args)
        self._rate = next((rate for rate in RATES if str(rate) == given), self._rate)

    def _note(self, chosen: dict, what: object, event: GenericEventArguments) -> None:  # type: ignore[type-arg]
        if event.args is True:
            chosen[what] = None
        else:
            chosen.pop(what, None)
        self._bar.set_visibility(bool(self._groups or self._ids))
        self._told.text = self._view.t(
            "failures.chosen", groups=self._view.number(len(self._groups)), ones=self._view.number(len(self._ids))
        )

    @property
    def _choice(self) -> Choice:
        return Choice(tuple(self._groups), tuple(self._ids), self._since)

    async def _dry_run(self) -> None:
        found = await self._forecast(self._choice)
        if found:
            self._told.text = told(self._view, found)

    async def _replay(self) -> None:
        choice = self._choice
        found = await self._forecast(choice)
        if found is None or not found.total:
            self._told.text = self._view.t("failures.gone") if found else self._told.text
            return
        if ROUNDS.begin(choice, total=found.total, rate=self._rate) is None:
            self._told.text = self._view.t("failures.busy")
            return
        self._told.text = told(self._view, found)
        self._progress.show()

    async def _forecast(self, choice: Choice) -> Forecast | None:
        try:
            return await run_in_threadpool(lambda: forecast(services().catalogue, choice))
        except PipelineError:
            self._told.text = self._view.t("shell.failed", reason=self._view.t("fault.catalogue"))
            return None


def told(view: View, found: Forecast) -> str:
    """What a replay would do, in words."""
    words = [view.t("failures.would", count=view.number(found.total))]
    if found.resumed:
        words.append(view.t("failures.would.resume", count=view.number(found.resumed)))
    if found.fetched:
        words.append(view.t("failures.would.fetch", count=view.number(found.fetched)))
    if found.expired:
        words.append(view.t("failures.would.expire", count=view.number(found.expired)))
    return " ".join(words)
