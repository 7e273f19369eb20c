"""Figures that were kept become tables and charts of a document."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks.charts import svg
from scripts.benchmarks.findings import Chart, columns, shown
from scripts.benchmarks.machine import Trouble

BEGIN, END = "<!-- bench -->", "<!-- end of bench -->"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXAMPLES = examples(
    "scripts/bench all --json var/bench.json && scripts/bench report var/bench.json",
    "scripts/bench report var/bench.json --docs /tmp/mine.md --charts /tmp/charts",
)


@click.command(epilog=EXAMPLES)
@click.argument("figures", type=FILE)
@click.option("--docs", type=FILE, default="docs/performance.md", show_default=True, help="The document.")
@click.option(
    "--charts",
    type=click.Path(file_okay=False, path_type=Path),
    default="docs/images",
    show_default=True,
    help="Where the charts go.",
)
def report(figures: Path, docs: Path, charts: Path) -> None:
    """Writes what measures have kept with --json into a document: its tables between two marks, its charts beside it.

    The document has a line <!-- bench --> and further down a line <!-- end of bench -->; what stands between is
    replaced.
    """
    measures = json.loads(figures.read_text())["measures"]
    text = docs.read_text()
    if BEGIN not in text or END not in text:
        raise Trouble(f"{docs} has no {BEGIN} … {END}")
    charts.mkdir(parents=True, exist_ok=True)
    for finding in measures.values():
        for chart in finding["charts"]:
            (charts / file_of(chart)).write_text(svg(Chart(**chart)))
    docs.write_text(put_in(text, section(measures, relative(charts, docs))))


def relative(charts: Path, docs: Path) -> str:
    """The folder of the charts as the document names it, with a slash at the end."""
    return f"{os.path.relpath(charts, docs.parent)}/"


def put_in(text: str, new: str) -> str:
    """The document with this between its marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def section(measures: Mapping[str, Any], folder: str) -> str:
    """Everything that stands between the marks."""
    return "\n\n".join(part(finding, folder) for finding in measures.values())


def part(finding: Mapping[str, Any], folder: str) -> str:
    """A measure: its title, charts, table, notes and how to make it again."""
    pictures = [f"![{chart['title']}]({folder}{file_of(chart)})" for chart in finding["charts"]]
    machine = finding["machine"]
    made = (
        f"`{finding['command']}`, {finding['at']}; {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['system']}"
    )
    return "\n\n".join([f"### {finding['title']}", *pictures, markdown(finding["rows"]), *finding["notes"], made])


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table, figures at the right."""
    heads = columns(rows)
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *([shown(row.get(head)) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def file_of(chart: Mapping[str, Any]) -> str:
    return f"bench-{chart['name']}.svg"
