"""The same job on Dramatiq as it comes: five piped actors on its own Redis broker, for the control arm.

    dramatiq scripts.faults.stock        with CONTROL_REDIS, CONTROL_DIR and CONTROL_SINK in the environment

Whoever builds this with care records every ending in a table, as here: done, rejected, and failed when the retries are
used up. What never gets that far is not recorded by anybody.
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

_here = threading.local()


class Rejected(Exception):  # noqa: N818  a verdict, not an error
    """The content is refused for good."""


def folder() -> Path:
    return Path(os.environ["CONTROL_DIR"])


def table() -> sqlite3.Connection:
    """This thread's connection."""
    if not hasattr(_here, "table"):
        _here.table = stock_table(folder())
    connection: sqlite3.Connection = _here.table
    return connection


def session() -> requests.Session:
    """This thread's client."""
    if not hasattr(_here, "session"):
        _here.session = requests.Session()
        _here.session.trust_env = False
    found: requests.Session = _here.session
    return found


def end(job: dict[str, Any], status: str) -> None:
    """Notes an ending; the first one stands."""
    given = (job["number"], status, job.get("sha256"), job["received"], time.time())
    table().execute("INSERT OR IGNORE INTO media VALUES (?, ?, ?, ?, ?)", given)


def progress(job: dict[str, Any], status: str) -> None:
    event_ids = {"id": str(job["number"]), "type": f"media.{status}"}
    headers = {"webhook-id": f"{job['number']}.{status}"}
    session().post(os.environ["CONTROL_SINK"], json=event_ids, headers=headers, timeout=10).raise_for_status()


def look_inside(mime: str, path: Path) -> None:
    """Decodes it, here in the worker, as most do."""
    if mime in CRASHING:
        ctypes.string_at(0)
    elif mime in PICTURES:
        with Image.open(path) as picture:
            picture.load()
    elif mime in STREAMS:
        with av.open(str(path)) as box:
            next(box.decode(box.streams[0]))
    elif mime == "application/pdf":
        if not len(pypdfium2.PdfDocument(path)):
            raise Rejected("no pages")
    elif not (mime.startswith(OFFICE) and is_office(path)):
        raise Rejected(mime)


def is_office(path: Path) -> bool:
    """Whether it holds what Word or Excel would open."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as box:
            return {"[Content_Types].xml", "_rels/.rels"} <= set(box.namelist())
    with olefile.OleFileIO(path) as box:
        return any(len(box.openstream(name).read()) > 0 for name in ("WordDocument", "Workbook") if box.exists(name))


dramatiq.set_broker(RedisBroker(url=os.environ["CONTROL_REDIS"]))  # type: ignore[no-untyped-call]
actor = functools.partial(
    dramatiq.actor, max_retries=2, min_backoff=2000, on_retry_exhausted="gave_up", throws=Rejected
)


@dramatiq.actor(queue_name="gave_up", max_retries=2)
def gave_up(message: dict[str, Any], _retries: dict[str, Any]) -> None:
    """The attempts of one stage are used up."""
    [job] = message["args"]
    end(job, "failed")
    progress(job, "failed")


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
        look_inside(job["mime"].lower(), staged)
    except (Rejected, OSError, av.FFmpegError, pypdfium2.PdfiumError, StopIteration, IndexError):
        end(job, "rejected")
        progress(job, "rejected")
        staged.unlink(missing_ok=True)
        raise Rejected(job["mime"]) from None
    return job


@actor(queue_name="persist")
def persist(job: dict[str, Any]) -> dict[str, Any]:
    staged, stored_files = folder() / f".{job['number']}", folder() / "media" / job["sha256"]
    if staged.exists() or not stored_files.exists():
        staged.rename(stored_files)
    return job


@actor(queue_name="notify")
def notify(job: dict[str, Any]) -> None:
    progress(job, "done")
    end(job, "done")
