"""Checks of the intake spool: its folder, what waits in it, and what was set aside."""

from __future__ import annotations

from collections.abc import Iterator

from actors.doctor.disks import MEMORY, check_free_space, filesystem, is_network
from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.settings import Settings
from pipeline.intake_spool import IntakeSpool, open_spool
from pipeline.intake_spool.folder import DAMAGED

CHECK = "intake spool"
LATE_S = 60.0  # an older entry is reported although the catalogue answers
ALMOST_FULL = 0.8
RESTORE = "restore each from a backup and move it back into the spool, or delete it"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """The findings about the spool of this machine."""
    spool = open_spool(settings)
    if spool is None:
        yield ok(CHECK, "INTAKE_SPOOL is off: hooks answer 503 while the catalogue is away")
        return
    yield check_folder(spool)
    yield check_entries(spool)
    yield check_free_space(CHECK, spool.folder, low_bytes=min(spool.max_bytes, 1_000_000_000))


def check_folder(spool: IntakeSpool) -> Finding:
    """Check that entries can be written, and survive a restart of the machine."""
    if fault := spool.fault():
        message = f"{fault}: hand-overs are refused while the catalogue is away"
        return fail(CHECK, message, "make the folder writable, set INTAKE_SPOOL to another one, or to off")
    kind = filesystem(spool.folder)
    if kind in MEMORY:
        return warn(CHECK, f"{spool.folder} is on {kind}: a restart of this machine deletes it", "move it to a disk")
    if is_network(kind):
        return warn(CHECK, f"{spool.folder} is on {kind}, which may be away too", "move it to a local disk")
    return ok(CHECK, f"{spool.folder} takes hand-overs while the catalogue is away")


def check_entries(spool: IntakeSpool) -> Finding:
    """Check that nothing waits for long, that there is room, and that no entry was set aside."""
    check, status = f"{CHECK} entries", spool.status()
    if status.damaged:
        return warn(check, f"{status.damaged} damaged in {spool.folder / DAMAGED}: not recorded", RESTORE)
    waiting = f"{status.entries} waiting, {status.size_bytes / 1e6:.1f} MB"
    if status.size_bytes > ALMOST_FULL * spool.max_bytes:
        return warn(check, f"{waiting}: almost full", "repair the catalogue, or raise INTAKE_SPOOL_MB")
    if status.oldest_s > LATE_S:
        message = f"{waiting}, the oldest for {status.oldest_s:.0f} s"
        return warn(check, message, "repair the catalogue, or start a worker on this machine, or run `esteira sweep`")
    return ok(check, waiting if status.entries else "nothing waits")
