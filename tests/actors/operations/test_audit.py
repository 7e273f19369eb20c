"""Entries of the audit log: before the action, its result, interruptions, secrets, and the limit of refusals."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis

from actors.maintenance import tasks
from actors.operations import audit
from actors.operations.audit import MAX_REFUSALS, AuditEntry, RefusalLimit, record
from actors.operations.audit_text import describe
from pipeline.catalogue import Action, Actor, AuditFilters, AuditOutcome, AuditRecord, Catalogue, Via
from pipeline.config.settings import load_settings
from pipeline.errors import Code, PermanentError, RetryableError
from tests.support.catalogues import Clock
from tests.support.waiting import wait_until

MARIA = Actor(who="maria", role="operator", via=Via.DASHBOARD, source="192.0.2.7")
SECRET = "the-secret-api-token"


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    catalogue.migrate()
    settings = load_settings(_env_file=None, api_token=SECRET)
    monkeypatch.setattr(audit, "services", lambda: SimpleNamespace(catalogue=catalogue, settings=settings))
    yield catalogue
    catalogue.close()


def the_entry(catalogue: Catalogue) -> AuditRecord:
    [entry] = catalogue.audit.find(AuditFilters())
    return entry


def test_entry_is_written_before_the_action_and_completed_after_it(catalogue: Catalogue) -> None:
    with AuditEntry(MARIA, Action.PAUSE) as entry:
        entry.begin({"session": "shop"})
        assert the_entry(catalogue).outcome == AuditOutcome.STARTED
    assert (the_entry(catalogue).outcome, the_entry(catalogue).count) == (AuditOutcome.DONE, 1)


def test_entry_that_was_not_begun_leaves_nothing(catalogue: Catalogue) -> None:
    with suppress(ValueError), AuditEntry(MARIA, Action.DELETE):
        raise ValueError
    assert catalogue.audit.find(AuditFilters()) == []


@pytest.mark.parametrize(
    ("error", "outcome", "detail"),
    [
        (PermanentError(Code.NOT_ENDED, "said by a stranger"), "failed", {"error": "not_ended"}),
        (PermanentError(Code.FORBIDDEN, "no"), "refused", {"error": "forbidden"}),
        (redis.ConnectionError("redis://:password@host"), "failed", {"error": "queue"}),
        (ZeroDivisionError("said by a stranger"), "failed", {"error": "internal"}),
        (KeyboardInterrupt(), "interrupted", {}),
        (asyncio.CancelledError(), "interrupted", {}),
    ],
)
def test_result_has_the_outcome_and_the_code_of_an_error(
    catalogue: Catalogue, error: BaseException, outcome: str, detail: dict[str, str]
) -> None:
    with suppress(type(error)), AuditEntry(MARIA, Action.REPLAY) as entry:
        entry.begin({})
        entry.advance()
        entry.advance()
        raise error
    found = the_entry(catalogue)
    assert (found.outcome, found.count, found.detail) == (outcome, 2, detail)


def test_action_does_not_start_without_its_entry(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise RetryableError(Code.CATALOGUE, "the disk is full")

    monkeypatch.setattr(catalogue.audit, "begin", refuse)
    changed = False
    with suppress(RetryableError), AuditEntry(MARIA, Action.DELETE) as entry:
        entry.begin({})
        changed = True
    assert not changed


def test_action_that_is_over_does_not_fail_because_of_its_entry(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RetryableError(Code.CATALOGUE, "the disk is full")

    monkeypatch.setattr(catalogue.audit, "complete", refuse)
    with AuditEntry(MARIA, Action.DELETE) as entry:
        entry.begin({})
    assert the_entry(catalogue).outcome == AuditOutcome.STARTED


def test_secrets_and_urls_never_reach_the_entry(catalogue: Catalogue) -> None:
    with AuditEntry(MARIA, Action.REPLAY) as entry:
        entry.begin({"session": f"x {SECRET} https://mmg.example/a?b=hush y", "ids": ["ftp://u:p@h/f", "plain"]})
        entry.note(error=SECRET)
    found = the_entry(catalogue)
    assert found.target == {"session": "x [hidden] [url] y", "ids": ["[url]", "plain"]}
    assert found.detail == {"error": "[hidden]"}


def test_count_of_a_killed_bulk_action_is_what_it_had_reported(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/esteira.db"
    catalogue = Catalogue(url)
    catalogue.migrate()
    code = """
import time
from actors.operations.audit import AuditEntry
from pipeline.catalogue import Action, Actor, Via
with AuditEntry(Actor(who="maria", via=Via.CLI), Action.REPLAY) as entry:
    entry.begin({"session": "shop"})
    while True:
        entry.advance()
        time.sleep(0.01)
"""
    env = {"VAR_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0", "PATH": "", "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([sys.executable, "-c", code], env=env)
    try:
        wait_until(lambda: bool(found := catalogue.audit.find(AuditFilters())) and found[0].count > 0, 30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert the_entry(catalogue).outcome == AuditOutcome.STARTED
    assert the_entry(catalogue).ended_at is None


def test_refusals_are_limited_and_the_rest_counted() -> None:
    clock = Clock()
    limit = RefusalLimit(clock)
    assert [limit.admit() for _ in range(MAX_REFUSALS)] == [0] * MAX_REFUSALS
    assert [limit.admit() for _ in range(5)] == [None] * 5
    clock.now += 60
    assert [limit.admit(), limit.admit()] == [5, 0]


def test_refused_attempt_is_recorded_and_never_raises(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_refusals", RefusalLimit())
    record(MARIA, Action.DELETE, outcome=AuditOutcome.REFUSED, target={"id": "x"})
    assert (the_entry(catalogue).outcome, the_entry(catalogue).count) == (AuditOutcome.REFUSED, 0)

    def refuse(*_: object, **__: object) -> str:
        raise RetryableError(Code.CATALOGUE, "the disk is full")

    monkeypatch.setattr(catalogue.audit, "record", refuse)
    record(MARIA, Action.DELETE, outcome=AuditOutcome.REFUSED)


@pytest.mark.parametrize(("days", "kept"), [(0, 2), (1, 1)])
def test_maintenance_removes_entries_older_than_audit_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, kept: int
) -> None:
    clock = Clock(time.time() - 2 * 86_400)
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db", clock=clock)
    catalogue.migrate()
    catalogue.audit.begin(MARIA, Action.SWEEP, {})
    clock.now = time.time()
    catalogue.audit.begin(MARIA, Action.SWEEP, {})
    settings = load_settings(_env_file=None, audit_days=days)
    monkeypatch.setattr(tasks, "services", lambda: SimpleNamespace(catalogue=catalogue))
    tasks.MaintenanceTasks(SimpleNamespace(), settings).trim_audit()  # type: ignore[arg-type]
    assert len(catalogue.audit.find(AuditFilters())) == kept


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"ids": ["a", "b"], "matched": 2}, "ids=a, b matched=2"),
        ({"session": "shop outcome=done"}, 'session="shop outcome=done"'),
        ({"session": 'a"b'}, 'session="a\\"b"'),
        ({"session": "\x1b[2J\u202e\n"}, "session=\ufffd[2J\ufffd\ufffd"),
        ({"since": 5000, "expires": 7}, 'since="at 5000" expires="at 7000"'),
        ({"all": True}, "all=true"),
        ({"a b\n": None}, "a b\ufffd=null"),
    ],
)
def test_description_shows_each_value_as_one_field(values: dict[str, object], text: str) -> None:
    assert describe(values, lambda ms: f"at {ms}") == text
