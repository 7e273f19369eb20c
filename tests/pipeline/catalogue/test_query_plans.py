"""Every listing and statistic of the catalogue uses an index."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite

from pipeline.catalogue import Catalogue, deletions, single_flight, sources, statements, statistics
from pipeline.catalogue.database import Database

FILTERS = ("status", "session", "error", "stage", "kind")
COMBINATIONS = [frozenset(names) for n in range(len(FILTERS) + 1) for names in itertools.combinations(FILTERS, n)]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/catalogue.db"
    Catalogue(url).migrate()
    database = Database(url, durable=False)
    yield database
    database.close()


def plan(database: Database, statement: Any) -> list[str]:
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"))
    values = {name: bind.value if not bind.required else 0 for name, bind in compiled.binds.items()}
    with database.engine.connect() as connection:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled.string}", values)]


def assert_indexed(steps: list[str]) -> None:
    assert steps
    for step in steps:
        assert "SCAN media" not in step, steps
        # Rows of the same millisecond may be sorted, never the whole result.
        assert "TEMP B-TREE" not in step or "RIGHT PART OF ORDER BY" in step or "LAST TERM" in step, steps


@pytest.mark.parametrize("by", COMBINATIONS, ids=lambda by: "+".join(sorted(by)) or "all")
def test_listings_and_counts_use_an_index(database: Database, by: frozenset[str]) -> None:
    for statement in (
        statements.listing(by, paged=False),
        statements.listing(by, paged=True),
        statements.counting(by),
    ):
        assert_indexed(plan(database, statement))


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (statements.UNFINISHED_AFTER, "ix_media_unfinished"),
        (deletions.HOLDERS, "ix_media_content"),
        (single_flight.STORED_BY_SOURCE, "ix_media_content"),
        (single_flight.STORED_BY_CHAT, "ix_media_content (sha256=? AND session=?)"),
        (single_flight.STORED_BY_ANYONE, "ix_media_content"),
        (statements.CLAIM_TO_FETCH, "other USING INDEX ix_media_content"),
        (statements.CLAIM_TO_FETCH, "other USING INDEX ix_media_declared"),
        *((deletions.of_contents(number), "ix_media_deleted") for number in (1, 16)),
        (deletions.UNFINISHED, "ix_media_status"),
        (deletions.DELETE, "sqlite_autoindex_media_1"),
        (statistics.DURATIONS, "COVERING INDEX ix_media_finished"),
        (statistics.FINISHED_SINCE, "COVERING INDEX ix_media_finished"),
        (statements.listing(frozenset({"error"}), paged=False), "ix_media_error"),
        (statements.HAS_PREVIEW, "sqlite_autoindex_previews_1"),
        *(
            (statement, "sqlite_autoindex_media_1")
            for statement in (statements.CLAIM, statements.RENEW, statements.GET, statements.REOPEN)
        ),
        *(
            (statement, "sqlite_autoindex_media_1")
            for statement in (statements.STORED, statements.FINISH_STORED, statements.FINISH_ANNOUNCED, statements.END)
        ),
    ],
)
def test_each_statement_uses_its_index(database: Database, statement: Executable, index: str) -> None:
    steps = plan(database, statement)
    assert_indexed(steps)
    assert any(index in step for step in steps)


def test_oldest_unfinished_reads_the_first_index_entry(database: Database) -> None:
    assert plan(database, statistics.OLDEST) == ["SCAN media USING INDEX ix_media_unfinished"]


def test_unfinished_count_reads_only_unfinished_rows(database: Database) -> None:
    steps = plan(database, statistics.UNFINISHED_COUNT)
    assert [step for step in steps if "media" in step] == ["SCAN media USING INDEX ix_media_unfinished"]


def test_unfinished_reads_only_unfinished_rows(database: Database) -> None:
    steps = plan(database, statements.UNFINISHED)
    assert [step for step in steps if "media" in step] == ["SCAN media USING INDEX ix_media_unfinished"]
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps


def test_counter_has_one_row_for_each_shard(database: Database) -> None:
    catalogue = Catalogue(str(database.engine.url))
    for _ in range(200):
        catalogue.increment("fallbacks")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*), sum(n) FROM counters").one() == (16, 200)


def test_fetches_of_the_same_content_are_found_by_index(database: Database) -> None:
    """The sort covers the matches of the index, which are a thousand rows at most."""
    assert any("ix_media_declared" in step for step in plan(database, single_flight.BEING_FETCHED))


def test_sources_of_done_attachments_are_found_by_an_index_that_has_no_other_rows(database: Database) -> None:
    assert any("ix_media_source" in step for step in plan(database, sources.REMOVE))


def test_rotation_reads_the_rows_in_the_order_of_the_primary_key(database: Database) -> None:
    [step] = plan(database, sources.NEXT)
    assert "sqlite_autoindex_media_1 (id>?)" in step


def test_keys_of_waiting_attachments_are_counted_by_index(database: Database) -> None:
    steps = [step for step in plan(database, sources.KEYS_OF_WAITING) if "media" in step]
    assert steps
    assert all("ix_media_unfinished" in step for step in steps)


def test_keys_of_ended_attachments_are_read_by_index(database: Database) -> None:
    steps = [step for step in plan(database, sources.KEYS_OF_ENDED) if "media" in step]
    assert len(steps) == 6
    assert all("ix_media_status (status=?)" in step for step in steps)
