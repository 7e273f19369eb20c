"""Who takes part: Esteira, and what does the same work without most of what Esteira is.

Each has a folder and a Valkey of its own for one trial. `fill` puts rows onto its queue, `command` are its workers,
`done` is how many files it has finished, `stored` how many lie in its storage. Those with a queue have `sender`, the
program that hands rows over one by one, and hear of endings.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import redis

from pipeline.config.settings import Settings
from pipeline.notifiers.live import EVENTS_KEY
from scripts.benchmarks.baselines.bare import table
from scripts.benchmarks.environment import ROOT
from scripts.benchmarks.machine import Trouble, call
from scripts.benchmarks.media import Row

BIN = Path(sys.executable).parent
CATALOGUE = "esteira.db"
HEARD_WITHIN_S = 30.0
OURS = frozenset(name.upper() for name in Settings.model_fields)


@dataclass(frozen=True)
class Place:
    """Where one trial is: a folder of its own, a Redis of its own."""

    folder: Path
    redis_url: str
    processes: int = 2
    threads: int = 8
    given: Mapping[str, str] = field(default_factory=dict)  # settings beside

    @cached_property
    def env(self) -> dict[str, str]:
        """The environment without anybody's settings of Esteira, and with this project's commands."""
        kept = {name: value for name, value in os.environ.items() if name not in OURS}
        return kept | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}", "PYTHONPATH": str(ROOT)}

    def connect(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url, socket_timeout=HEARD_WITHIN_S)


class Esteira:
    """This project by its real commands: the Procfile's lines, `esteira submit`, process_media()."""

    def __init__(self, place: Place) -> None:
        self.place = place
        own = {"VAR_DIR": str(place.folder), "REDIS_URL": place.redis_url, "FETCH_ALLOW_PRIVATE": "127.0.0.0/8"}
        own |= {"WEB_CONCURRENCY": str(place.processes), "WORKER_THREADS": str(place.threads)}
        self.env = {**place.env, **own, **place.given}
        self._poured = place.folder / "poured.jsonl"
        (place.folder / CATALOGUE).write_bytes(empty_catalogue())

    def fill(self, rows: Sequence[Row]) -> None:
        source = self.place.folder / f"{rows[0]['message_id']}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        call([str(BIN / "esteira"), "submit", "--jsonl", str(source)], env=self.env, cwd=self.place.folder)

    def pour(self, rows: Sequence[Row]) -> None:
        """The same for very many, by process_media() in eight threads, which share transactions."""
        self._poured.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = f'"{sys.executable}" -m {CALLER} 8 < "{self._poured}" > /dev/null'
        call(["/bin/sh", "-c", command], env=self.env, cwd=self.place.folder)

    def command(self) -> list[str]:
        return ["/bin/sh", "-c", procfile("worker")]

    def sender(self) -> list[str]:
        return [sys.executable, "-m", CALLER]

    @contextlib.contextmanager
    def hearing(self) -> Iterator[Iterator[int]]:
        """The times (monotonic ns) at which endings are heard of, from now on."""
        with contextlib.closing(self.place.connect()) as client:
            newest: Any = client.xrevrange(EVENTS_KEY, count=1)
            yield self._heard(client, newest[0][0] if newest else b"0")

    def _heard(self, client: redis.Redis, last: bytes) -> Iterator[int]:
        while True:
            found: Any = client.xread({EVENTS_KEY: last}, count=1, block=int(HEARD_WITHIN_S * 1000 / 2))
            if not found:
                raise Trouble("an ending was not announced")
            [(_, [(last, event)])] = found
            if b'"media.done"' not in event[b"event"]:
                raise Trouble(f"did not end done: {event[b'event'][:500].decode()}")
            yield time.monotonic_ns()

    @cached_property
    def _catalogue(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.place.folder / CATALOGUE}?mode=ro", uri=True, timeout=5)

    def done(self) -> int:
        return int(self._catalogue.execute("SELECT count(*) FROM media WHERE status = 'done'").fetchone()[0])

    def others(self) -> str:
        """What else the catalogue has, for an error."""
        found = self._catalogue.execute("SELECT status, error_code, count(*) FROM media GROUP BY 1, 2").fetchall()
        return ", ".join(f"{count} {status}{f' ({code})' if code else ''}" for status, code, count in found)

    def stored(self) -> int:
        return sum(1 for path in (self.place.folder / "media").rglob("*") if path.is_file() and not path.suffix)


class Floor:
    """The work in a bare loop, without a queue."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.env = place.env
        self._out = place.folder / "out"
        self._out.mkdir()
        self._rows = place.folder / "rows.jsonl"
        self._table = table(self._out)

    def fill(self, rows: Sequence[Row]) -> None:
        self._rows.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def command(self) -> list[str]:
        given = (self._rows, self._out, self.place.processes, self.place.threads)
        return [sys.executable, "-m", "scripts.benchmarks.baselines.bare", *map(str, given)]

    def done(self) -> int:
        return int(self._table.execute("SELECT count(*) FROM media").fetchone()[0])

    def stored(self) -> int:
        return sum(1 for path in self._out.iterdir() if not path.name.startswith("."))


class Stock(Floor):
    """The work in one actor on Dramatiq as it comes."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.env = place.env | {"BENCH_REDIS": place.redis_url, "BENCH_OUT": str(self._out)}

    def fill(self, rows: Sequence[Row]) -> None:
        super().fill(rows)
        call(["/bin/sh", "-c", f'"{sys.executable}" -m {STOCK} < "{self._rows}"'], env=self.env, cwd=ROOT)

    def command(self) -> list[str]:
        shape = ["--processes", str(self.place.processes), "--threads", str(self.place.threads)]
        return [str(BIN / "dramatiq"), STOCK, *shape]

    def sender(self) -> list[str]:
        return [sys.executable, "-m", STOCK]

    @contextlib.contextmanager
    def hearing(self) -> Iterator[Iterator[int]]:
        """The times (monotonic ns) at which endings are heard of, from now on."""
        with contextlib.closing(self.place.connect()) as client:
            channel: Any = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            channel.subscribe("stock:done")
            channel.get_message(timeout=1)
            yield self._heard(channel)

    @staticmethod
    def _heard(channel: Any) -> Iterator[int]:
        while True:
            if not channel.get_message(timeout=HEARD_WITHIN_S / 2):
                raise Trouble("an ending was not announced")
            yield time.monotonic_ns()


CALLER = "scripts.benchmarks.caller"
STOCK = "scripts.benchmarks.baselines.stock"
Contestant = Esteira | Floor
Queued = Esteira | Stock
CONTESTANTS: dict[str, type[Esteira] | type[Floor]] = {
    "bare loop": Floor,
    "stock Dramatiq": Stock,
    "Esteira": Esteira,
}


@lru_cache(maxsize=1)
def empty_catalogue() -> bytes:
    """What the Procfile's release makes: once for all trials, for it takes a second each time."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        call(["/bin/sh", "-c", procfile("release")], env=Place(folder, "").env | {"VAR_DIR": made}, cwd=folder)
        return (folder / CATALOGUE).read_bytes()


def procfile(name: str) -> str:
    """The command of this line of the Procfile."""
    found = re.search(rf"^{name}:[ \t]*(\S.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    assert found
    return found[1]
