"""The audit log on SQLite: the contract, the indexes of its statements, and the size of what is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert

from pipeline.catalogue import Catalogue, audit
from pipeline.catalogue.audit import MAX_JSON, MAX_TEXT, TRIM_ROWS, bounded_json
from pipeline.catalogue.database import Database
from pipeline.catalogue.tables import audit as table
from tests.pipeline.catalogue.contract_audit import AuditContract
from tests.pipeline.catalogue.test_query_plans import plan


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    Catalogue(url).migrate()
    return url


class TestContract(AuditContract):
    pass


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (audit.listing(frozenset(), paged=False), "ix_audit_at"),
        (audit.listing(frozenset(), paged=True), "ix_audit_at"),
        (audit.listing(frozenset({"who"}), paged=True), "ix_audit_who (who=?"),
        (audit.listing(frozenset({"action", "outcome"}), paged=True), "ix_audit_action (action=?"),
        (audit.TRIM, "ix_audit_at (at<?)"),
        (audit.COMPLETE, "sqlite_autoindex_audit_1"),
        (audit.ADVANCE, "sqlite_autoindex_audit_1"),
    ],
)
def test_each_statement_uses_its_index(url: str, statement: Any, index: str) -> None:
    steps = plan(Database(url, durable=False), statement)
    assert any(index in step for step in steps), steps
    assert not any("SCAN audit" in step and "INDEX" not in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps


def test_all_old_entries_are_removed_however_many(url: str) -> None:
    row = {"who": "cli", "via": "cli", "source": "", "action": "sweep", "outcome": "done", "count": 0}
    rows = [{"id": f"{n:032x}", "at": n, "target": "{}", "detail": "{}", **row} for n in range(2 * TRIM_ROWS + 1)]
    with create_engine(url).begin() as connection:
        connection.execute(insert(table), rows)
    assert Catalogue(url).audit.trim(older_than_s=1) == len(rows)


@given(
    st.dictionaries(
        st.text(max_size=12),
        st.one_of(st.text(max_size=2000), st.lists(st.text(max_size=400), max_size=60), st.integers(), st.none()),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_json_of_a_target_is_short_and_ascii(values: dict[str, object]) -> None:
    text = bounded_json(values)
    assert text.isascii()
    assert len(text) <= MAX_JSON + len('"cut":true,')
    assert isinstance(json.loads(text), dict)


def test_long_lists_and_texts_of_a_target_are_cut_visibly() -> None:
    read = json.loads(bounded_json({"ids": [str(n) for n in range(1000)], "session": "s" * 5000, "kind": None}))
    assert (read["ids"][0], read["ids_total"]) == ("0", 1000)
    assert len(read["session"]) == MAX_TEXT
    assert read["session"].endswith("…")
    assert "kind" not in read
