"""Every fault by its id. A new one is a function of one round, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scripts.faults import belt, buckets, deaths, disks, limits, rotation, rush, surroundings
from scripts.faults.environment import Site, Terms

USUAL = Terms()
POISONED = Terms(poison=0.2, module="scripts.faults.poisoned", env={"SANDBOX_CPU_S": "2", "SANDBOX_MEMORY_MB": "256"})
IN_BUCKETS = Terms(store=True)
BY_NAME = Terms(module="scripts.faults.dns_faults", named=5)
BY_ANOTHER_CLOCK = Terms(module="scripts.faults.clock_skew")
MORTAL = Terms(mortal=True)
IMPATIENT = Terms(env={"WEBHOOK_RETRY_S": "1,2,3"})
OVERLOADED = Terms(drain_s=1800)


@dataclass(frozen=True)
class Fault:
    """`once` does and undoes one round. `rounds` unless told otherwise, `short` in the short version (0: not there).

    `terms` are those of its plant; a fault with terms of its own stays out of a soak.
    """

    id: str
    title: str
    once: Callable[[Site, int], None]
    rounds: int = 10
    short: int = 0
    terms: Terms = USUAL


_ROWS = (
    Fault("F00", "nothing at all, for comparison", surroundings.do_nothing, 6),
    Fault("F01", "SIGKILL to a random worker", deaths.kill_a_worker, 300, short=3),
    Fault("F02", "SIGKILL to all workers, down for 20 s", deaths.kill_all_workers),
    Fault("F03", "SIGTERM to the workers in turn", deaths.replace_a_worker, 50),
    Fault("F05", "SIGKILL to the web app during intake", deaths.kill_the_intake, 20),
    Fault("F06", "Redis killed and restarted, AOF every second", belt.restart, short=2),
    Fault("F07", "Redis killed and restarted empty", belt.restart, short=1, terms=Terms(aof=False)),
    Fault("F08", "FLUSHALL", belt.wipe),
    Fault("F09", "Redis silent or refusing for 1, 3, 10, 20, 60 s", belt.take_away, short=2),
    Fault("F10", "Redis at maxmemory, noeviction", belt.fill_up),
    Fault("F11", "Redis evicting everything", belt.evict),
    Fault("F12", "Redis read-only", belt.make_read_only),
    Fault("F13", "Redis answers nothing for 5 s", belt.slow_down),
    Fault("F14", "storage's disk full", disks.fill_storage),
    Fault("F15", "staging's disk full", disks.fill_staging),
    Fault("F16", "storage or staging without inodes or read-only", disks.spoil, 8),
    Fault("F17", "object storage failing, slow or refusing for 4 to 10 s", buckets.trouble_the_store, terms=IN_BUCKETS),
    Fault("F17L", "object storage away for 20 s, then a replay", buckets.lose_the_store, 4, terms=IN_BUCKETS),
    Fault("F18", "object storage says 200 and keeps nothing or half", buckets.make_the_store_lie, 8, terms=IN_BUCKETS),
    Fault("F19", "catalogue locked for 3, 12, 30 s", surroundings.lock_the_catalogue, 9),
    Fault("F20", "SIGKILL to all writers of the catalogue", deaths.kill_all_writers, 20),
    Fault("F21", "webhook receiver dead, refusing, gone, redirecting, slow for 6 s", surroundings.deafen_the_receiver),
    Fault(
        "F21L",
        "webhook receiver away until events are given up, then a redelivery",
        surroundings.lose_the_receiver,
        4,
        terms=IMPATIENT,
    ),
    Fault("F23", "30 % of downloads go wrong", surroundings.trouble_the_source),
    Fault("F24", "no answer from DNS for 4 s, or only after 10 s", surroundings.lose_the_names, terms=BY_NAME),
    Fault("F25", "a worker's clock 1 h, 10 years off", surroundings.shift_a_clock, 9, terms=BY_ANOTHER_CLOCK),
    Fault("F26", "a fifth of the files crash their decoder", surroundings.crash_decoders, short=2, terms=POISONED),
    Fault("F27", "ten times the load for 60 s, a hundred times for 5 s", rush.flood, 4, terms=OVERLOADED),
    Fault("F28", "twice the capacity, a minute a round", rush.overload, 3, terms=OVERLOADED),
    Fault("F29", "one message a hundred times at once", surroundings.repeat_messages),
    Fault("F30", "a worker without memory, or killed for it", limits.take_memory_away, 8, terms=MORTAL),
    Fault("F31", "four busy loops for 10 s", deaths.starve, 6),
    Fault("F32", "the web app out of files, 1000 idle connections", limits.take_files_away, 6),
    Fault("F33", "SIGSTOP to a worker for 20, 45, 90 s", deaths.pause_a_worker, 6),
    Fault("F34", "garbage in the queues", belt.litter),
    Fault("F35", "a secret changed under way", rotation.rotate, 6, terms=IN_BUCKETS),
    Fault("F36", "SIGKILL to everything, Redis too", deaths.kill_everything, 20),
)

FAULTS: dict[str, Fault] = {fault.id: fault for fault in _ROWS}
CONTROL = ("F01", "F06", "F07", "F08", "F09", "F26")  # those that stock Dramatiq is measured with
