"""The arithmetic behind what scripts/bench prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.benchmarks.findings import Chart, Finding, columns, keep, ratio, shown
from scripts.benchmarks.machine import Trouble
from scripts.benchmarks.memory import described
from scripts.benchmarks.slow import Shape
from scripts.benchmarks.stages import chunks, mixed
from scripts.benchmarks.trials import Mark, between, in_turns, medians

FINDING = Finding("idle", "a title", [{"": "Esteira", "ms": 1.5}], [Chart("idle", "t", "ms", [("Esteira", [1.5])])])


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("a", "a"), (12345, "12,345"), (1234.5, "1,234"), (45.67, "45.7"), (4.567, "4.57"), (-0.456, "-0.46")],
)
def test_figures_are_shown_to_about_three_digits(value: str | float | None, text: str) -> None:
    assert shown(value) == text


def test_a_ratio_needs_both_and_is_not_of_nothing() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(None, 2.0) is None
    assert ratio(2.0, None) is None
    assert ratio(2.0, 0.0) is None


def test_each_figure_has_a_median_of_its_own() -> None:
    rounds = [{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 7.0}, {"a": 2.0, "b": 8.0}]
    assert medians(rounds) == {"a": 2.0, "b": 8.0}
    assert medians([]) == {}


def test_contestants_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def once(name: str) -> dict[str, float]:
        asked.append(name)
        return {"n": float(len(asked))}

    assert in_turns(["a", "b"], 2, once) == {"a": [{"n": 1.0}, {"n": 3.0}], "b": [{"n": 2.0}, {"n": 4.0}]}
    assert asked == ["a", "b", "a", "b"]
    assert "round 2 of 2  b: n 4.00" in capsys.readouterr().err


def test_what_lies_between_two_marks_is_of_one_file() -> None:
    first = Mark(at=10.0, done=20, worker_cpu=1.0, redis_cpu=0.5, others_cpu=3.0)
    last = Mark(at=12.0, done=120, worker_cpu=1.4, redis_cpu=0.6, others_cpu=3.0)
    found = between(first, last)
    assert found["files/s"] == pytest.approx(50)
    assert found["worker ms"] == pytest.approx(4)
    assert found["redis ms"] == pytest.approx(1)
    assert found["others %"] == 0


def test_a_run_that_was_nearly_over_at_the_first_look_says_nothing() -> None:
    first = Mark(at=10.0, done=90, worker_cpu=0, redis_cpu=0, others_cpu=0)
    with pytest.raises(Trouble, match="90 of 120 files"):
        between(first, replace(first, at=11.0, done=120))


@pytest.mark.parametrize(
    ("hosts", "per_host", "threads", "bound"),
    [
        (8, 8, 8, 25.0),  # 400 files by 16 threads
        (1, 8, 8, 25.0),  # and no more than 16 of the one host anyway
        (1, 2, 8, 100.0),  # 4 at a time of the one host
        (2, 2, 8, 50.0),
        (3, 8, 30, 9.0),  # 134 of the first host, 16 at a time
    ],
)
def test_slow_servers_are_bound_by_threads_or_by_hosts(hosts: int, per_host: int, threads: int, bound: float) -> None:
    shape = Shape(hosts=hosts, per_host=per_host, processes=2, threads=threads)
    assert shape.bound_s(400, 1.0) == bound


def test_the_mix_weighs_each_kind() -> None:
    assert mixed([(3, (10.0, 0.0, 1.0)), (1, (30.0, 4.0, 1.0))]) == (15.0, 1.0, 1.0)


def test_crews_are_full_but_for_the_last() -> None:
    assert chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]


def test_memory_grows_from_rest_to_its_peak() -> None:
    rest, busy = [(100.0, 60.0), (102.0, 61.0), (101.0, 90.0)], [(101.0, 61.0), (150.0, 80.0), (120.0, 95.0)]
    found = described(rest, busy)
    assert found == {"rss": 101.0, "pss": 61.0, "rss growth": 49.0, "pss growth": 34.0}


def test_columns_are_those_of_all_rows_in_order() -> None:
    assert columns([{"a": 1, "b": 2}, {"a": 1, "c": 3}]) == ["a", "b", "c"]


def test_a_file_of_figures_keeps_what_other_measures_found(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    keep(FINDING, path)
    keep(replace(FINDING, measure="hook"), path)
    keep(replace(FINDING, title="another title"), path)
    kept = json.loads(path.read_text())["measures"]
    assert list(kept) == ["idle", "hook"]
    assert kept["idle"]["title"] == "another title"
    assert kept["hook"]["machine"]["cores"] >= 1
