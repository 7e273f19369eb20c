"""Tables of the most expensive functions of each stage."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.benchmarks.environment import ROOT

MAX_FUNCTIONS = 25


def write_profiles(profiles: Mapping[str, cProfile.Profile], count: int, path: Path) -> None:
    """Writes a table for each stage: the functions with the most own processor time, per file.

    A profiler makes calls more expensive than they are: read the shares, not the sums.
    """
    path.write_text("\n\n".join(f"{stage}\n\n{table(profile, count)}" for stage, profile in profiles.items()) + "\n")


def table(profile: cProfile.Profile, count: int) -> str:
    """The most expensive functions: calls, own µs and µs with callees, per file."""
    stats: Any = pstats.Stats(profile)
    functions = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:MAX_FUNCTIONS]
    lines = ["   calls    own µs    all µs  function"]
    for function, (_, calls, own, whole, _) in functions:
        figures = f"{calls / count:8.1f}  {1e6 * own / count:8.1f}  {1e6 * whole / count:8.1f}"
        lines.append(f"{figures}  {_named(*function)}")
    return "\n".join(lines)


def _named(file: str, line: int, name: str) -> str:
    if not line:
        return name
    path = Path(file)
    if path.is_relative_to(ROOT) and ".venv" not in path.parts:
        location = str(path.relative_to(ROOT))
    else:
        location = "/".join(path.parts[-2:])
    return f"{location}:{line} {name}"
