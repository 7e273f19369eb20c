"""What Esteira costs on this machine. Read the ratios within one run; single figures of two runs are not comparable.

\b
scripts/bench hook        how long process_media() holds its caller
scripts/bench hooks       how soon a gateway's webhooks are answered
scripts/bench fetch       a large file through fetch, plain and encrypted
scripts/bench throughput  files a second through the five stages
scripts/bench fair        a quiet session's file beside another's backlog
scripts/bench live        how soon clients hear of a stored file
scripts/bench dashboard   how soon each page of the dashboard is painted
"""

from __future__ import annotations

import os

import rich_click as click

from actors.telemetry import configure
from pipeline.settings import load_settings
from scripts.benchmarks.dashboard import dashboard
from scripts.benchmarks.fair import fair
from scripts.benchmarks.fetch import fetch
from scripts.benchmarks.hook import hook
from scripts.benchmarks.hooks import hooks
from scripts.benchmarks.live import live
from scripts.benchmarks.throughput import throughput


@click.group(help=__doc__)
def main() -> None:
    """One command a measure."""
    os.environ["LOG_LEVEL"] = "error"
    configure(load_settings(_env_file=None))


for measure in (hook, hooks, fetch, throughput, fair, live, dashboard):
    main.add_command(measure)

if __name__ == "__main__":
    main(prog_name="scripts/bench")
