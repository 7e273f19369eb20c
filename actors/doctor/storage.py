"""Storage and staging: whether what goes in comes out again."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from actors.doctor.disks import MEMORY, check_room, filesystem, is_network
from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.storage import LocalStorage, intake_key, open_storage
from pipeline.storage.staging import Staging

PROBE = b"esteira doctor was here"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """A small object goes into storage and staging and out again; the disks below are looked at."""
    yield from (check(settings) for check in CHECKS)
    yield check_room("staging", settings.staging, wanted=settings.max_bytes(None))
    store = open_storage(settings.storage)
    if isinstance(store, LocalStorage):
        yield check_room("storage", store.root)


def check_storage(settings: Settings) -> Finding:
    store = open_storage(settings.storage)
    key = intake_key(f"doctor-{secrets.token_hex(8)}")
    try:
        store.put_chunks([PROBE], key)
        found = b"".join(store.chunks(key))
        store.delete(key)
    except PipelineError as error:
        remedy = "check STORAGE_URL, who may write there, its credentials and its free space"
        return fail("storage", f"{settings.storage}: {error.message}", remedy)
    if found != PROBE:
        return fail("storage", f"{settings.storage}: gives back other bytes than it was given", "use another storage")
    if isinstance(store, LocalStorage) and filesystem(store.root) in MEMORY:
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
        remedy = "check STAGING_DIR, who may write there and its free space"
        return fail("staging", f"{settings.staging}: {error.message}", remedy)
    kind = filesystem(settings.staging)
    if is_network(kind):
        message = f"{settings.staging} is on {kind}: every byte goes over the network twice"
        return warn("staging", message, "set STAGING_DIR to a folder on a local disk")
    return ok("staging", f"{settings.staging} on {kind}: written and deleted")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (check_storage, check_staging)
