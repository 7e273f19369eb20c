"""Tests for scripts/bench report: well-formed charts to scale, and tables between two marks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.benchmarks.charts import svg
from scripts.benchmarks.report import BEGIN, END, report
from scripts.benchmarks.results import BenchmarkResult, Chart, save

SVG = "{http://www.w3.org/2000/svg}"
PLAIN = Chart("speed", "Files < a second", "files/s", [("bare & loop", [100.0]), ("Esteira", [50.0])])
STACKED = Chart("cpu", "CPU", "ms", [("one", [3.0, 1.0]), ("two", [1.0, -0.5])], parts=("workers", "Redis"))


def bars(drawn: str) -> list[tuple[str, float]]:
    """Class and width of each bar."""
    rects = [rect for rect in ET.fromstring(drawn).iter(f"{SVG}rect") if rect.get("height") == "20"]
    return [(str(rect.get("class")), float(str(rect.get("width")))) for rect in rects]


def test_svg_scales_bars_to_the_longest() -> None:
    (other, longest), (ours, half) = bars(svg(PLAIN))
    assert (other, ours) == ("other", "ours")
    assert half == pytest.approx(longest / 2, abs=0.1)


def test_svg_draws_parts_side_by_side_with_a_legend() -> None:
    drawn = svg(STACKED)
    assert [name for name, _ in bars(drawn)] == ["part0", "part1"] * 2
    widths = [width for _, width in bars(drawn)]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.2)
    assert widths[3] == 0  # negative values are noise
    assert {"workers", "Redis"} <= {text.text for text in ET.fromstring(drawn).iter(f"{SVG}text")}


def test_svg_accepts_charts_without_bars_or_with_zero_values() -> None:
    assert bars(svg(Chart("none", "t", "ms", []))) == []
    assert bars(svg(Chart("zero", "t", "ms", [("a", [0.0])]))) == [("ours", 0.0)]


def test_svg_has_a_text_alternative() -> None:
    label = ET.fromstring(svg(PLAIN)).get("aria-label")
    assert label == "Files < a second: bare & loop 100 files/s; Esteira 50.0 files/s"


def test_svg_defines_colours_for_light_and_dark_pages() -> None:
    style = next(ET.fromstring(svg(PLAIN)).iter(f"{SVG}style")).text or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for name in (".page", "text", ".soft", ".ours", ".other", ".part0", ".part1", ".part2"):
        assert name in light
        assert name in dark


def test_report_writes_tables_between_the_marks_and_charts_to_their_folder(tmp_path: Path) -> None:
    docs, figures = tmp_path / "docs" / "page.md", tmp_path / "figures.json"
    docs.parent.mkdir()
    docs.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    rows = [{"": "bare loop", "files/s": 100.0}, {"": "Esteira", "files/s": 50.0, "n": 1200}]
    save(
        BenchmarkResult("throughput", "A title", rows, [PLAIN], ["A note."], command="scripts/bench throughput"),
        figures,
    )
    arguments = [str(figures), "--docs", str(docs), "--charts", str(tmp_path / "docs" / "images")]
    for _ in range(2):  # the second run replaces what the first one wrote
        assert CliRunner().invoke(report, arguments).exit_code == 0
    text = docs.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n\n### A title\n\n![Files < a second](images/bench-speed.svg)\n\n")
    assert "| Esteira | 50.0 | 1,200 |\n\nA note.\n\n`scripts/bench throughput`, " in text
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    assert (tmp_path / "docs" / "images" / "bench-speed.svg").read_text() == svg(PLAIN)


def test_report_does_not_change_a_document_without_marks(tmp_path: Path) -> None:
    docs, figures = tmp_path / "page.md", tmp_path / "figures.json"
    docs.write_text("no marks\n")
    save(BenchmarkResult("idle", "t", [{"": "a"}], command="c"), figures)
    exit_status = CliRunner().invoke(report, [str(figures), "--docs", str(docs), "--charts", str(tmp_path)])
    assert exit_status.exit_code == 1
    assert docs.read_text() == "no marks\n"
