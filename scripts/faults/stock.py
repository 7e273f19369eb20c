"""The control arm: the same work on stock Dramatiq, with five piped actors on its own Redis broker.

    dramatiq scripts.faults.stock        with CONTROL_REDIS, CONTROL_DIR and CONTROL_SINK in the environment

Every result is recorded in a table: done, rejected, and failed when the retries are used up. Jobs that never get so far
are not recorded.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sqlite3
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import av
import dramatiq
import magic
import olefile
import pypdfium2
import requests
from dramatiq.brokers.redis import RedisBroker
from PIL import Image

from scripts.faults.leftovers import stock_table

PICTURES = {"image/jpeg", "image/png", "image/webp"}
STREAMS = {"video/mp4", "video/quicktime", "video/x-msvideo", "audio/ogg", "audio/mpeg", "audio/x-wav"}
OFFICE = ("application/msword", "application/vnd.ms-excel", "application/vnd.openxmlformats", "application/cdfv2")
CRASHING = {"image/gif", "image/heic", "audio/x-m4a", "video/3gpp"}

_local = threading.local()


class Rejected(Exception):  # noqa: N818  a result, not an error
    """Raised if the content is refused permanently."""


def folder() -> Path:
    return Path(os.environ["CONTROL_DIR"])


def table() -> sqlite3.Connection:
    """Returns the connection of this thread."""
    if not hasattr(_local, "table"):
        _local.table = stock_table(folder())
    connection: sqlite3.Connection = _local.table
    return connection


def session() -> requests.Session:
    """Returns the HTTP client of this thread."""
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
        _local.session.trust_env = False
    client: requests.Session = _local.session
    return client


def record_result(job: dict[str, Any], status: str) -> None:
    """Records a result. Only the first result of a job is kept."""
    values = (job["number"], status, job.get("sha256"), job["received"], time.time())
    table().execute("INSERT OR IGNORE INTO media VALUES (?, ?, ?, ?, ?)", values)


def send_event(job: dict[str, Any], status: str) -> None:
    event = {"id": str(job["number"]), "type": f"media.{status}"}
    headers = {"webhook-id": f"{job['number']}.{status}"}
    session().post(os.environ["CONTROL_SINK"], json=event, headers=headers, timeout=10).raise_for_status()


def decode(mime: str, path: Path) -> None:
    """Decodes the file in the worker process."""
    if mime in CRASHING:
        ctypes.string_at(0)
    elif mime in PICTURES:
        with Image.open(path) as picture:
            picture.load()
    elif mime in STREAMS:
        with av.open(str(path)) as container:
            next(container.decode(container.streams[0]))
    elif mime == "application/pdf":
        if not len(pypdfium2.PdfDocument(path)):
            raise Rejected("no pages")
    elif not (mime.startswith(OFFICE) and is_office(path)):
        raise Rejected(mime)


def is_office(path: Path) -> bool:
    """Whether the file has the parts that Word or Excel need."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as container:
            return {"[Content_Types].xml", "_rels/.rels"} <= set(container.namelist())
    with olefile.OleFileIO(path) as container:
        return any(
            len(container.openstream(name).read()) > 0
            for name in ("WordDocument", "Workbook")
            if container.exists(name)
        )


dramatiq.set_broker(RedisBroker(url=os.environ["CONTROL_REDIS"]))  # type: ignore[no-untyped-call]
actor = functools.partial(
    dramatiq.actor, max_retries=2, min_backoff=2000, on_retry_exhausted="record_failure", throws=Rejected
)


@dramatiq.actor(queue_name="record_failure", max_retries=2)
def record_failure(message: dict[str, Any], _retries: dict[str, Any]) -> None:
    """Records a job whose retries are used up."""
    [job] = message["args"]
    record_result(job, "failed")
    send_event(job, "failed")


@actor(queue_name="fetch")
def fetch(job: dict[str, Any]) -> dict[str, Any]:
    staged = folder() / f".{job['number']}"
    answer = session().get(job["url"], timeout=10)
    answer.raise_for_status()
    staged.write_bytes(answer.content)
    return {**job, "sha256": hashlib.sha256(answer.content).hexdigest()}


@actor(queue_name="detect")
def detect(job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "mime": magic.from_file(folder() / f".{job['number']}", mime=True)}


@actor(queue_name="validate")
def validate(job: dict[str, Any]) -> dict[str, Any]:
    staged = folder() / f".{job['number']}"
    try:
        decode(job["mime"].lower(), staged)
    except (Rejected, OSError, av.FFmpegError, pypdfium2.PdfiumError, StopIteration, IndexError):
        record_result(job, "rejected")
        send_event(job, "rejected")
        staged.unlink(missing_ok=True)
        raise Rejected(job["mime"]) from None
    return job


@actor(queue_name="persist")
def persist(job: dict[str, Any]) -> dict[str, Any]:
    staged, target = folder() / f".{job['number']}", folder() / "media" / job["sha256"]
    if staged.exists() or not target.exists():
        staged.rename(target)
    return job


@actor(queue_name="notify")
def notify(job: dict[str, Any]) -> None:
    send_event(job, "done")
    record_result(job, "done")
