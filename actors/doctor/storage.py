"""Checks of storage and staging: a small object is written, read back and deleted."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from actors.doctor.disks import MEMORY, check_free_space, filesystem, is_network
from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.storage import LocalStorage, intake_key, open_storage
from pipeline.storage.staging import Staging

PROBE = b"esteira doctor"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """All findings about storage and staging, and about their disks."""
    yield from (check(settings) for check in CHECKS)
    yield check_free_space("staging", settings.staging, low_bytes=settings.max_bytes(None))
    storage = open_storage(settings.storage)
    if isinstance(storage, LocalStorage):
        yield check_free_space("storage", storage.root)


def check_storage(settings: Settings) -> Finding:
    storage = open_storage(settings.storage)
    key = intake_key(f"doctor-{secrets.token_hex(8)}")
    try:
        storage.put_chunks([PROBE], key)
        content = b"".join(storage.chunks(key))
        storage.delete(key)
    except PipelineError as error:
        remedy = "check STORAGE_URL, its credentials, write permission and free space"
        return fail("storage", f"{settings.storage}: {error.message}", remedy)
    if content != PROBE:
        return fail("storage", f"{settings.storage} returns other bytes than were written", "use another storage")
    if isinstance(storage, LocalStorage) and filesystem(storage.root) in MEMORY:
        return warn("storage", f"{settings.storage} is in memory: a restart of the machine empties it", "use a disk")
    return ok("storage", f"{settings.storage}: written, read back, deleted")


def check_staging(settings: Settings) -> Finding:
    staging = Staging(settings.staging)
    name = f"doctor-{secrets.token_hex(8)}"
    try:
        with staging.part(name) as out:
            out.write(PROBE)
        staging.discard(name)
    except PipelineError as error:
        remedy = "check STAGING_DIR, its write permission and free space"
        return fail("staging", f"{settings.staging}: {error.message}", remedy)
    kind = filesystem(settings.staging)
    if is_network(kind):
        message = f"{settings.staging} is on {kind}: every byte crosses the network twice"
        return warn("staging", message, "set STAGING_DIR to a directory on a local disk")
    return ok("staging", f"{settings.staging} on {kind}: written and deleted")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (check_storage, check_staging)
