"""Deliveries on a real PostgreSQL server: the contract, and claims that do not wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from pipeline.catalogue import Catalogue
from tests.pipeline.catalogue.contract_deliveries import DeliveriesContract, claim_deliveries
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.webhooks import announced_record


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def url(server: PostgresServer) -> Iterator[str]:
    url = server.new_database()
    catalogue = Catalogue(url)
    catalogue.migrate()
    catalogue.close()
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )


class TestContract(DeliveriesContract):
    pass


def test_claim_skips_rows_of_an_open_transaction(url: str) -> None:
    catalogue = Catalogue(url)
    for _ in range(2):
        announced_record(catalogue, "crm")
    with psycopg.connect(url) as other:
        row = other.execute("SELECT id FROM deliveries ORDER BY next_at, id LIMIT 1 FOR UPDATE").fetchone()
        assert row
        found: list[str] = []
        taking = threading.Thread(
            target=lambda: found.extend(attempt.id for attempt in claim_deliveries(catalogue.deliveries))
        )
        taking.start()
        taking.join(4)
        assert len(found) == 1
        assert found != [row[0]]
