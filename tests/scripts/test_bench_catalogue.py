"""Tests for the measure `catalogue`: the generated database, and the arithmetic of its table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue, Filters
from pipeline.models import Kind, Status
from scripts.benchmarks.bulk_rows import fill
from scripts.benchmarks.catalogue import OPERATIONS, WARM_UP_FILES, Run, measure, table_rows
from scripts.benchmarks.machine import BenchmarkError


def schema(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def test_fill_creates_a_catalogue_with_valid_schema_and_rows(tmp_path: Path) -> None:
    fill(tmp_path / "many.db", 1000)
    fill(tmp_path / "none.db", 0)
    assert schema(tmp_path / "many.db") == schema(tmp_path / "none.db")
    catalogue = Catalogue(f"sqlite:///{tmp_path}/many.db")
    catalogue.check_schema()
    assert catalogue.count(Filters()) == 1000
    assert catalogue.count(Filters(status=Status.DONE, kind=Kind.IMAGE)) == 640
    newest = catalogue.find(Filters(), limit=2)
    assert catalogue.now() - newest[0].received_at < 86_400_000
    assert catalogue.history(newest[0].id)
    assert catalogue.unfinished(older_than_s=0) == []


def test_fill_refuses_to_start_without_free_disk_space(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="GB free"):
        fill(tmp_path / "many.db", 10**12)
    assert not (tmp_path / "many.db").exists()


def test_run_process_finishes_every_file(tmp_path: Path) -> None:
    fill(tmp_path / "none.db", 0)
    run = Run(tmp_path / "none.db")
    run.process(32)
    run.close()
    totals = Catalogue(f"sqlite:///{tmp_path}/none.db").totals()
    assert (totals["received"], totals["stored"], totals["done"]) == (32, 32, 32)
    assert {operation: len(times) for operation, times in run.timings.items()} == dict(
        zip(OPERATIONS, (32, 32, 2, 2), strict=True)
    )


def test_table_rows_contain_the_ratio_of_large_to_empty() -> None:
    empty = {operation: [(10.0, 1.0), (20.0, 2.0), (90.0, 6.0)] for operation in OPERATIONS}
    large = {operation: [(30.0, 6.0)] for operation in OPERATIONS}
    line = table_rows(("0 rows", empty), ("9 rows", large))[0]
    assert list(line.values()) == ["hook insert", 20.0, 30.0, 1.5, 3.0, 6.0, 2.0]


def test_measure_returns_a_row_for_each_operation_and_removes_its_files(tmp_path: Path) -> None:
    result = measure(1000, 64, str(tmp_path))
    assert [row[""] for row in result.rows] == list(OPERATIONS)
    assert len(result.figures["0 rows"]["claim"]) == 64 < WARM_UP_FILES
    assert list(tmp_path.iterdir()) == []
