"""What happens now: the stages as a belt, pace, charts, and in plain words how things stand."""

from __future__ import annotations

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from pipeline.models import Stage
from web.dashboard.charts import Charts
from web.dashboard.health import Health
from web.dashboard.parts import box, card, heading, text
from web.dashboard.sampler import SAMPLER, Snapshot
from web.dashboard.shell import Page
from web.dashboard.view import View

STATES = ("ready", "running", "delayed", "dead")
PACE = ("per_minute", "p50", "p95", "unfinished", "oldest")
TOTALS = ("received", "done", "rejected", "failed", "expired", "retried", "duplicates", "fallbacks", "ignored")


async def build(view: View) -> None:
    """The page with the figures of this moment; from then on it is told of new ones for as long as it is open."""
    snapshot = await SAMPLER.snapshot()
    heading(view.t("now.title"))
    board = Board(view)
    if snapshot:
        board.show(snapshot)
    client = ui.context.client
    client.on_connect(lambda: SAMPLER.watch(board.show))
    client.on_disconnect(lambda: SAMPLER.leave(board.show))
    client.on_delete(lambda: SAMPLER.leave(board.show))


class Board:
    """The elements of one open page, and how they follow the figures."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._health = Health(view)
        self._stages: dict[str, dict[str, TextElement]] = {}
        with card(view.t("now.belt"), "belt-card"):
            text("p", view.t("now.belt.lead"), "lead")
            with box("ol", "belt"):
                for stage in Stage:
                    self._stages[stage.value] = _stage(view, stage.value)
        with card(view.t("now.pace")), box("dl", "figures"):
            self._pace = {name: _figure(view.t(f"now.{name}")) for name in PACE}
        self._charts = Charts(view)
        with card(view.t("now.totals")), box("dl", "figures small"):
            self._totals = {name: _figure(view.t(f"now.total.{name}")) for name in TOTALS}

    def show(self, found: Snapshot) -> None:
        """Brings the page up to this snapshot. What is away keeps its last figures."""
        self._health.show(found)
        if found.belt:
            for stage, elements in self._stages.items():
                for state, element in elements.items():
                    self._set(element, self._view.number(found.belt.counts.get(stage, {}).get(state, 0)))
        if found.rows:
            self._show_pace(found)
            self._charts.show(found.rows.minutes)
            for name, element in self._totals.items():
                self._set(element, self._view.number(found.rows.totals.get(name, 0)))

    def _show_pace(self, found: Snapshot) -> None:
        rows, view = found.rows, self._view
        assert rows
        ended = sum(rows.totals[name] for name in ("done", "rejected", "failed", "expired"))
        shown = {"per_minute": view.number(rows.per_minute)}
        shown["unfinished"] = view.number(max(0, rows.totals["received"] - ended))
        shown["oldest"] = view.span(rows.oldest_s) if rows.oldest_s else view.t("now.none")
        for name in ("p50", "p95"):
            took = rows.durations[name]
            shown[name] = "–" if took is None else view.span(took / 1000)
        for name, value in shown.items():
            self._set(self._pace[name], value)

    def _set(self, element: TextElement, value: str) -> None:
        if element.text != value:
            element.text = value
            element.classes("changed") if value not in {"0", "–"} else element.classes(remove="changed")


def _stage(view: View, name: str) -> dict[str, TextElement]:
    with box("li", "stage"):
        text("h3", view.t(f"now.stage.{name}"))
        text("p", view.t(f"now.stage.{name}.does"), "hint")
        with box("dl", "states"):
            return {state: _figure(view.t(f"now.{state}"), state) for state in STATES}


def _figure(label: str, classes: str = "") -> TextElement:
    with box("div", classes):
        text("dt", label)
        return text("dd", "–")


PAGE = Page(
    "/",
    title="now.title",
    icon="M3 12h4l3-8 4 16 3-8h4",
    build=build,
)
