"""The workers' module in a process that kills itself once, at one boundary in the processing of one attachment.

CRASH_AT names the boundary, such as `before catalogue.stored` or `after storage.name`; CRASH_ID is the attachment.
CRASH_MARKER is a file that is created before the crash: a process that finds it does not crash.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors.execution.executor import STEPS
from actors.redis_queue.queue import RedisQueue
from actors.stages import broker
from actors.webhooks.dispatcher import EndpointWorker
from pipeline.catalogue import Catalogue, DeliveryAttempt, FinishRequest
from pipeline.models import Model
from pipeline.security.whatsapp_media import Decryptor
from pipeline.services import services
from pipeline.storage import LocalStorage
from pipeline.storage.staging import Staging

__all__ = ["broker"]

_current = threading.local()  # id: the attachment that this thread processes
_AT, _ID, _MARKER = (os.environ.get(name, "") for name in ("CRASH_AT", "CRASH_ID", "CRASH_MARKER"))
_STAGING = str(services().settings.staging)
_STORAGE = str(services().settings.var_dir.absolute() / "media")


def die(boundary: str) -> None:
    """Kills this process with SIGKILL at the configured boundary, unless it crashed there before."""
    if boundary != _AT or os.path.exists(_MARKER):
        return
    os.close(os.open(_MARKER, os.O_CREAT | os.O_EXCL))
    os.kill(os.getpid(), signal.SIGKILL)


def _concerns_attachment(args: tuple[Any, ...]) -> bool:
    return getattr(_current, "id", None) == _ID or any(_ID in _ids_of(argument) for argument in args)


def _ids_of(argument: Any) -> set[Any]:
    """Ids of the attachments in an argument: of one, or of several in a list of tuples."""
    if isinstance(argument, list | tuple):
        return {media_id for part in argument for media_id in _ids_of(part)}
    if isinstance(argument, str):
        return {argument}
    if isinstance(argument, Model | DeliveryAttempt | FinishRequest):
        claim = getattr(argument, "claim", argument)
        return {getattr(claim, name, None) for name in ("id", "media_id")}
    return set()


def _watch(owner: Any, attribute: str, name: str, *, where: Callable[..., bool] | None = None) -> None:
    """Adds a boundary before and after a function of a class or a module."""
    original = getattr(owner, attribute)

    def watched(*args: Any, **kwargs: Any) -> Any:
        applies = _concerns_attachment(args) and (where is None or where(*args, **kwargs))
        if applies:
            die(f"before {name}")
        result = original(*args, **kwargs)
        if applies:
            die(f"after {name}")
        return result

    setattr(owner, attribute, watched)


def _step(stage: str, original: Callable[..., Any], services: Any, work: Sequence[Any]) -> Any:
    applies = any(claim.id == _ID for claim, _ in work)
    _current.id = _ID if applies else None
    if applies:
        die(f"before {stage}")
    result = original(services, work)
    if applies:
        die(f"after {stage}")
    return result


def _into(folder: str, _source: Any, target: Any, *, dst_dir_fd: int | None = None) -> bool:
    if dst_dir_fd is not None:
        target = Path(os.readlink(f"/proc/self/fd/{dst_dir_fd}"), target)
    return str(target).startswith(f"{folder}/") and ".parts" not in Path(target).parts


def _synced(folder: str, descriptor: int) -> bool:
    return os.readlink(f"/proc/self/fd/{descriptor}").startswith(folder)


for _stage, _original in STEPS.items():
    STEPS[_stage] = partial(_step, _stage.value, _original)
for _naming in ("rename", "replace", "link"):
    _watch(os, _naming, "staging.name", where=partial(_into, _STAGING))
    _watch(os, _naming, "storage.name", where=partial(_into, _STORAGE))
_watch(os, "fsync", "storage.sync", where=partial(_synced, _STORAGE))
_watch(Decryptor, "update", "decrypt.update")
_watch(Decryptor, "finish", "decrypt.mac")
_watch(Catalogue, "claim", "catalogue.claim")
_watch(Catalogue, "release", "catalogue.release")
_watch(Catalogue, "mark_failed", "catalogue.ended")
_watch(Catalogue, "mark_stored_many", "catalogue.stored")
_watch(Catalogue, "finish_many", "catalogue.finish")
_watch(EndpointWorker, "_send", "delivery")
_watch(Staging, "discard", "staging.discard")
_watch(LocalStorage, "delete", "intake.delete")
_watch(RedisQueue, "ack_many", "belt.ack")
