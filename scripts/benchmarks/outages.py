"""What befalls one of several hosts, and what is left when the others have done its work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from scripts.benchmarks.host_cluster import ALIVE_S, BOOT_S, LONGEST_S, LOOK_S, Estate, Workers
from scripts.benchmarks.machine import Trouble, wait_for
from scripts.benchmarks.media import Row


def _kill(victim: Workers) -> None:
    """The machine loses its power: nobody is told, no connection is closed."""
    victim.host.plug(into=False)
    victim.kill()


def _cut(victim: Workers) -> None:
    """The network is gone, and what runs there goes on."""
    victim.host.plug(into=False)


OUTAGES: dict[str, Callable[[Workers], None]] = {"kill": _kill, "cut": _cut}


def lived_through(place: Estate, rows: Sequence[Row], outage: str) -> str:
    """Something befalls a host when a third of these files are done; how it went, in a sentence or two.

    Raises:
        Trouble: a file is not done, or is done twice; or a host whose network is back does not join in.
    """
    before = place.shared.done()
    place.pour(rows)
    place.reach(before + len(rows) // 3)
    victim = place.workers[0]
    names = _names(place, victim)
    at_ms = time.time() * 1000
    OUTAGES[outage](victim)
    held = [one.key for name in names for one in place.shared.belt.held_messages(name)]
    taken_s = _taken_back(place, names, at_ms)
    place.reach(before + len(rows))
    told = _told(place, held, at_ms)
    if outage == "cut":
        told += f" {_back(place, victim)}"
    place.check(before + len(rows))
    again = sum(count - 1 for count in place.shared.media.counts().values())
    how = "was killed and its cable pulled" if outage == "kill" else "lost its network"
    return (
        f"{victim.host.name} {how} with {len(held)} files in its hands, which the others took over after "
        f"{taken_s:.1f} s; {told} All {len(rows)} were done, each once; {again} were downloaded a second time."
    )


def _names(place: Estate, victim: Workers) -> list[str]:
    """The ids under which the belt knows the worker processes of a host."""
    presences = place.shared.belt.stats.workers()
    return [name for name, _, said in presences if said and json.loads(said)["host"] == victim.host.name]


def _taken_back(place: Estate, names: Sequence[str], at_ms: float) -> float:
    """Seconds until nothing is held by these any more."""
    deadline = time.monotonic() + LONGEST_S
    while any(place.shared.belt.held_messages(name) for name in names):
        if time.monotonic() > deadline:
            raise Trouble("what the host held was not taken over")
        time.sleep(LOOK_S)
    return time.time() - at_ms / 1000


def _told(place: Estate, held: Sequence[str], at_ms: float) -> str:
    ended = dict(map(tuple, place.shared.ask("SELECT id, finished_at FROM media")))
    late = [(ended[media_id] - at_ms) / 1000 for media_id in held if ended[media_id] > at_ms]
    if not late:
        return "all of them were done just before."
    return f"they were done within {max(late):.1f} s."


def _back(place: Estate, victim: Workers) -> str:
    """The cable is put in again: waits until all worker processes of the host are heard of."""
    wanted = max(place.alive().values())
    silent = time.monotonic()
    victim.host.plug(into=True)
    wait_for(
        f"{victim.host.name} is back", lambda: place.alive()[victim.host.name] >= wanted, within_s=BOOT_S + ALIVE_S
    )
    return f"Its network came back, and {time.monotonic() - silent:.1f} s later its workers were heard of again."
