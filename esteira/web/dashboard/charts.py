"""Two charts of the last hour, each with its figures in words for screen readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from esteira.web.dashboard.parts import box, card, text
from esteira.web.dashboard.view import View
from pipeline.catalogue.statistics import Minute

RESULT_COLORS = {"done": "#0f9d8a", "expired": "#8a94a6", "rejected": "#e0a526", "failed": "#d6455d"}
LINES = {"p50": "#0f9d8a", "p95": "#e0a526"}
# Readable on light and on dark: a chart does not know which of the two the system has chosen.
QUIET, GRID = "#737e8d", "rgba(125,135,150,0.22)"
FONT = {"color": QUIET, "fontFamily": "Roboto, system-ui, sans-serif", "fontSize": 11}
CLOCK = {**FONT, ":formatter": "(at) => window.esteira.clock(at?.value ?? at)"}  # in the browser's zone
AXIS = {"axisLine": {"lineStyle": {"color": GRID}}, "axisTick": {"show": False}, "axisLabel": FONT}


class Charts:
    """Results by the minute and durations by the minute, drawn after the page is painted."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown: tuple[Minute, ...] = ()
        self._throughput: ui.echart | None = None
        self._durations: ui.echart | None = None
        with box("div", "charts"):
            with card(view.t("now.throughput")):
                self._throughput_summary = text("p", "", "hint")
                self._throughput_place = box("div", "chart", aria_hidden="true")
            with card(view.t("now.durations")):
                self._durations_summary = text("p", "", "hint")
                self._durations_place = box("div", "chart", aria_hidden="true")

    def draw(self) -> None:
        """Loads the chart library, which is as large as the rest of the page, and draws the known minutes."""
        if self._throughput and self._durations:
            return
        with self._throughput_place:
            self._throughput = ui.echart(self._throughput_options())
        with self._durations_place:
            self._durations = ui.echart(self._durations_options())
        self._draw(self._shown)

    def show(self, minutes: Sequence[Minute]) -> None:
        """Draws these minutes if they differ from the ones drawn."""
        if tuple(minutes) == self._shown:
            return
        self._shown = tuple(minutes)
        self._draw(minutes)
        self._throughput_summary.text = self._describe_throughput(minutes)
        self._durations_summary.text = self._describe_durations(minutes)

    def _draw(self, minutes: Sequence[Minute]) -> None:
        throughput, durations = self._throughput, self._durations
        if not (throughput and durations):
            return
        throughput.options["xAxis"]["data"] = durations.options["xAxis"]["data"] = [minute.at for minute in minutes]
        for series, name in zip(throughput.options["series"], RESULT_COLORS, strict=True):
            series["data"] = [minute.results.get(name, 0) for minute in minutes]
        for series, name in zip(durations.options["series"], LINES, strict=True):
            series["data"] = [_seconds(getattr(minute, f"{name}_ms")) for minute in minutes]
        throughput.update()
        durations.update()

    def _describe_throughput(self, minutes: Sequence[Minute]) -> str:
        view = self._view
        sums = {name: sum(minute.results.get(name, 0) for minute in minutes) for name in RESULT_COLORS}
        results = ", ".join(f"{view.number(n)} {view.t(f'now.status.{name}')}" for name, n in sums.items() if n)
        most = max((sum(minute.results.get(name, 0) for name in RESULT_COLORS) for minute in minutes), default=0)
        total = view.number(sum(sums.values()))
        return view.t("now.throughput.summary", total=total, results=results or "0", most=view.number(most))

    def _describe_durations(self, minutes: Sequence[Minute]) -> str:
        timed = [minute for minute in minutes if minute.p50_ms is not None and minute.p95_ms is not None]
        if not timed:
            return self._view.t("now.durations.none")
        p50, p95 = ((took or 0) / 1000 for took in (timed[-1].p50_ms, timed[-1].p95_ms))
        return self._view.t("now.durations.summary", p50=self._view.span(p50), p95=self._view.span(p95))

    def _throughput_options(self) -> dict[str, Any]:
        bars = [
            {
                "name": self._view.t(f"now.status.{name}"),
                "type": "bar",
                "stack": "results",
                "itemStyle": {"color": color},
                "barCategoryGap": "25%",
                "data": [],
            }
            for name, color in RESULT_COLORS.items()
        ]
        return _options(bars, self._view.language, unit="")

    def _durations_options(self) -> dict[str, Any]:
        lines = [
            {
                "name": self._view.t(f"now.durations.{name}"),
                "type": "line",
                "itemStyle": {"color": color},
                "lineStyle": {"width": 2, "color": color},
                "symbol": "circle",
                "symbolSize": 4,
                "connectNulls": False,
                "data": [],
            }
            for name, color in LINES.items()
        ]
        return _options(lines, self._view.language, unit=" s")


def _options(series: list[dict[str, Any]], language: str, *, unit: str) -> dict[str, Any]:
    return {
        "animation": False,
        "grid": {"left": 4, "right": 8, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "left": 0, "itemWidth": 10, "itemHeight": 10, "icon": "circle", "textStyle": FONT},
        # As text: markup would contain style attributes, which the policy forbids.
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
        "xAxis": {"type": "category", "data": [], **AXIS, "axisLabel": CLOCK, "axisPointer": {"label": CLOCK}},
        "yAxis": {
            "type": "value",
            "minInterval": 0 if unit else 1,
            "splitLine": {"lineStyle": {"color": GRID}},
            "axisLabel": {**FONT, ":formatter": f"(n) => n.toLocaleString('{language}') + '{unit}'"},
        },
        "series": series,
    }


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else round(ms / 1000, 3)
