"""Failure groups and search on SQLite: the contract, and the index of each statement."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue, failures, search
from pipeline.catalogue.database import Database
from pipeline.models import Status
from pipeline.remedies import remedy
from tests.pipeline.catalogue.contract_failures import FailuresContract
from tests.pipeline.catalogue.test_query_plans import COMBINATIONS, assert_indexed, plan
from tests.support.catalogues import finished

WAYS = {
    "id": "sqlite_autoindex_media_1 (id>? AND id<?)",
    "sha256": "ix_media_content (sha256>? AND sha256<?)",
    "message_id": "ix_media_message (message_id=?)",
    "chat": "ix_media_chat (chat=?",
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    Catalogue(url).migrate()
    return url


class TestContract(FailuresContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/catalogue.db"
    Catalogue(url).migrate()
    database = Database(url, durable=False)
    yield database
    database.close()


@pytest.mark.parametrize("narrowed", [False, True])
def test_groups_are_read_from_one_covering_index(database: Database, narrowed: bool) -> None:
    steps = plan(database, failures.grouping(narrowed=narrowed))
    assert [step for step in steps if "media" in step] == [
        "SEARCH media USING COVERING INDEX ix_media_failures (error_code>?)"
    ]
    # The sort covers one row for each code, stage and session, not for each failure.
    assert not any("TEMP B-TREE" in step for step in steps[: steps.index("SCAN anon_2")])


@pytest.mark.parametrize("narrowed", [False, True])
def test_example_uses_its_index(database: Database, narrowed: bool) -> None:
    [step] = plan(database, failures.example_of_group(narrowed=narrowed))
    assert "error_code=?" in step
    assert "received_at=?" in step


@pytest.mark.parametrize(("way", "paged"), [*itertools.product(WAYS, (False, True))])
@pytest.mark.parametrize("by", COMBINATIONS[:: len(COMBINATIONS) - 1], ids=["all", "narrowed"])
def test_each_exact_search_uses_its_index(database: Database, way: str, paged: bool, by: frozenset[str]) -> None:
    steps = plan(database, search.by_column(way, by, paged=paged))
    [step] = [step for step in steps if "media" in step]
    assert WAYS[way] in step


@pytest.mark.parametrize("by", COMBINATIONS, ids=lambda by: "+".join(sorted(by)) or "all")
def test_word_search_uses_an_index(database: Database, by: frozenset[str]) -> None:
    for statement in (search.texts(by, paged=False), search.texts(by, paged=True), search.floor_of_words(by)):
        assert_indexed(plan(database, statement))


def test_group_json_contains_the_remedy_in_the_given_language(url: str) -> None:
    catalogue = Catalogue(url)
    record = finished(catalogue, Status.FAILED)
    told = catalogue.failures.find()[0].to_json(language="pt-BR")
    assert (told["code"], told["count"], told["example"]["id"]) == ("fetch_unavailable", 1, record.id)
    assert (told["happened"], told["to_do"]) == remedy("fetch_unavailable", language="pt-BR")
