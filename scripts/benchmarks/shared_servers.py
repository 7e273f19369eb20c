"""The servers that hosts share: Valkey, PostgreSQL, an S3 API and the media server.

A single host can use SQLite and a folder instead of PostgreSQL and S3.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from actors.middleware.pauses import publish_pauses
from actors.redis_queue.queue import RedisQueue, open_queue
from pipeline.catalogue import Catalogue
from pipeline.catalogue.engines import database_url
from pipeline.config.settings import load_settings
from pipeline.models import Stage
from scripts.benchmarks import media
from scripts.benchmarks.baselines import TrialSetup
from scripts.benchmarks.environment import ROOT
from scripts.benchmarks.machine import BenchmarkError, cpu_s, running_program, threads_cpu_ns, wait_for
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.networks import HUB, NETWORK
from tests.support.postgres import PostgresServer, binaries
from tests.support.s3 import BUCKET
from tests.support.valkey import ValkeyServer

STORES = {
    "s3": "PostgreSQL, S3",
    "folder": "PostgreSQL, shared folder",
    "sqlite": "SQLite, folder",
}
VALKEY_ARGUMENTS = ("--bind", "127.0.0.1", HUB, "--protected-mode", "no", "--auto-aof-rewrite-percentage", "0")
START_S = 30.0
PAUSE_DELAY_S = 1.0  # until all workers have seen a pause
ACCESS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-of-the-store"}


@dataclass(frozen=True)
class SharedServers:
    """`settings` tell a host how to reach the servers, `processes` are their process ids by server name."""

    folder: Path
    media: MediaServer
    settings: Mapping[str, str]
    processes: Mapping[str, set[int]]
    catalogue: Catalogue
    queue: RedisQueue
    engine: Engine

    def done(self) -> int:
        try:
            return int(self.query("SELECT count(*) FROM media WHERE status = 'done'")[0][0])
        except OperationalError:  # the database is locked
            return 0

    def query(self, statement: str, **params: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement), params).fetchall())

    def stored(self) -> int:
        """The number of files in storage, without thumbnails."""
        if "AWS_ENDPOINT_URL" not in self.settings:
            folder = self.folder / "media" if "STORAGE_URL" in self.settings else self.folder / "host1" / "media"
            return sum(1 for path in folder.rglob("*") if path.is_file() and not path.suffix)
        names = {name.lower(): value for name, value in ACCESS.items() if name != "AWS_REGION"}
        client = boto3.client(
            "s3", endpoint_url=self.settings["AWS_ENDPOINT_URL"], region_name=ACCESS["AWS_REGION"], **names
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
        return sum(1 for key in keys if "." not in key.rpartition("/")[2])

    def redis_bytes(self) -> int:
        """The memory of all keys."""
        client = self.queue.client
        return sum(int(client.memory_usage(key, samples=0) or 0) for key in client.scan_iter(count=1000))

    def catalogue_bytes(self) -> int:
        """The size of tables and indexes."""
        if "DATABASE_URL" in self.settings:
            return int(self.query("SELECT pg_database_size(current_database())")[0][0])
        return int(self.query("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")[0][0])

    def pause(self) -> None:
        """Pauses the stage fetch, so that workers start nothing until `resume`."""
        self.catalogue.pauses.add("stage", Stage.FETCH)
        publish_pauses(self.queue, self.catalogue.pauses.all)
        time.sleep(PAUSE_DELAY_S)

    def resume(self) -> None:
        self.catalogue.pauses.remove("stage", Stage.FETCH)
        publish_pauses(self.queue, self.catalogue.pauses.all)

    def cpu_s(self) -> dict[str, float]:
        """Processor time so far in seconds, by server."""
        return {name: cpu_s(session_ids) for name, session_ids in self.processes.items()} | {
            "Redis": threads_cpu_ns(self.processes["Redis"]) / 1e9  # most of its work takes less than a tick
        }

    def env(self, name: str, *, processes: int) -> dict[str, str]:
        """The environment of a host. Hosts share only what is in `settings`."""
        own = {"VAR_DIR": str(self.folder / name), "FETCH_ALLOW_PRIVATE": NETWORK, "LOG_FORMAT": "json"}
        # Previews are drawn in idle time, so they would count as soon as workers wait for anything.
        own |= {"WEB_CONCURRENCY": str(processes), "PREVIEWS": "false"}
        return TrialSetup(self.folder, self.settings["REDIS_URL"]).env | own | dict(self.settings)


@contextlib.contextmanager
def shared_servers(folder: Path, stores: str, *, connections: int) -> Iterator[SharedServers]:
    """Runs the servers for the duration of the block, with a new catalogue.

    Raises:
        BenchmarkError: PostgreSQL is not installed.
    """
    with contextlib.ExitStack() as stack:
        valkey = ValkeyServer(folder / "valkey", arguments=VALKEY_ARGUMENTS)
        stack.callback(valkey.kill)
        valkey.start()
        settings = {"REDIS_URL": f"redis://{HUB}:{valkey.port}/0"}
        servers = {"Redis": {valkey.pid}}
        if stores != "sqlite":
            postgres = stack.enter_context(_postgres(connections))
            settings |= {"DATABASE_URL": postgres.url(), "STORAGE_URL": (folder / "media").as_uri()}
            servers |= {"PostgreSQL": {postgres.pid}}
        if stores == "s3":
            endpoint, pid = stack.enter_context(_s3(folder))
            settings |= {"STORAGE_URL": f"s3://{BUCKET}", "AWS_ENDPOINT_URL": endpoint, **ACCESS}
            servers |= {"S3": {pid}}
        media_files = stack.enter_context(media_server(media.LOAD_FOLDER, hosts=[HUB]))
        (folder / "host1").mkdir()
        database = settings.get("DATABASE_URL") or f"sqlite:///{folder / 'host1' / 'esteira.db'}"
        catalogue = stack.enter_context(contextlib.closing(Catalogue(database)))
        catalogue.migrate()
        queue = open_queue(load_settings(_env_file=None, var_dir=folder, redis_url=settings["REDIS_URL"]))
        stack.callback(queue.client.close)
        engine = create_engine(database_url(database))
        stack.callback(engine.dispose)
        yield SharedServers(folder, media_files, settings, servers, catalogue, queue, engine)


@contextlib.contextmanager
def _postgres(connections: int) -> Iterator[PostgresServer]:
    tools = binaries()
    if tools is None:
        raise BenchmarkError(
            "hosts share a catalogue in PostgreSQL: install postgresql (initdb, pg_ctl), or use --stores sqlite"
        )
    # A folder in memory, outside of ours: PostgreSQL may run as another user, who cannot enter our folders.
    memory_folder = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="pg", dir=memory_folder, ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), tools, host=HUB, connections=connections)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def _s3(folder: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "scripts.benchmarks.s3_server", HUB]
    env = TrialSetup(folder, "").env
    with running_program(command, folder / "s3.log", env=env, cwd=ROOT) as server:
        wait_for(
            "the S3 API", lambda: server.exit_status() is not None or "http://" in server.log_tail(), within_s=START_S
        )
        if server.exit_status() is not None:
            raise BenchmarkError(f"the S3 API did not start:\n{server.log_tail()}")
        address = next(line for line in server.log_tail().splitlines() if line.startswith("http://"))
        yield address, server.process.pid
