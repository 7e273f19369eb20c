"""The catalogue of millions that scripts/bench makes is one like any other, and its figures are of whole ways."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue, Filters
from pipeline.models import Kind, Status
from scripts.benchmarks.bulk import fill
from scripts.benchmarks.catalogue import MOVES, WARM_UP, Run, described, measure
from scripts.benchmarks.machine import Trouble


def schema(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def test_a_filled_catalogue_is_one_like_any_other(tmp_path: Path) -> None:
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


def test_what_has_no_room_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="GB free"):
        fill(tmp_path / "many.db", 10**12)
    assert not (tmp_path / "many.db").exists()


def test_every_file_goes_all_the_way(tmp_path: Path) -> None:
    fill(tmp_path / "none.db", 0)
    run = Run(tmp_path / "none.db")
    run.carry(32)
    run.close()
    totals = Catalogue(f"sqlite:///{tmp_path}/none.db").totals()
    assert (totals["received"], totals["stored"], totals["done"]) == (32, 32, 32)
    assert {move: len(times) for move, times in run.took.items()} == dict(zip(MOVES, (32, 32, 2, 2), strict=True))


def test_a_ratio_is_of_the_large_one_to_the_empty_one() -> None:
    empty = {move: [(10.0, 1.0), (20.0, 2.0), (90.0, 6.0)] for move in MOVES}
    large = {move: [(30.0, 6.0)] for move in MOVES}
    line = described(("0 rows", empty), ("9 rows", large))[0]
    assert list(line.values()) == ["hook insert", 20.0, 30.0, 1.5, 3.0, 6.0, 2.0]


def test_a_short_measure_ends_with_a_row_for_each_move(tmp_path: Path) -> None:
    finding = measure(1000, 64, str(tmp_path))
    assert [row[""] for row in finding.rows] == list(MOVES)
    assert len(finding.figures["0 rows"]["claim"]) == 64 < WARM_UP
    assert list(tmp_path.iterdir()) == []
