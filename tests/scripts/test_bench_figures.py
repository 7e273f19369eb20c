"""Tests for the arithmetic of scripts/bench."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.benchmarks.machine import BenchmarkError
from scripts.benchmarks.memory import growth_figures
from scripts.benchmarks.results import BenchmarkResult, Chart, columns, format_figure, ratio, save
from scripts.benchmarks.slow import Shape
from scripts.benchmarks.stages import chunks, weighted_mean
from scripts.benchmarks.trials import Snapshot, medians, rates, run_rounds

RESULT = BenchmarkResult(
    "idle", "a title", [{"": "Esteira", "ms": 1.5}], [Chart("idle", "t", "ms", [("Esteira", [1.5])])]
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("a", "a"), (12345, "12,345"), (1234.5, "1,234"), (45.67, "45.7"), (4.567, "4.57"), (-0.456, "-0.46")],
)
def test_format_figure_uses_about_three_digits(value: str | float | None, text: str) -> None:
    assert format_figure(value) == text


def test_ratio_is_none_without_both_values_or_with_zero_denominator() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(None, 2.0) is None
    assert ratio(2.0, None) is None
    assert ratio(2.0, 0.0) is None


def test_medians_are_computed_for_each_figure() -> None:
    rounds = [{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 7.0}, {"a": 2.0, "b": 8.0}]
    assert medians(rounds) == {"a": 2.0, "b": 8.0}
    assert medians([]) == {}


def test_run_rounds_runs_the_systems_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def run_once(name: str) -> dict[str, float]:
        calls.append(name)
        return {"n": float(len(calls))}

    assert run_rounds(["a", "b"], 2, run_once) == {"a": [{"n": 1.0}, {"n": 3.0}], "b": [{"n": 2.0}, {"n": 4.0}]}
    assert calls == ["a", "b", "a", "b"]
    assert "round 2 of 2  b: n 4.00" in capsys.readouterr().err


def test_rates_are_computed_per_file() -> None:
    first = Snapshot(at=10.0, done=20, worker_cpu=1.0, redis_cpu=0.5, other_cpu=3.0)
    last = Snapshot(at=12.0, done=120, worker_cpu=1.4, redis_cpu=0.6, other_cpu=3.0)
    rates_found = rates(first, last)
    assert rates_found["files/s"] == pytest.approx(50)
    assert rates_found["worker ms"] == pytest.approx(4)
    assert rates_found["redis ms"] == pytest.approx(1)
    assert rates_found["other %"] == 0


def test_rates_refuse_snapshots_with_too_few_files_between_them() -> None:
    first = Snapshot(at=10.0, done=90, worker_cpu=0, redis_cpu=0, other_cpu=0)
    with pytest.raises(BenchmarkError, match="90 of 120 files"):
        rates(first, replace(first, at=11.0, done=120))


@pytest.mark.parametrize(
    ("hosts", "per_host", "threads", "bound"),
    [
        (8, 8, 8, 25.0),  # 400 files by 16 threads
        (1, 8, 8, 25.0),  # the single host allows 16 at a time as well
        (1, 2, 8, 100.0),  # the single host allows 4 at a time
        (2, 2, 8, 50.0),
        (3, 8, 30, 9.0),  # 134 of the first host, 16 at a time
    ],
)
def test_shape_bound_depends_on_threads_and_hosts(hosts: int, per_host: int, threads: int, bound: float) -> None:
    shape = Shape(hosts=hosts, per_host=per_host, processes=2, threads=threads)
    assert shape.bound_s(400, 1.0) == bound


def test_weighted_mean_weighs_each_kind() -> None:
    assert weighted_mean([(3, (10.0, 0.0, 1.0)), (1, (30.0, 4.0, 1.0))]) == (15.0, 1.0, 1.0)


def test_chunks_are_full_except_the_last() -> None:
    assert chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]


def test_growth_figures_compare_the_median_at_rest_with_the_peak() -> None:
    rest, busy = [(100.0, 60.0), (102.0, 61.0), (101.0, 90.0)], [(101.0, 61.0), (150.0, 80.0), (120.0, 95.0)]
    rates_found = growth_figures(rest, busy)
    assert rates_found == {"rss": 101.0, "pss": 61.0, "rss growth": 49.0, "pss growth": 34.0}


def test_columns_contain_the_keys_of_all_rows_in_order() -> None:
    assert columns([{"a": 1, "b": 2}, {"a": 1, "c": 3}]) == ["a", "b", "c"]


def test_save_replaces_only_the_figures_of_the_same_measure(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    save(RESULT, path)
    save(replace(RESULT, measure="hook"), path)
    save(replace(RESULT, title="another title"), path)
    kept = json.loads(path.read_text())["measures"]
    assert list(kept) == ["idle", "hook"]
    assert kept["idle"]["title"] == "another title"
    assert kept["hook"]["machine"]["cores"] >= 1
