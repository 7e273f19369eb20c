"""The catalogue: whether its tables are there, whether its file can be relied on, and what in it has not ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import redis

from actors.doctor.disks import MEMORY, check_room, filesystem, is_network
from actors.doctor.finding import Finding, fail, ok, warn
from actors.doctor.redis_server import CLOCK_S, TIMEOUT_S
from actors.redis_queue.queue import open_queue
from pipeline.catalogue import Catalogue, CatalogueError, EndpointStats
from pipeline.catalogue.database import REMEDY
from pipeline.catalogue.health import DatabaseHealth
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError

SMALL_BYTES = 256_000_000  # a file that is looked through in a second or two
LATE_S = 900
PAUSES_SHOWN = 5
MAX_BATCH = 1000  # unfinished attachments that are looked at

CHECK_ADDRESS = "check DATABASE_URL and that its server runs"
DAMAGED = "check DATABASE_URL; if the file is damaged, restore a backup or use sqlite3's .recover on a copy"
TABLES = "run `esteira migrate`, or `esteira start`"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Everything about the catalogue; what cannot be asked of one that is away or empty is left out."""
    with closing(DatabaseHealth(settings.database)) as health:
        if health.file:
            yield check_room("catalogue", health.file)
        tables = check_tables(health)
        yield tables
        if not tables.remedy:
            yield from (check(health) for check in (FILE_CHECKS if health.file else SERVER_CHECKS))
            yield check_unfinished(settings)
            yield check_deliveries(settings)
            yield check_pauses(settings)


def check_tables(health: DatabaseHealth) -> Finding:
    if health.missing:
        return fail("catalogue", f"there is none at {health.where}", TABLES)
    try:
        health.check_schema()
    except CatalogueError as error:
        return fail("catalogue", error.message.removesuffix(f": {REMEDY}"), TABLES)
    except PipelineError as error:
        return fail("catalogue", error.message, DAMAGED if health.file else CHECK_ADDRESS)
    return ok("catalogue", f"{health.where}, its tables are up to date")


def check_place(health: DatabaseHealth) -> Finding:
    kind = filesystem(health.file or Path())
    if is_network(kind):
        remedy = "put it on a local disk, or use PostgreSQL"
        return warn("catalogue place", f"SQLite on {kind}: locks of network filesystems are not to be trusted", remedy)
    if kind in MEMORY:
        return warn("catalogue place", f"{kind}: it is gone when this machine restarts", "put it on a disk")
    return ok("catalogue place", f"a file on {kind}")


def check_journal(health: DatabaseHealth) -> Finding:
    mode = health.journal_mode()
    if mode != "wal":
        return warn("catalogue journal", f"{mode}: readers and writers wait for each other", "put it on a local disk")
    return ok("catalogue journal", "write-ahead log")


def check_integrity(health: DatabaseHealth) -> Finding:
    size = health.file.stat().st_size if health.file else 0
    if size > SMALL_BYTES:
        return ok("catalogue integrity", f"not looked at: {size / 1e9:.1f} GB take too long")
    if fault := health.integrity_error():
        return fail("catalogue integrity", fault.replace("\n", " "), f"stop the workers; {DAMAGED}")
    return ok("catalogue integrity", "quick_check finds nothing wrong")


def check_clock(health: DatabaseHealth) -> Finding:
    skew = health.skew_s() or 0.0
    if abs(skew) > CLOCK_S:
        return warn("catalogue clock", f"differs from ours by {skew:+.1f} s", "let both machines use NTP")
    return ok("catalogue clock", f"within {CLOCK_S:g} s of ours")


def check_unfinished(settings: Settings) -> Finding:
    """Attachments that should have ended, and whether the belt knows of them."""
    age = settings.sweep_after_s
    with closing(Catalogue(settings.database)) as catalogue:
        ids = catalogue.unfinished(older_than_s=age, limit=MAX_BATCH)
    if not ids:
        return ok("unfinished", f"no attachment waits for more than {age:g} s")
    message = f"{len(ids)}{' or more' if len(ids) == MAX_BATCH else ''} wait for more than {age:g} s"
    belt = open_queue(settings, timeout_s=TIMEOUT_S)
    try:
        missing = len(belt.find_missing(ids))
    except (redis.RedisError, OSError):
        return warn("unfinished", message, "see to Redis; the workers' sweep puts back what the belt has lost")
    finally:
        belt.client.close()
    if missing:
        return warn(
            "unfinished", f"{message}, {missing} of them not on the belt", "start workers, or run `esteira sweep`"
        )
    return ok("unfinished", f"{message}, all of them on the belt")


def check_deliveries(settings: Settings) -> Finding:
    """Events that endpoints of webhooks should have got."""
    names = [endpoint.name for endpoint in settings.endpoints]
    with closing(Catalogue(settings.database)) as catalogue:
        standings = catalogue.deliveries.endpoint_stats(names)
    late = [one for one in standings if one.undelivered or one.oldest_s > LATE_S or one.circuit.open]
    if late:
        told = "; ".join(f"{one.endpoint}: {_deliveries(one)}" for one in late)
        return warn("webhook events", told, "see `esteira webhooks list`, then `esteira webhooks redeliver`")
    if not names:
        return ok("webhook events", "none to deliver")
    return ok("webhook events", f"{sum(one.pending for one in standings)} wait, none for more than {LATE_S} s")


def _deliveries(one: EndpointStats) -> str:
    state = f", it fails: {one.circuit.error}" if one.circuit.open else ""
    return f"{one.pending} wait, {one.undelivered} given up{state}"


def check_pauses(settings: Settings) -> Finding:
    """What somebody has paused, and may have forgotten."""
    with closing(Catalogue(settings.database)) as catalogue:
        paused = catalogue.pauses.all()
    if not paused:
        return ok("pauses", "nothing is paused")
    shown = ", ".join(f"{pause.kind} {pause.name!r}" for pause in paused[:PAUSES_SHOWN])
    more = f" and {len(paused) - PAUSES_SHOWN} more" if len(paused) > PAUSES_SHOWN else ""
    return warn("pauses", f"what waits there keeps waiting: {shown}{more}", "`esteira resume` when the reason is gone")


FILE_CHECKS: tuple[Callable[[DatabaseHealth], Finding], ...] = (check_place, check_journal, check_integrity)
SERVER_CHECKS: tuple[Callable[[DatabaseHealth], Finding], ...] = (check_clock,)
