"""Every fault by its id. A new one is a function of one round, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scripts.faults import (
    disk_faults,
    environment_faults,
    limit_faults,
    overload,
    process_faults,
    redis_faults,
    secret_faults,
    store_faults,
)
from scripts.faults.environment import RunTerms, Testbed

USUAL = RunTerms()
POISONED = RunTerms(
    poison=0.2, module="scripts.faults.poisoned", env={"SANDBOX_CPU_S": "2", "SANDBOX_MEMORY_MB": "256"}
)
IN_BUCKETS = RunTerms(store=True)
BY_NAME = RunTerms(module="scripts.faults.dns_faults", named_every=5)
BY_ANOTHER_CLOCK = RunTerms(module="scripts.faults.clock_skew")
DEATHS_ALLOWED = RunTerms(deaths_allowed=True)
IMPATIENT = RunTerms(env={"WEBHOOK_RETRY_S": "1,2,3"})
OVERLOADED = RunTerms(drain_s=1800)


@dataclass(frozen=True)
class Fault:
    """`once` does and undoes one round. `rounds` unless told otherwise, `short` in the short version (0: not there).

    `terms` are those of its plant; a fault with terms of its own stays out of a soak.
    """

    id: str
    title: str
    run_round: Callable[[Testbed, int], None]
    rounds: int = 10
    short: int = 0
    terms: RunTerms = USUAL


_ROWS = (
    Fault("F00", "nothing at all, for comparison", environment_faults.do_nothing, 6),
    Fault("F01", "SIGKILL to a random worker", process_faults.kill_a_worker, 300, short=3),
    Fault("F02", "SIGKILL to all workers, down for 20 s", process_faults.kill_all_workers),
    Fault("F03", "SIGTERM to the workers in turn", process_faults.replace_a_worker, 50),
    Fault("F05", "SIGKILL to the web app during intake", process_faults.kill_the_intake, 20),
    Fault("F06", "Redis killed and restarted, AOF every second", redis_faults.restart, short=2),
    Fault("F07", "Redis killed and restarted empty", redis_faults.restart, short=1, terms=RunTerms(aof=False)),
    Fault("F08", "FLUSHALL", redis_faults.wipe),
    Fault("F09", "Redis silent or refusing for 1, 3, 10, 20, 60 s", redis_faults.take_away, short=2),
    Fault("F10", "Redis at maxmemory, noeviction", redis_faults.fill_up),
    Fault("F11", "Redis evicting everything", redis_faults.evict),
    Fault("F12", "Redis read-only", redis_faults.make_read_only),
    Fault("F13", "Redis answers nothing for 5 s", redis_faults.slow_down),
    Fault("F14", "storage's disk full", disk_faults.fill_storage),
    Fault("F15", "staging's disk full", disk_faults.fill_staging),
    Fault("F16", "storage or staging without inodes or read-only", disk_faults.spoil, 8),
    Fault(
        "F17",
        "object storage failing, slow or refusing for 4 to 10 s",
        store_faults.trouble_the_store,
        terms=IN_BUCKETS,
    ),
    Fault("F17L", "object storage away for 20 s, then a replay", store_faults.lose_the_store, 4, terms=IN_BUCKETS),
    Fault(
        "F18", "object storage says 200 and keeps nothing or half", store_faults.make_the_store_lie, 8, terms=IN_BUCKETS
    ),
    Fault("F19", "catalogue locked for 3, 12, 30 s", environment_faults.lock_the_catalogue, 9),
    Fault("F20", "SIGKILL to all writers of the catalogue", process_faults.kill_all_writers, 20),
    Fault(
        "F21",
        "webhook receiver dead, refusing, gone, redirecting, slow for 6 s",
        environment_faults.deafen_the_receiver,
    ),
    Fault(
        "F21L",
        "webhook receiver away until events are given up, then a redelivery",
        environment_faults.lose_the_receiver,
        4,
        terms=IMPATIENT,
    ),
    Fault("F23", "30 % of downloads go wrong", environment_faults.trouble_the_source),
    Fault("F24", "no answer from DNS for 4 s, or only after 10 s", environment_faults.lose_the_names, terms=BY_NAME),
    Fault("F25", "a worker's clock 1 h, 10 years off", environment_faults.shift_a_clock, 9, terms=BY_ANOTHER_CLOCK),
    Fault(
        "F26", "a fifth of the files crash their decoder", environment_faults.crash_decoders, short=2, terms=POISONED
    ),
    Fault("F27", "ten times the load for 60 s, a hundred times for 5 s", overload.flood, 4, terms=OVERLOADED),
    Fault("F28", "twice the capacity, a minute a round", overload.overload, 3, terms=OVERLOADED),
    Fault("F29", "one message a hundred times at once", environment_faults.repeat_messages),
    Fault("F30", "a worker without memory, or killed for it", limit_faults.take_memory_away, 8, terms=DEATHS_ALLOWED),
    Fault("F31", "four busy loops for 10 s", process_faults.starve, 6),
    Fault("F32", "the web app out of files, 1000 idle connections", limit_faults.take_files_away, 6),
    Fault("F33", "SIGSTOP to a worker for 20, 45, 90 s", process_faults.pause_a_worker, 6),
    Fault("F34", "garbage in the queues", redis_faults.litter),
    Fault("F35", "a secret changed under way", secret_faults.rotate, 6, terms=IN_BUCKETS),
    Fault("F36", "SIGKILL to everything, Redis too", process_faults.kill_everything, 20),
)

FAULTS: dict[str, Fault] = {fault.id: fault for fault in _ROWS}
CONTROL = ("F01", "F06", "F07", "F08", "F09", "F26")  # those that stock Dramatiq is measured with
