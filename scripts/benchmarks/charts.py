"""Bar charts as SVG, readable on light and dark pages and without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate

from scripts.benchmarks.results import Chart, format_figure

WIDTH = 760
NAME_WIDTH = 190  # px, for the names of the bars
FIGURE_WIDTH = 90  # px, for the figures behind them
ROW_HEIGHT, BAR, TOP, EDGE = 34, 20, 44, 12
LETTER_WIDTH = 7.5  # px, the approximate width of one letter in the legend
STYLE = """
 .page { fill: #ffffff } text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 }
 .soft { fill: #59636e } .ours, .part0 { fill: #1a7f37 } .other { fill: #8c959f } .part1 { fill: #bf8700 }
 .part2 { fill: #8250df }
 @media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 } text { fill: #f0f6fc } .soft { fill: #9198a1 } .ours, .part0 { fill: #3fb950 }
  .other { fill: #656c76 } .part1 { fill: #d29922 } .part2 { fill: #ab7df8 }
 }
"""


def svg(chart: Chart) -> str:
    """The chart as an SVG document. The longest bar has the full width."""
    height = TOP + ROW_HEIGHT * len(chart.bars) + EDGE + (ROW_HEIGHT if chart.parts else 0)
    room = WIDTH - NAME_WIDTH - FIGURE_WIDTH - 2 * EDGE
    longest = max((sum(parts) for _, parts in chart.bars), default=0) or 1
    parts_drawn = [
        _bar(chart, name, parts, top=TOP + ROW_HEIGHT * number, scale=room / longest)
        for number, (name, parts) in enumerate(chart.bars)
    ]
    description = "; ".join(f"{name} {format_figure(float(sum(parts)))} {chart.unit}" for name, parts in chart.bars)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' role="img" aria-label="{escape(f"{chart.title}: {description}")}">',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
            f'<text class="title" x="{EDGE}" y="26">{escape(chart.title)}</text>',
            *parts_drawn,
            *_legend(chart, TOP + ROW_HEIGHT * len(chart.bars)),
            "</svg>\n",
        ]
    )


def _bar(chart: Chart, name: str, parts: Sequence[float], *, top: float, scale: float) -> str:
    """The name of a bar, its parts side by side, and their sum."""
    middle, left = top + BAR / 2 + 4.5, NAME_WIDTH + EDGE
    ends = list(accumulate(max(0.0, part) * scale for part in parts))
    rects = [
        f'<rect class="{_class(chart, name, number)}" x="{left + end - max(0.0, part) * scale:.1f}" y="{top}" '
        f'width="{max(0.0, part) * scale:.1f}" height="{BAR}"/>'
        for number, (part, end) in enumerate(zip(parts, ends, strict=True))
    ]
    figure = f"{format_figure(float(sum(parts)))} {chart.unit}"
    return (
        f'<text x="{NAME_WIDTH}" y="{middle}" text-anchor="end">{escape(name)}</text>{"".join(rects)}'
        f'<text class="soft" x="{left + ends[-1] + 8:.1f}" y="{middle}">{escape(figure)}</text>'
    )


def _class(chart: Chart, name: str, number: int) -> str:
    if chart.parts:
        return f"part{number}"
    named = any(other == chart.ours for other, _ in chart.bars)
    return "ours" if name == chart.ours or not named else "other"


def _legend(chart: Chart, top: float) -> list[str]:
    """The legend, if the bars have parts."""
    parts_drawn, left = [], float(NAME_WIDTH + EDGE)
    for number, name in enumerate(chart.parts):
        parts_drawn.append(f'<rect class="part{number}" x="{left}" y="{top + 8}" width="12" height="12"/>')
        parts_drawn.append(f'<text class="soft" x="{left + 18}" y="{top + 19}">{escape(name)}</text>')
        left += 18 + LETTER_WIDTH * len(name) + 22
    return parts_drawn
