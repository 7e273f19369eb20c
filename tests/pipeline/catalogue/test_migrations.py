from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, create_engine

from pipeline.catalogue import Catalogue, CatalogueError
from pipeline.catalogue.indexes import metadata
from pipeline.catalogue.schema import HEAD
from pipeline.models import Attachment
from tests.support.system import ROOT

OPERATIONS = ROOT / "docs" / "operations.md"


def test_migrations_create_the_tables_of_the_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    Catalogue(url).migrate()
    with create_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "pipeline.catalogue:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_repeated_migration_keeps_the_rows(tmp_path: Path) -> None:
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    catalogue.migrate()
    catalogue.increment("fallbacks", 3)
    catalogue.migrate()
    assert catalogue.totals()["fallbacks"] == 3


def test_failed_migration_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = importlib.import_module("alembic.op")
    create_index = revision.create_index

    def fail(name: str, *rest: object, **named: object) -> None:
        if name == "ix_media_finished":
            raise ZeroDivisionError
        create_index(name, *rest, **named)

    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    monkeypatch.setattr(revision, "create_index", fail)
    with pytest.raises(ZeroDivisionError):
        catalogue.migrate()
    monkeypatch.undo()
    with create_engine(f"sqlite:///{tmp_path}/catalogue.db").connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    catalogue.migrate()
    catalogue.check_schema()


def test_migration_takes_indexes_that_were_built_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    Catalogue(url).migrate()
    with create_engine(url).begin() as connection:
        for table in ("audit", "user_tokens", "ended_access"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for column in ("chat_number", "sender_number", "from_history"):
            connection.exec_driver_sql(f"ALTER TABLE media DROP COLUMN {column}")
        for column in ("paused_by", "reason"):
            connection.exec_driver_sql(f"ALTER TABLE pauses DROP COLUMN {column}")
        for name in ("source", "gateway"):
            connection.exec_driver_sql(f"DROP INDEX ix_media_{name}")
        statements = re.findall(r"^ *CREATE INDEX CONCURRENTLY (.*);", OPERATIONS.read_text(), re.MULTILINE)
        assert len(statements) == 2
        for statement in statements:
            connection.exec_driver_sql(f"CREATE INDEX {statement}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0005'")
    Catalogue(url).migrate()
    with create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migration_from_the_first_version_keeps_the_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    catalogue = Catalogue(url)
    catalogue.migrate()
    accepted = catalogue.accept(Attachment(session="s", message_id="m", url="http://a.example/", size=5, expires_at=9))
    with create_engine(url).begin() as connection:
        for index in ("gateway", "content", "declared", "deleted", "failures", "message", "chat", "source"):
            connection.exec_driver_sql(f"DROP INDEX ix_media_{index}")
        for table in ("audit", "deliveries", "endpoints", "pauses", "previews", "user_tokens", "ended_access"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for column in ("expires_at", "deleted_at", "history", "cancelled_at", "declared_sha256", "source_mark"):
            connection.exec_driver_sql(f"ALTER TABLE media DROP COLUMN {column}")
        for column in ("chat_number", "sender_number", "from_history"):
            connection.exec_driver_sql(f"ALTER TABLE media DROP COLUMN {column}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(CatalogueError, match="revision 0001, not"):
        Catalogue(url).check_schema()
    Catalogue(url).migrate()
    record = Catalogue(url).get(accepted.id)
    assert record
    assert (record.session, record.expires_at, record.from_history) == ("s", None, False)


def test_migrations_keep_the_tables_usable_for_older_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an upgrade goes on, processes of the older version read and add rows: they know no new column."""
    added: list[Column[Any]] = []
    operations = importlib.import_module("alembic.op")
    add_column = operations.add_column

    def note(table: str, column: Column[Any]) -> None:
        added.append(column)
        add_column(table, column)

    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"takes something away that an older version uses: {arguments}")

    monkeypatch.setattr(operations, "add_column", note)
    for name in ("drop_column", "drop_table", "rename_table", "alter_column"):
        monkeypatch.setattr(operations, name, refuse)
    Catalogue(f"sqlite:///{tmp_path}/catalogue.db").migrate()
    assert "from_history" in {column.name for column in added}
    assert [column.name for column in added if not (column.nullable or column.server_default)] == []
