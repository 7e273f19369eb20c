"""The table of worker processes: state, busy threads, longest run, latest error."""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.operations.workers import WorkerStatus
from esteira.web.dashboard.moments import Moment, Phrase, Piece, pieces_of
from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.view import View

SHOWN = 50
Cell = tuple[Piece, ...]
COLUMNS = ("process", "heart", "busy", "longest", "deaths", "error")


class WorkerTable:
    """A table that is redrawn when a cell has changed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown: list[tuple[Cell, ...]] = []
        with box("table", "table stacked workers"):
            with box("thead"), box("tr"):
                for column in COLUMNS:
                    text("th", view.t(f"now.worker.{column}"), scope="col")
            self._body = box("tbody")
        self._empty = text("p", view.t("now.workers.none"), "hint")

    def show(self, workers: Sequence[WorkerStatus]) -> None:
        """Shows these workers, at most fifty."""
        rows = [(*self._row(worker), ("" if worker.alive else "bad",)) for worker in workers[:SHOWN]]
        self._empty.set_visibility(not rows)
        if rows == self._shown:
            return
        self._shown = rows
        self._body.clear()
        with self._body:
            for *cells, (state,) in rows:
                self._draw(cells, str(state))

    def _draw(self, cells: Sequence[Cell], state: str) -> None:
        with box("tr"):
            Phrase(self._view, "th", cells[0], scope="row")
            for column, cell in zip(COLUMNS[1:], cells[1:], strict=True):
                classes = state if column == "heart" else ""
                Phrase(self._view, "td", cell, classes, data_label=self._view.t(f"now.worker.{column}"))

    def _row(self, worker: WorkerStatus) -> tuple[Cell, ...]:
        view = self._view
        alive = view.t("now.worker.alive")
        heart = alive if worker.alive else view.t("now.worker.silent", span=view.span(worker.last_beat_s // 10 * 10))
        busy = view.t("now.worker.busy.of", running=len(worker.running), threads=worker.threads)
        process = f"{worker.host}:{worker.pid}" if worker.host else worker.id
        deaths = view.number(worker.sandbox_deaths)
        return (process,), (heart,), (busy,), (self._longest(worker),), (deaths,), self._error(worker)

    def _longest(self, worker: WorkerStatus) -> str:
        if not worker.running:
            return "–"
        run, view = worker.running[0], self._view
        seconds = max(0.0, time.time() - run.since_ms / 1000)
        return view.t("now.worker.longest.of", stage=view.t(f"now.stage.{run.stage}"), span=view.span(seconds))

    def _error(self, worker: WorkerStatus) -> Cell:
        error, view = worker.last_error, self._view
        if error is None:
            return ("–",)
        stage = view.t(f"now.stage.{error.stage}")
        return pieces_of(view, "now.worker.error.of", code=error.code.value, stage=stage, at=Moment(error.at))
