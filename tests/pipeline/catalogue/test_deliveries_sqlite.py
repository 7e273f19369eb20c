"""Deliveries on SQLite: the contract, and the index of each statement."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Executable

from pipeline.catalogue import Catalogue
from pipeline.catalogue import delivery_statements as statements
from pipeline.catalogue.database import Database
from tests.pipeline.catalogue.contract_deliveries import DeliveriesContract
from tests.pipeline.catalogue.test_query_plans import plan


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    Catalogue(url).migrate()
    return url


class TestContract(DeliveriesContract):
    pass


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (statements.IS_DUE, "ix_deliveries_due (endpoint=? AND next_at>? AND next_at<?)"),
        (statements.CLAIM, "ix_deliveries_due (endpoint=? AND next_at>? AND next_at<?)"),
        (statements.BRING_FORWARD, "ix_deliveries_due (endpoint=? AND next_at>?)"),
        (statements.PENDING, "COVERING INDEX ix_deliveries_due"),
        (statements.UNDELIVERED_COUNT, "COVERING INDEX ix_deliveries_status (status=?)"),
        (statements.TRIM, "ix_deliveries_status (status=? AND created_at<?)"),
        (statements.WITHDRAW, "ix_deliveries_media"),
        (statements.DELIVERED, "sqlite_autoindex_deliveries_1"),
        (statements.RETRY, "sqlite_autoindex_deliveries_1"),
        (statements.REDELIVER, "sqlite_autoindex_deliveries_1"),
        (statements.CIRCUIT, "sqlite_autoindex_endpoints_1"),
        (statements.listing(frozenset({"status"}), paged=False), "ix_deliveries_status (status=? AND created_at>?)"),
    ],
)
def test_each_statement_uses_its_index(url: str, statement: Executable, index: str) -> None:
    steps = plan(Database(url, durable=False), statement)
    assert any(index in step for step in steps), steps
