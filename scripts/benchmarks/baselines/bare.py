"""The work on one file and nothing else, as a bare script would do it: no queue, no retries, no web, no sandbox.

    python -m scripts.benchmarks.baselines.bare ROWS.jsonl OUT PROCESSES THREADS

fetches, hashes, tells the type, decodes, moves into place and writes a row, for each attachment of ROWS.jsonl. What a
pipeline takes beyond that is its overhead.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import multiprocessing
import os
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import magic
import pypdfium2
from PIL import Image

PIECE = 256 * 1024
_here = threading.local()
_pdfium = threading.Lock()  # it is not safe for threads


def download(url: str, path: str) -> str:
    """Fetches a file over this thread's connection to its host; its SHA-256."""
    target = urlsplit(url)
    if not hasattr(_here, "connections"):
        _here.connections, _here.piece = {}, bytearray(PIECE)
    connection = _here.connections.get(target.netloc)
    if connection is None:
        connection = _here.connections[target.netloc] = http.client.HTTPConnection(target.netloc, timeout=30)
    digest, piece = hashlib.sha256(), memoryview(_here.piece)
    connection.request("GET", target.path)
    answer = connection.getresponse()
    if answer.status != 200:
        raise OSError(f"{target.path}: {answer.status}")
    with open(path, "wb", buffering=0) as out:  # noqa: PTH123
        while count := answer.readinto(piece):
            digest.update(piece[:count])
            out.write(piece[:count])
    return digest.hexdigest()


def kind_of(path: str) -> str:
    """Its type by its content."""
    if not hasattr(_here, "magic"):
        _here.magic = magic.Magic(mime=True)
    return str(_here.magic.from_file(path))


def decode(mime: str, path: str) -> None:
    """Opens it as far as it takes to see that it is whole."""
    if mime.startswith("image/"):
        with Image.open(path) as image:
            image.draft("RGB", (135, 135))
            image.load()
    elif mime == "application/pdf":
        with _pdfium:
            document = pypdfium2.PdfDocument(path)
            len(document)
            document.close()
    else:
        with av.open(path) as box:
            next(box.decode(box.streams[0]))


def table(folder: Path) -> sqlite3.Connection:
    """The table of what is done; one statement at a time."""
    made = sqlite3.connect(folder / ".bare.db", isolation_level=None, check_same_thread=False, timeout=30)
    made.execute("PRAGMA journal_mode=wal")
    made.execute("PRAGMA synchronous=normal")
    made.execute("CREATE TABLE IF NOT EXISTS media (id TEXT PRIMARY KEY, sha256 TEXT, mime TEXT)")
    return made


class Bare:
    """One process's way of doing it."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)
        self._table = table(folder)
        self._lock = threading.Lock()

    def take(self, row: dict[str, Any]) -> None:
        """All of the work on one attachment."""
        staged = f"{self._folder}/.{row['message_id']}"
        sha256 = download(row["url"], staged)
        mime = kind_of(staged)
        decode(mime, staged)
        os.rename(staged, f"{self._folder}/{sha256}")  # noqa: PTH104
        with self._lock:
            self._table.execute("INSERT OR REPLACE INTO media VALUES (?, ?, ?)", (row["message_id"], sha256, mime))


def work(given: list[dict[str, Any]], folder: Path, threads: int) -> None:
    """One process's share."""
    bare = Bare(folder)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(bare.take, given))


def main(source: Path, folder: Path, processes: int, threads: int) -> int:
    """Exit status: 1 if one of the processes failed."""
    given = [json.loads(line) for line in source.read_text().splitlines()]
    team = [
        multiprocessing.Process(target=work, args=(given[share::processes], folder, threads))
        for share in range(processes)
    ]
    for member in team:
        member.start()
    for member in team:
        member.join()
    return int(any(member.exitcode for member in team))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
