"""Writes saved figures into a document, as tables and charts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks.charts import svg
from scripts.benchmarks.machine import BenchmarkError
from scripts.benchmarks.results import Chart, columns, format_figure

BEGIN, END = "<!-- bench -->", "<!-- end of bench -->"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXAMPLES = examples(
    "scripts/bench all --json var/bench.json && scripts/bench report var/bench.json",
    "scripts/bench report var/bench.json --docs /tmp/mine.md --charts /tmp/charts",
)


@click.command(epilog=EXAMPLES)
@click.argument("figures", type=FILE)
@click.option("--docs", type=FILE, default="docs/performance.md", show_default=True, help="Document to update.")
@click.option(
    "--charts",
    type=click.Path(file_okay=False, path_type=Path),
    default="docs/images",
    show_default=True,
    help="Folder for the charts.",
)
def report(figures: Path, docs: Path, charts: Path) -> None:
    """Writes figures that were saved with --json into a document, as tables and charts.

    The text between the lines <!-- bench --> and <!-- end of bench --> of the document is replaced.
    """
    measures = json.loads(figures.read_text())["measures"]
    text = docs.read_text()
    if BEGIN not in text or END not in text:
        raise BenchmarkError(f"{docs} has no {BEGIN} … {END}")
    charts.mkdir(parents=True, exist_ok=True)
    for result in measures.values():
        for chart in result["charts"]:
            (charts / chart_file(chart)).write_text(svg(Chart(**chart)))
    docs.write_text(replace_between_marks(text, render_section(measures, relative(charts, docs))))


def relative(charts: Path, docs: Path) -> str:
    """The path of the charts' folder relative to the document, with a slash at the end."""
    return f"{os.path.relpath(charts, docs.parent)}/"


def replace_between_marks(text: str, new: str) -> str:
    """Replaces the text between the two marks of a document."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def render_section(measures: Mapping[str, Any], folder: str) -> str:
    """The text between the two marks."""
    return "\n\n".join(render_measure(result, folder) for result in measures.values())


def render_measure(result: Mapping[str, Any], folder: str) -> str:
    """One measure: title, charts, table, notes, and the command that repeats it."""
    pictures = [f"![{chart['title']}]({folder}{chart_file(chart)})" for chart in result["charts"]]
    machine = result["machine"]
    footer = (
        f"`{result['command']}`, {result['at']}; {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['system']}"
    )
    return "\n\n".join([f"### {result['title']}", *pictures, markdown(result["rows"]), *result["notes"], footer])


def markdown(rows: list[dict[str, Any]]) -> str:
    """A Markdown table with right-aligned figures."""
    heads = columns(rows)
    lines = [
        heads,
        ["---", *["---:"] * (len(heads) - 1)],
        *([format_figure(row.get(head)) for head in heads] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def chart_file(chart: Mapping[str, Any]) -> str:
    return f"bench-{chart['name']}.svg"
