"""Measures the processor time that a listener and the commands spend on imports."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks.results import BenchmarkResult, TableRow, json_option, show_and_save
from scripts.benchmarks.trials import temporary_folder

ESTEIRA = str(Path(sys.executable).parent / "esteira")
BARE = "Python alone"
PROGRAMS = {
    BARE: [sys.executable, "-c", "pass"],
    "from esteira import Attachment, process_media": [
        *(sys.executable, "-c", "from esteira import Attachment, process_media"),
    ],
    "and what the first call imports": [sys.executable, "-c", "import actors.hook"],
    "esteira --help": [ESTEIRA, "--help"],
    "esteira list": [ESTEIRA, "list"],
}
EXAMPLES = examples("scripts/bench imports", "scripts/bench imports --times 40")


@click.command(epilog=EXAMPLES)
@click.option("--times", type=click.IntRange(1, 1000), default=10, show_default=True, help="Runs of each program.")
@json_option
def imports(times: int, json_file: Path | None) -> None:
    """Processor time of the imports of a listener and of commands."""
    show_and_save(measure(times), json_file)


def measure(times: int) -> BenchmarkResult:
    """User and system time of each program, the least of its runs: other programs of the machine only add to it.

    The first run of each compiles its bytecode and is not counted. `esteira list` reads an empty catalogue.
    """
    with temporary_folder(room=0) as folder:
        environment = os.environ | {"VAR_DIR": str(folder), "DATABASE_URL": f"sqlite:///{folder}/esteira.db"}
        subprocess.run([ESTEIRA, "migrate"], check=True, env=environment, stdout=subprocess.DEVNULL)
        took = {name: least_cpu_s(program, times, environment) for name, program in PROGRAMS.items()}
    rows: list[TableRow] = [
        {"": name, "CPU s": seconds, "without Python's own": seconds - took[BARE]} for name, seconds in took.items()
    ]
    return BenchmarkResult("imports", f"Imports, the least of {times} runs", rows, figures=took)


def least_cpu_s(program: list[str], times: int, environment: dict[str, str]) -> float:
    """The least processor time of some runs of a program, after one that does not count."""
    took = []
    for _ in range(times + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(program, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(took[1:])
