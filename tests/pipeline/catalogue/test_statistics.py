"""Statistics on SQLite: the contract, and the index of each statement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue, statistics
from pipeline.catalogue.database import Database
from pipeline.catalogue.statistics import percentile
from tests.pipeline.catalogue.contract_statistics import StatisticsContract
from tests.pipeline.catalogue.test_query_plans import plan


class TestContract(StatisticsContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        url = f"sqlite:///{tmp_path}/catalogue.db"
        Catalogue(url).migrate()
        return url


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/catalogue.db"
    Catalogue(url).migrate()
    database = Database(url, durable=False)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (statistics.OUTCOMES, "SEARCH media USING COVERING INDEX ix_media_finished (finished_at>? AND finished_at<?)"),
        (
            statistics.DURATIONS_OF_MINUTE,
            "SEARCH media USING COVERING INDEX ix_media_finished (finished_at>? AND finished_at<?)",
        ),
        (statistics.FAILED, "SEARCH media USING INDEX ix_media_status (status=? AND received_at>?)"),
        (statistics.RECENT, "SCAN media USING INDEX ix_media_received"),
        (statistics.LAST_RECEIVED, "SEARCH media USING COVERING INDEX ix_media_session (session=?)"),
    ],
    ids=["endings", "durations", "failed", "recent", "last received"],
)
def test_each_statistic_uses_its_index(database: Database, statement: object, index: str) -> None:
    assert [step for step in plan(database, statement) if "media" in step] == [index]


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (95, 10), (99, 10), (1, 1)])
def test_percentile_is_the_nearest_rank(percent: int, value: int) -> None:
    assert percentile(range(1, 11), percent) == value
