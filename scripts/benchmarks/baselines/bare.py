"""The bare loop: the work on each file and nothing else. No queue, no retries, no web app, no sandbox.

    python -m scripts.benchmarks.baselines.bare ROWS.jsonl OUT PROCESSES THREADS

For each attachment in ROWS.jsonl it fetches, hashes, identifies and decodes the file, moves it to OUT and writes a row.
The difference to a pipeline is the pipeline's overhead.
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

CHUNK_BYTES = 256 * 1024
_thread_local = threading.local()
_pdfium = threading.Lock()  # PDFium is not thread-safe


def download(url: str, path: str) -> str:
    """Fetches a file over this thread's connection to its host. Returns its SHA-256."""
    target = urlsplit(url)
    if not hasattr(_thread_local, "connections"):
        _thread_local.connections, _thread_local.chunk = {}, bytearray(CHUNK_BYTES)
    connection = _thread_local.connections.get(target.netloc)
    if connection is None:
        connection = _thread_local.connections[target.netloc] = http.client.HTTPConnection(target.netloc, timeout=30)
    digest, chunk = hashlib.sha256(), memoryview(_thread_local.chunk)
    connection.request("GET", target.path)
    response = connection.getresponse()
    if response.status != 200:
        raise OSError(f"{target.path}: {response.status}")
    with open(path, "wb", buffering=0) as out:  # noqa: PTH123
        while count := response.readinto(chunk):
            digest.update(chunk[:count])
            out.write(chunk[:count])
    return digest.hexdigest()


def mime_type(path: str) -> str:
    """The MIME type by content."""
    if not hasattr(_thread_local, "magic"):
        _thread_local.magic = magic.Magic(mime=True)
    return str(_thread_local.magic.from_file(path))


def decode(mime: str, path: str) -> None:
    """Decodes as much of the file as shows that it is not damaged."""
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
        with av.open(path) as container:
            next(container.decode(container.streams[0]))


def table(folder: Path) -> sqlite3.Connection:
    """Opens the table of finished files. A connection serves one statement at a time."""
    connection = sqlite3.connect(folder / ".bare.db", isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("PRAGMA synchronous=normal")
    connection.execute("CREATE TABLE IF NOT EXISTS media (id TEXT PRIMARY KEY, sha256 TEXT, mime TEXT)")
    return connection


class FileProcessor:
    """Processes the files of one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)
        self._table = table(folder)
        self._lock = threading.Lock()

    def process(self, row: dict[str, Any]) -> None:
        """Fetches, identifies, decodes and stores one attachment."""
        staged = f"{self._folder}/.{row['message_id']}"
        sha256 = download(row["url"], staged)
        mime = mime_type(staged)
        decode(mime, staged)
        os.rename(staged, f"{self._folder}/{sha256}")  # noqa: PTH104
        with self._lock:
            self._table.execute("INSERT OR REPLACE INTO media VALUES (?, ?, ?)", (row["message_id"], sha256, mime))


def process_share(rows: list[dict[str, Any]], folder: Path, threads: int) -> None:
    """Processes the share of one process."""
    processor = FileProcessor(folder)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(processor.process, rows))


def main(source: Path, folder: Path, count: int, threads: int) -> int:
    """Processes the rows in `count` processes. Returns the exit status: 1 if one of them failed."""
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    processes = [
        multiprocessing.Process(target=process_share, args=(rows[share::count], folder, threads))
        for share in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return int(any(process.exitcode for process in processes))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
