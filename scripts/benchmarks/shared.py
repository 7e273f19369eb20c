"""What hosts share, on one of its own: Valkey, PostgreSQL, an S3 API, the server that media come from.

Or, for one host alone: Valkey and the media server, beside SQLite and a folder on that host.
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
from scripts.benchmarks.baselines import Place
from scripts.benchmarks.environment import ROOT
from scripts.benchmarks.machine import Trouble, cpu_s, run_ns, running, wait_for
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
ON_HUB = ("--bind", "127.0.0.1", HUB, "--protected-mode", "no", "--auto-aof-rewrite-percentage", "0")
START_S = 30.0
HEEDED_S = 1.0
ACCESS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-of-the-store"}


@dataclass(frozen=True)
class Shared:
    """`settings` lead a host there, `servers` are the processes behind each name."""

    folder: Path
    media: MediaServer
    settings: Mapping[str, str]
    servers: Mapping[str, set[int]]
    catalogue: Catalogue
    belt: RedisQueue
    engine: Engine

    def done(self) -> int:
        try:
            return int(self.ask("SELECT count(*) FROM media WHERE status = 'done'")[0][0])
        except OperationalError:  # locked just now
            return 0

    def ask(self, statement: str, **given: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement), given).fetchall())

    def stored(self) -> int:
        """How many contents lie in storage."""
        if "AWS_ENDPOINT_URL" not in self.settings:
            place = self.folder / "media" if "STORAGE_URL" in self.settings else self.folder / "host1" / "media"
            return sum(1 for path in place.rglob("*") if path.is_file() and not path.suffix)
        names = {name.lower(): value for name, value in ACCESS.items() if name != "AWS_REGION"}
        client = boto3.client(
            "s3", endpoint_url=self.settings["AWS_ENDPOINT_URL"], region_name=ACCESS["AWS_REGION"], **names
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
        return sum(1 for key in keys if "." not in key.rpartition("/")[2])

    def redis_bytes(self) -> int:
        """What its keys take."""
        client = self.belt.client
        return sum(int(client.memory_usage(key, samples=0) or 0) for key in client.scan_iter(count=1000))

    def catalogue_bytes(self) -> int:
        """What its tables and indexes take."""
        if "DATABASE_URL" in self.settings:
            return int(self.ask("SELECT pg_database_size(current_database())")[0][0])
        return int(self.ask("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")[0][0])

    def pause(self) -> None:
        """Workers take nothing any more until `resume`."""
        self.catalogue.pauses.add("stage", Stage.FETCH)
        publish_pauses(self.belt, self.catalogue.pauses.all)
        time.sleep(HEEDED_S)

    def resume(self) -> None:
        self.catalogue.pauses.remove("stage", Stage.FETCH)
        publish_pauses(self.belt, self.catalogue.pauses.all)

    def cpu_s(self) -> dict[str, float]:
        """Processor time so far, by server."""
        return {name: cpu_s(leaders) for name, leaders in self.servers.items()} | {
            "Redis": run_ns(self.servers["Redis"]) / 1e9  # it takes less than a tick
        }

    def env(self, name: str, *, processes: int) -> dict[str, str]:
        """The environment of a host: nothing is shared but what stands in `settings`."""
        own = {"VAR_DIR": str(self.folder / name), "FETCH_ALLOW_PRIVATE": NETWORK, "LOG_FORMAT": "json"}
        # Previews take the time that nobody needs, so they would count for a file as soon as something is waited for.
        own |= {"WEB_CONCURRENCY": str(processes), "PREVIEWS": "false"}
        return Place(self.folder, self.settings["REDIS_URL"]).env | own | dict(self.settings)


@contextlib.contextmanager
def shared(folder: Path, stores: str, *, connections: int) -> Iterator[Shared]:
    """Everything that the hosts share, for the length of the block, with a new catalogue.

    Raises:
        Trouble: there is no PostgreSQL here.
    """
    with contextlib.ExitStack() as held:
        valkey = ValkeyServer(folder / "valkey", arguments=ON_HUB)
        held.callback(valkey.kill)
        valkey.start()
        settings = {"REDIS_URL": f"redis://{HUB}:{valkey.port}/0"}
        servers = {"Redis": {valkey.pid}}
        if stores != "sqlite":
            postgres = held.enter_context(_postgres(connections))
            settings |= {"DATABASE_URL": postgres.url(), "STORAGE_URL": (folder / "media").as_uri()}
            servers |= {"PostgreSQL": {postgres.pid}}
        if stores == "s3":
            endpoint, pid = held.enter_context(_s3(folder))
            settings |= {"STORAGE_URL": f"s3://{BUCKET}", "AWS_ENDPOINT_URL": endpoint, **ACCESS}
            servers |= {"S3": {pid}}
        source = held.enter_context(media_server(media.KEPT, hosts=[HUB]))
        (folder / "host1").mkdir()
        database = settings.get("DATABASE_URL") or f"sqlite:///{folder / 'host1' / 'esteira.db'}"
        catalogue = held.enter_context(contextlib.closing(Catalogue(database)))
        catalogue.migrate()
        belt = open_queue(load_settings(_env_file=None, var_dir=folder, redis_url=settings["REDIS_URL"]))
        held.callback(belt.client.close)
        engine = create_engine(database_url(database))
        held.callback(engine.dispose)
        yield Shared(folder, source, settings, servers, catalogue, belt, engine)


@contextlib.contextmanager
def _postgres(connections: int) -> Iterator[PostgresServer]:
    tools = binaries()
    if tools is None:
        raise Trouble(
            "hosts share a catalogue in PostgreSQL: install postgresql (initdb, pg_ctl), or take --stores sqlite"
        )
    # In memory and of its own: its user must get there, and into no folder of ours.
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="pg", dir=where, ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), tools, host=HUB, connections=connections)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def _s3(folder: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "scripts.benchmarks.s3_server", HUB]
    env = Place(folder, "").env
    with running(command, folder / "s3.log", env=env, cwd=ROOT) as server:
        wait_for("the S3 API", lambda: server.ended() is not None or "http://" in server.said(), within_s=START_S)
        if server.ended() is not None:
            raise Trouble(f"the S3 API does not start:\n{server.said()}")
        address = next(line for line in server.said().splitlines() if line.startswith("http://"))
        yield address, server.process.pid
