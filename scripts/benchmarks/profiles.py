"""A profile of each stage as a table: which functions take its time."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.benchmarks.environment import ROOT

MAX_BATCH = 25


def write_profiles(profiles: Mapping[str, cProfile.Profile], count: int, path: Path) -> None:
    """Writes a table of each stage: the functions with the most processor time of their own, for one of `count` files.

    A profiler makes calls dearer than they are: read the shares, not the sums.
    """
    path.write_text("\n\n".join(f"{stage}\n\n{table(profile, count)}" for stage, profile in profiles.items()) + "\n")


def table(profile: cProfile.Profile, count: int) -> str:
    """The most expensive functions: calls, µs of their own and with what they call, for one file."""
    stats: Any = pstats.Stats(profile)
    found = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:MAX_BATCH]
    lines = ["   calls    own µs    all µs  function"]
    for function, (_, calls, own, whole, _) in found:
        figures = f"{calls / count:8.1f}  {1e6 * own / count:8.1f}  {1e6 * whole / count:8.1f}"
        lines.append(f"{figures}  {_named(*function)}")
    return "\n".join(lines)


def _named(file: str, line: int, name: str) -> str:
    if not line:
        return name
    place = Path(file)
    if place.is_relative_to(ROOT) and ".venv" not in place.parts:
        shown = str(place.relative_to(ROOT))
    else:
        shown = "/".join(place.parts[-2:])
    return f"{shown}:{line} {name}"
