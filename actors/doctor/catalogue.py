"""Checks of the catalogue: its tables, its file, and what in it waits for too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import redis

from actors.doctor.disks import MEMORY, check_free_space, filesystem, is_network
from actors.doctor.finding import Finding, fail, ok, warn
from actors.doctor.redis_server import MAX_CLOCK_SKEW_S, TIMEOUT_S
from actors.redis_queue.queue import open_queue
from pipeline.catalogue import Catalogue, CatalogueError, EndpointStats
from pipeline.catalogue.database import REMEDY
from pipeline.catalogue.health import DatabaseHealth
from pipeline.catalogue.sources import MissingKeys
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError

MAX_CHECKED_BYTES = 256_000_000  # quick_check reads the whole file: one or two seconds for this size
LATE_S = 900  # age of a webhook event that is reported
SHOWN_PAUSES = 5
MAX_IDS = 1000  # unfinished attachments that are compared with the queue

CHECK_ADDRESS = "check DATABASE_URL and that its server runs"
DAMAGED = "check DATABASE_URL; if the file is damaged, restore a backup or use sqlite3's .recover on a copy"
KEY_REMEDY = "add what is missing to ENCRYPTION_KEYS, and restart web app and workers"
TABLES = "run `esteira migrate`, or `esteira start`"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """All findings about the catalogue; without its tables, only those that need none."""
    with closing(DatabaseHealth(settings.database)) as health:
        if health.file:
            yield check_free_space("catalogue", health.file)
        tables = check_tables(health)
        yield tables
        if not tables.remedy:
            yield from (check(health) for check in (FILE_CHECKS if health.file else SERVER_CHECKS))
            yield check_encryption(settings)
            yield check_unfinished(settings)
            yield check_deliveries(settings)
            yield check_pauses(settings)


def check_tables(health: DatabaseHealth) -> Finding:
    if health.missing:
        return fail("catalogue", f"no catalogue at {health.where}", TABLES)
    try:
        health.check_schema()
    except CatalogueError as error:
        return fail("catalogue", error.message.removesuffix(f": {REMEDY}"), TABLES)
    except PipelineError as error:
        return fail("catalogue", error.message, DAMAGED if health.file else CHECK_ADDRESS)
    pooler = "; behind a pooler, so statements are not prepared" if health.behind_pooler() else ""
    return ok("catalogue", f"{health.where}, tables are up to date{pooler}")


def check_location(health: DatabaseHealth) -> Finding:
    check, kind = "catalogue location", filesystem(health.file or Path())
    if is_network(kind):
        remedy = "move it to a local disk, or use PostgreSQL"
        return warn(check, f"SQLite on {kind}: file locks on network filesystems are unreliable", remedy)
    if kind in MEMORY:
        return warn(check, f"{kind}: a restart of this machine deletes it", "move it to a disk")
    return ok(check, f"a file on {kind}")


def check_journal(health: DatabaseHealth) -> Finding:
    mode = health.journal_mode()
    if mode != "wal":
        return warn("catalogue journal", f"{mode}: readers and writers block each other", "move it to a local disk")
    return ok("catalogue journal", "write-ahead log")


def check_integrity(health: DatabaseHealth) -> Finding:
    check, size = "catalogue integrity", health.file.stat().st_size if health.file else 0
    if size > MAX_CHECKED_BYTES:
        return ok(check, f"not checked: {size / 1e9:.1f} GB would take too long")
    if error := health.integrity_error():
        return fail(check, error.replace("\n", " "), f"stop the workers; {DAMAGED}")
    return ok(check, "quick_check reports no error")


def check_clock(health: DatabaseHealth) -> Finding:
    skew_s = health.skew_s() or 0.0
    if abs(skew_s) > MAX_CLOCK_SKEW_S:
        message = f"differs from this machine's clock by {skew_s:+.1f} s"
        return warn("catalogue clock", message, "synchronize both machines with NTP")
    return ok("catalogue clock", f"within {MAX_CLOCK_SKEW_S:g} s of this machine's clock")


def check_encryption(settings: Settings) -> Finding:
    """Check that the keys of all waiting attachments are set, and those of ended ones that can be replayed."""
    check = "encryption keys"
    with closing(Catalogue(settings.database, keys=settings.source_keys)) as catalogue:
        missing, keys = catalogue.sources.missing_keys(), catalogue.sources.key_ids
        ended = catalogue.sources.missing_keys_of_ended()
    if missing:
        message = f"{sum(missing.values())} attachments wait for keys that are not set: {', '.join(sorted(missing))}"
        return fail(check, message, KEY_REMEDY)
    if ended.rows:
        return warn(check, _describe_unreplayable(ended), KEY_REMEDY)
    if not keys:
        return ok(
            check, "ENCRYPTION_KEYS is not set: media keys and URLs are in plain text until an attachment is done"
        )
    older = f"; only for decrypting: {', '.join(keys[1:])}" if keys[1:] else ""
    return ok(check, f"{keys[0]} encrypts media keys and URLs{older}")


def _describe_unreplayable(ended: MissingKeys) -> str:
    n = sum(ended.rows.values())
    attachments = "ended attachment" if n == 1 and ended.is_complete else "ended attachments"
    more = "" if ended.is_complete else " or more"
    names = ", ".join(sorted(ended.rows))
    missing = f"key {names} is" if len(ended.rows) == 1 else f"keys {names} are"
    return f"{n}{more} {attachments} cannot be replayed: {missing} missing"


def check_unfinished(settings: Settings) -> Finding:
    """Check whether attachments wait for too long, and whether the queue contains them."""
    check, age = "unfinished", settings.sweep_after_s
    with closing(Catalogue(settings.database)) as catalogue:
        ids = catalogue.unfinished(older_than_s=age, limit=MAX_IDS)
    if not ids:
        return ok(check, f"no attachment waits for more than {age:g} s")
    message = f"{len(ids)}{' or more' if len(ids) == MAX_IDS else ''} wait for more than {age:g} s"
    queue = open_queue(settings, timeout_s=TIMEOUT_S)
    try:
        missing = len(queue.find_missing(ids))
    except (redis.RedisError, OSError):
        return warn(check, message, "repair Redis; the requeue scan then enqueues what is missing")
    finally:
        queue.client.close()
    if missing:
        return warn(check, f"{message}, {missing} of them not in the queue", "start workers, or run `esteira sweep`")
    return ok(check, f"{message}, all of them in the queue")


def check_deliveries(settings: Settings) -> Finding:
    """Check whether webhook events are late or given up."""
    check = "webhook events"
    names = [endpoint.name for endpoint in settings.endpoints]
    with closing(Catalogue(settings.database)) as catalogue:
        endpoints = catalogue.deliveries.endpoint_stats(names)
    late = [stats for stats in endpoints if stats.undelivered or stats.oldest_s > LATE_S or stats.circuit.open]
    if late:
        message = "; ".join(f"{stats.endpoint}: {_describe(stats)}" for stats in late)
        return warn(check, message, "see `esteira webhooks list`, then `esteira webhooks redeliver`")
    if not names:
        return ok(check, "no endpoint is set")
    return ok(check, f"{sum(stats.pending for stats in endpoints)} pending, none for more than {LATE_S} s")


def _describe(stats: EndpointStats) -> str:
    error = f", the endpoint fails: {stats.circuit.error}" if stats.circuit.open else ""
    return f"{stats.pending} pending, {stats.undelivered} given up{error}"


def check_pauses(settings: Settings) -> Finding:
    """List pauses, which may have been forgotten."""
    with closing(Catalogue(settings.database)) as catalogue:
        pauses = catalogue.pauses.all()
    if not pauses:
        return ok("pauses", "nothing is paused")
    shown = ", ".join(f"{pause.kind} {pause.name!r}" for pause in pauses[:SHOWN_PAUSES])
    more = f" and {len(pauses) - SHOWN_PAUSES} more" if len(pauses) > SHOWN_PAUSES else ""
    return warn("pauses", f"paused: {shown}{more}", "run `esteira resume` when the reason is gone")


FILE_CHECKS: tuple[Callable[[DatabaseHealth], Finding], ...] = (check_location, check_journal, check_integrity)
SERVER_CHECKS: tuple[Callable[[DatabaseHealth], Finding], ...] = (check_clock,)
