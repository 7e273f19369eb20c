"""The table of all faults by id. A new fault needs a function for one round and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scripts.faults import (
    catalogue_faults,
    disk_faults,
    environment_faults,
    limit_faults,
    overload,
    process_faults,
    redis_faults,
    secret_faults,
    slow_media_faults,
    store_faults,
    stranger_faults,
)
from scripts.faults.environment import RunTerms, Testbed

USUAL = RunTerms()
POISONED = RunTerms(
    poison=0.2, module="scripts.faults.poisoned", env={"SANDBOX_CPU_S": "2", "SANDBOX_MEMORY_MB": "256"}
)
ATTACKED = RunTerms(
    poison=0.2,
    module="scripts.faults.attacked",
    env={"SANDBOX_CPU_S": "2", "SANDBOX_MEMORY_MB": "256", "SANDBOX_WALL_S": "6"},
)
OBJECT_STORAGE = RunTerms(store=True)
NAMED_HOSTS = RunTerms(module="scripts.faults.dns_faults", named_every=5)
SHIFTED_CLOCK = RunTerms(module="scripts.faults.clock_skew")
WORKER_EXITS_ALLOWED = RunTerms(worker_exits_allowed=True)
SHORT_WEBHOOK_SCHEDULE = RunTerms(env={"WEBHOOK_RETRY_S": "1,2,3"})
SHORT_DEADLINES = RunTerms(env=slow_media_faults.SHORT_DEADLINES)
SIGNED_HOOKS = RunTerms(env=stranger_faults.SIGNED_HOOK)
RESTARTED_CATALOGUE = RunTerms(postgres=True, keeps_socket=True, env=catalogue_faults.SETTINGS)
LONG_DRAIN = RunTerms(drain_timeout_s=1800)


@dataclass(frozen=True)
class Fault:
    """One fault. `run_round` injects and undoes it once.

    `rounds`: default number of rounds; `short`: rounds with --short (0: left out). `terms`: configuration of the run;
    faults with other terms than USUAL are not part of a soak.
    """

    id: str
    title: str
    run_round: Callable[[Testbed, int], None]
    rounds: int = 10
    short: int = 0
    terms: RunTerms = USUAL


_ROWS = (
    Fault("F00", "no fault, for comparison", environment_faults.do_nothing, 6),
    Fault("F01", "SIGKILL to a random worker", process_faults.kill_worker, 300, short=3),
    Fault("F02", "SIGKILL to all workers, down for 20 s", process_faults.kill_all_workers),
    Fault("F03", "SIGTERM to the workers in turn", process_faults.restart_worker, 50),
    Fault("F05", "SIGKILL to the web app during intake", process_faults.kill_web_app, 20),
    Fault("F06", "Redis killed and restarted, AOF every second", redis_faults.restart, short=2),
    Fault("F07", "Redis killed and restarted empty", redis_faults.restart, short=1, terms=RunTerms(aof=False)),
    Fault("F08", "FLUSHALL", redis_faults.flush),
    Fault("F09", "Redis silent or refusing for 1, 3, 10, 20, 60 s", redis_faults.make_unavailable, short=2),
    Fault("F10", "Redis at maxmemory, noeviction", redis_faults.refuse_writes),
    Fault("F11", "Redis evicting everything", redis_faults.evict),
    Fault("F12", "Redis read-only", redis_faults.make_read_only),
    Fault("F13", "Redis does not answer for 5 s", redis_faults.stall),
    Fault("F14", "disk of storage full", disk_faults.fill_storage),
    Fault("F15", "disk of staging full", disk_faults.fill_staging),
    Fault("F16", "storage or staging without inodes or read-only", disk_faults.disturb_disk, 8),
    Fault(
        "F17",
        "object storage failing, slow or refusing for 4 to 10 s",
        store_faults.disturb_store,
        terms=OBJECT_STORAGE,
    ),
    Fault(
        "F17L", "object storage unavailable for 20 s, then a replay", store_faults.block_store, 4, terms=OBJECT_STORAGE
    ),
    Fault(
        "F18",
        "object storage answers 200 but stores nothing or half",
        store_faults.falsify_writes,
        8,
        terms=OBJECT_STORAGE,
    ),
    Fault("F19", "catalogue locked for 3, 12, 30 s", environment_faults.lock_catalogue, 9),
    Fault("F20", "SIGKILL to all writers of the catalogue", process_faults.kill_all_writers, 20),
    Fault(
        "F21",
        "webhook receiver resets, 500, 410, redirects, slow for 6 s",
        environment_faults.disturb_receiver,
    ),
    Fault(
        "F21L",
        "webhook receiver unavailable until events are undelivered, then a redelivery",
        environment_faults.block_receiver_until_undelivered,
        4,
        terms=SHORT_WEBHOOK_SCHEDULE,
    ),
    Fault("F23", "30 % of downloads fail", environment_faults.fail_downloads),
    Fault("F24", "no answer from DNS for 4 s, or only after 10 s", environment_faults.disturb_dns, terms=NAMED_HOSTS),
    Fault("F25", "the clock of a worker 1 h, 10 years off", environment_faults.shift_clock, 9, terms=SHIFTED_CLOCK),
    Fault(
        "F26", "a fifth of the files crash their decoder", environment_faults.crash_decoders, short=2, terms=POISONED
    ),
    Fault("F27", "ten times the load for 60 s, a hundred times for 5 s", overload.spike, 4, terms=LONG_DRAIN),
    Fault("F28", "twice the capacity, a minute a round", overload.overload, 3, terms=LONG_DRAIN),
    Fault("F29", "one message a hundred times at once", environment_faults.repeat_messages),
    Fault("F30", "a worker without memory, or killed", limit_faults.limit_memory, 8, terms=WORKER_EXITS_ALLOWED),
    Fault("F31", "four busy loops for 10 s", process_faults.use_all_cpu, 6),
    Fault("F32", "the web app out of file descriptors, 1000 idle connections", limit_faults.limit_file_descriptors, 6),
    Fault("F33", "SIGSTOP to a worker for 20, 45, 90 s", process_faults.pause_worker, 6),
    Fault("F34", "garbage in the queues", redis_faults.write_garbage),
    Fault("F35", "a secret changed while in use", secret_faults.rotate, 6, terms=OBJECT_STORAGE),
    Fault(
        "F47", "a stranger's media servers answer slowly", slow_media_faults.answer_slowly, 4, 1, terms=SHORT_DEADLINES
    ),
    Fault("F48", "1000 stalled bodies", stranger_faults.stall_bodies, 4, short=1, terms=SIGNED_HOOKS),
    Fault("F49", "JSON bombs", stranger_faults.send_bombs, 4),
    Fault("F50", "1000 unread downloads", stranger_faults.leave_downloads_unread, 4),
    Fault("F36", "SIGKILL to everything including Redis", process_faults.kill_everything, 20),
    Fault(
        "F45",
        "PostgreSQL stopped and started under hooks, the web app killed, the spool full",
        catalogue_faults.restart_postgres,
        12,
        short=4,
        terms=RESTARTED_CATALOGUE,
    ),
    Fault(
        "F46", "foreign code in a decoder of a fifth of the files", environment_faults.attack, short=2, terms=ATTACKED
    ),
)

FAULTS: dict[str, Fault] = {fault.id: fault for fault in _ROWS}
CONTROL = ("F01", "F06", "F07", "F08", "F09", "F26")  # the default faults of --control
