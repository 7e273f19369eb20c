"""The page Now: health, stages, throughput, charts, workers and totals."""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui

from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.charts import Charts
from esteira.web.dashboard.health import HealthLines
from esteira.web.dashboard.parts import box, card, figure, heading, show_figure, text
from esteira.web.dashboard.pauses.buttons import PauseButton
from esteira.web.dashboard.pauses.dialog import PauseDialog
from esteira.web.dashboard.shell import Page
from esteira.web.dashboard.status_poller import STATUS_POLLER, Snapshot
from esteira.web.dashboard.view import View
from esteira.web.dashboard.workers import WorkerTable
from pipeline.models import Stage, Status
from pipeline.security.roles import Permission

UNSUCCESSFUL = (Status.REJECTED, Status.FAILED, Status.EXPIRED)
STATES = ("ready", "running", "delayed", "dead")
THROUGHPUT = ("per_minute", "p50", "p95", "unfinished", "oldest")
# The lists of the attachments that figures count; the others count attempts, messages and durations.
LISTS = {
    "received": links.listing(),
    "per_minute": links.listing(since="1h"),
    "unfinished": links.listing(status=Status.RECEIVED),
    **{str(status): links.listing(status=status) for status in (Status.DONE, *UNSUCCESSFUL)},
}
TOTALS = ("received", "done", "rejected", "failed", "expired", "retried", "duplicates", "fallbacks", "ignored")


async def build(view: View) -> None:
    """Builds the page with the latest snapshot and keeps it updated while it is open."""
    snapshot = await STATUS_POLLER.snapshot()
    heading(view.t("now.title"))
    board = Board(view)
    if snapshot:
        board.show(snapshot)
    client = ui.context.client
    client.on_connect(board.connect)
    client.on_disconnect(lambda: STATUS_POLLER.leave(board.show))
    client.on_delete(lambda: STATUS_POLLER.leave(board.show))


class Board:
    """The elements of one open page, updated from snapshots."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._health = HealthLines(view)
        dialog = PauseDialog(view)
        with card(view.t("now.belt"), "belt-card"):
            text("p", view.t("now.belt.lead"), "lead")
            with box("ol", "belt"):
                self._stages = {stage.value: StageCard(view, stage.value, dialog) for stage in Stage}
        with card(view.t("now.pace")), box("dl", "figures"):
            self._throughput = {name: figure(view.t(f"now.{name}"), path=LISTS.get(name)) for name in THROUGHPUT}
        self._charts = Charts(view)
        with card(view.t("now.workers"), "table-card titled"):
            self._workers = WorkerTable(view)
        with card(view.t("now.totals")), box("dl", "figures small"):
            self._totals = {name: figure(view.t(f"now.total.{name}"), path=LISTS.get(name)) for name in TOTALS}

    def connect(self) -> None:
        """Called when the browser has painted the page."""
        self._charts.draw()
        STATUS_POLLER.watch(self.show)

    def show(self, snapshot: Snapshot) -> None:
        """Updates the page from a snapshot. Unreachable parts keep their last figures."""
        self._health.show(snapshot)
        if snapshot.queue:
            for name, stage in self._stages.items():
                stage.show_counts(snapshot.queue.counts.get(name, {}))
            self._workers.show(snapshot.queue.workers)
        if snapshot.catalogue_status:
            self._show_throughput(snapshot)
            self._charts.show(snapshot.catalogue_status.minutes)
            for name, element in self._totals.items():
                show_figure(element, self._view.number(snapshot.catalogue_status.totals.get(name, 0)))
            for name, stage in self._stages.items():
                stage.show_paused(name in snapshot.catalogue_status.paused)

    def _show_throughput(self, snapshot: Snapshot) -> None:
        catalogue_status, view = snapshot.catalogue_status, self._view
        assert catalogue_status
        shown = {"per_minute": view.number(catalogue_status.per_minute)}
        shown["unfinished"] = view.number(catalogue_status.unfinished)
        shown["oldest"] = view.span(catalogue_status.oldest_s) if catalogue_status.oldest_s else view.t("now.none")
        for name in ("p50", "p95"):
            took = catalogue_status.durations[name]
            shown[name] = "–" if took is None else view.span(took / 1000)
        for name, value in shown.items():
            show_figure(self._throughput[name], value)


class StageCard:
    """One stage: its message counts and its pause button."""

    def __init__(self, view: View, name: str, dialog: PauseDialog) -> None:
        self._view = view
        self._name = name
        self._title = view.t(f"now.stage.{name}")
        with box("li", "stage") as self._card:
            text("h3", self._title)
            text("p", view.t(f"now.stage.{name}.does"), "hint")
            with box("dl", "states"):
                self._figures = {
                    state: figure(view.t(f"now.{state}"), state, path=_list_of(name, state)) for state in STATES
                }
            self._button = PauseButton(view, "stage", name, dialog)

    def show_counts(self, counts: Mapping[str, int]) -> None:
        """Shows how many messages are in each state."""
        for state, element in self._figures.items():
            show_figure(element, self._view.number(counts.get(state, 0)))

    def show_paused(self, paused: bool) -> None:
        """Shows whether the stage is paused."""
        self._button.show(paused)
        self._card.classes("paused") if paused else self._card.classes(remove="paused")


def _list_of(stage: str, state: str) -> str:
    """The list of the attachments at a stage in a state. The database does not tell waiting from running ones."""
    unfinished = Status.STORED if stage == Stage.NOTIFY else Status.RECEIVED
    return links.listing(stage=stage, status=Status.FAILED if state == "dead" else unfinished)


PAGE = Page(
    "/",
    title="now.title",
    icon="M3 12h4l3-8 4 16 3-8h4",
    build=build,
    permission=Permission.SYSTEM,
)
