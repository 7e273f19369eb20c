"""Every fault by its id. A new one is a function of one round, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scripts.faults import belt, deaths, surroundings
from scripts.faults.site import Site, Terms

USUAL = Terms()
POISONED = Terms(poison=0.2, env={"SANDBOX_CPU_S": "2", "SANDBOX_MEMORY_MB": "256"})


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
    Fault("F14", "storage's disk full", surroundings.fill_storage),
    Fault("F15", "staging's disk full", surroundings.fill_staging),
    Fault("F19", "catalogue locked for 3, 12, 30 s", surroundings.lock_the_catalogue, 9),
    Fault("F20", "SIGKILL to all writers of the catalogue", deaths.kill_all_writers, 20),
    Fault("F21", "webhook receiver dead, failing or slow for 4 s", surroundings.deafen_the_receiver, 12),
    Fault("F21L", "webhook receiver away for 20 s, then a replay", surroundings.lose_the_receiver, 4),
    Fault("F23", "30 % of downloads go wrong", surroundings.trouble_the_source),
    Fault("F26", "a fifth of the files crash their decoder", surroundings.crash_decoders, short=2, terms=POISONED),
    Fault("F27", "ten times the load for 5 s", surroundings.flood),
    Fault("F29", "one message a hundred times at once", surroundings.repeat_messages),
    Fault("F31", "four busy loops for 10 s", deaths.starve, 6),
    Fault("F33", "SIGSTOP to a worker for 20, 45, 90 s", deaths.pause_a_worker, 6),
    Fault("F34", "garbage in the queues", belt.litter),
    Fault("F36", "SIGKILL to everything, Redis too", deaths.kill_everything, 20),
)

FAULTS: dict[str, Fault] = {fault.id: fault for fault in _ROWS}
CONTROL = ("F01", "F06", "F07", "F08", "F09", "F26")  # those that stock Dramatiq is measured with
