"""`esteira-backup` of the systemd units under load; all is lost afterwards, and restored as docs/deploy.md says."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.models import Status
from tests.conftest import missing
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.system import ROOT, RunningSystem, Workers, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

SCRIPT = ROOT / "deploy" / "systemd" / "esteira-backup"
# Stops the workers as systemd does, and notes what it was asked for.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$CALLS"
[ "$1" = stop ] || exit 0
kill -TERM "$WORKERS"
while kill -0 "$WORKERS" 2>/dev/null; do sleep 0.05; done
"""


class Databases(ABC):
    """Where a catalogue is, and how a copy of it becomes one."""

    @abstractmethod
    def new(self) -> dict[str, str]:
        """The settings of an empty one."""

    @abstractmethod
    def restore(self, copy: Path, var_dir: Path) -> dict[str, str]:
        """The settings of one with the content of this copy."""


class SqliteFiles(Databases):
    def new(self) -> dict[str, str]:
        return {}

    def restore(self, copy: Path, var_dir: Path) -> dict[str, str]:
        shutil.copy(copy, var_dir / "esteira.db")
        return {}


class PostgresDatabases(Databases):
    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def new(self) -> dict[str, str]:
        return {"database_url": self._server.new_database()}

    def restore(self, copy: Path, var_dir: Path) -> dict[str, str]:
        url = self._server.new_database()
        subprocess.run(["pg_restore", f"--dbname={url}", "--no-owner", "--exit-on-error", str(copy)], check=True)
        return {"database_url": url}


class Load:
    """Hands attachments with their bytes over until it is stopped; `accepted` has the hash of each."""

    def __init__(self, system: RunningSystem) -> None:
        self.accepted: dict[str, str] = {}
        self._system = system
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._stopped.wait(0.02):
            content = photo()
            receipt = self._system.submit(kind="image", data=base64.b64encode(content).decode())
            self.accepted[receipt.id] = hashlib.sha256(content).hexdigest()

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


def backup(system: RunningSystem, workers: Workers, folder: Path) -> list[str]:
    """Runs the script with the settings of a system; returns what it asked systemd for."""
    for name in ("rsync", "sqlite3"):
        if shutil.which(name) is None:
            missing(name)
    tools = system.folder / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL)
    (tools / "systemctl").chmod(0o755)
    settings = system.folder / "esteira.env"
    named = {name: system.env[name] for name in ("VAR_DIR", "DATABASE_URL") if name in system.env}
    settings.write_text("".join(f"{name}={value}\n" for name, value in named.items()))
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "ESTEIRA_ENV": str(settings),
        "CALLS": str(tools / "calls"),
        "WORKERS": str(workers.process.pid),
    }
    reaper = threading.Thread(target=workers.process.wait)  # else the stopped process stays as a zombie
    reaper.start()
    subprocess.run([SCRIPT, str(folder)], check=True, env=environment, timeout=60)
    reaper.join()
    return (tools / "calls").read_text().splitlines()


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    if request.param == "sqlite":
        yield SqliteFiles()
        return
    with postgres_server() as server:
        yield PostgresDatabases(server)


def test_what_was_accepted_before_a_backup_is_finished_after_its_restore(
    databases: Databases, make_system: Callable[..., RunningSystem], valkey: ValkeyServer, tmp_path: Path
) -> None:
    system = make_system(media_backoff_ms="50", **databases.new())
    copy = tmp_path / "copy"
    with system.workers() as workers, Load(system) as load:
        wait_until(lambda: len(system.stored_files()) > 20, 30)
        before = dict(load.accepted)
        calls = backup(system, workers, copy)
        wait_until(lambda: len(load.accepted) > len(before) + 10, 30)
    assert calls == ["stop esteira-worker.service", "start esteira-worker.service"]
    assert {path.stat().st_mode & 0o077 for path in (copy, copy / "database")} == {0}

    system.close()
    valkey.client().flushall()
    for path in (*tmp_path.glob("esteira.db*"), tmp_path / "media", tmp_path / "staging"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(copy / "media", tmp_path / "media")
    restored = make_system(media_backoff_ms="50", **databases.restore(copy / "database", tmp_path))
    assert_finished(restored, before)


def test_workers_go_on_after_a_restore_beside_a_newer_queue_and_newer_files(
    make_system: Callable[..., RunningSystem], tmp_path: Path
) -> None:
    system = make_system(media_backoff_ms="50")
    with system.workers() as workers:
        old = system.submit(kind="image", data=base64.b64encode(photo()).decode())
        system.wait_finished(old.id)
        backup(system, workers, tmp_path / "copy")
    unknown = [system.submit(kind="image", data=base64.b64encode(photo()).decode()) for _ in range(3)]
    system.close()
    for path in tmp_path.glob("esteira.db*"):
        path.unlink()
    shutil.copy(tmp_path / "copy" / "database", tmp_path / "esteira.db")
    restored = make_system(media_backoff_ms="50")
    with restored.workers() as workers:
        new = restored.submit(kind="image", data=base64.b64encode(photo()).decode())
        assert restored.wait_finished(new.id)[0].status is Status.DONE
        wait_until(lambda: messages(restored) == 0, 10)
        assert not workers.logged("attachment failed")
    assert restored.record(old.id).status is Status.DONE
    assert all(restored.services.catalogue.get(receipt.id) is None for receipt in unknown)


def messages(system: RunningSystem) -> int:
    """The messages in all queues, waiting or in progress."""
    return sum(
        counts["ready"] + counts["delayed"] + counts["running"] for counts in system.queue.stats.counts().values()
    )


def assert_finished(system: RunningSystem, accepted: Mapping[str, str]) -> None:
    """All of them are done, with their content, once the requeue scan has enqueued what was unfinished."""
    with system.workers():
        system.sweep()
        records = system.wait_finished(*accepted, within_s=60)
    assert {record.status for record in records} == {Status.DONE}
    for record in records:
        assert record.storage_key
        content = b"".join(system.services.storage.chunks(record.storage_key))
        assert hashlib.sha256(content).hexdigest() == accepted[record.id]
