"""Measures the performance of Esteira on this machine.

\b
scripts/bench all         most measures; with --short half a minute
scripts/bench throughput  files per second through the five stages
scripts/bench idle        from hand-over to announcement, idle system
scripts/bench hook        how long process_media() blocks its caller
scripts/bench listener    compared with a listener that processes files itself
scripts/bench slow        media servers that take a second for each file
scripts/bench memory      growth of the workers' memory with a large file
scripts/bench imports     processor time of a listener's imports
scripts/bench backlog     cost of a file while 100,000 others wait
scripts/bench duplicates  how often the same content is downloaded
scripts/bench stages      processor time of each stage, in a single thread
scripts/bench catalogue   cost of an attachment with ten million rows
scripts/bench hooks       response times of a gateway's webhooks
scripts/bench restarts    hooks through reloads and kills of the web app
scripts/bench hosts       workers on several hosts, and the outage of one
scripts/bench fetch       a large file through fetch, plain and encrypted
scripts/bench fair        a quiet session while another has a backlog
scripts/bench live        delay of live events
scripts/bench dashboard   time to the first paint of each dashboard page
scripts/bench report      write saved figures into a document

Compare ratios within one run; single figures of different runs are not comparable. Everything runs on loopback, in
temporary folders. The load is kept in var/bench.
"""

from __future__ import annotations

import os
import signal
import sys

import rich_click as click

from actors.observability.logging import configure_observability
from pipeline.config.settings import load_settings
from scripts.benchmarks.all_measures import all_measures
from scripts.benchmarks.backlog import backlog
from scripts.benchmarks.catalogue import catalogue
from scripts.benchmarks.dashboard import dashboard
from scripts.benchmarks.duplicates import duplicates
from scripts.benchmarks.fair import fair
from scripts.benchmarks.fetch import fetch
from scripts.benchmarks.hook import hook
from scripts.benchmarks.hooks import hooks
from scripts.benchmarks.hosts import hosts
from scripts.benchmarks.idle import idle
from scripts.benchmarks.imports import imports
from scripts.benchmarks.listener import listener
from scripts.benchmarks.live import live
from scripts.benchmarks.memory import memory
from scripts.benchmarks.report import report
from scripts.benchmarks.restarts import restarts
from scripts.benchmarks.slow import slow
from scripts.benchmarks.stages import stages
from scripts.benchmarks.throughput import throughput


@click.group(help=__doc__)
def main() -> None:
    """The command group; each measure is a command."""
    os.environ["LOG_LEVEL"] = "error"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that context managers end what they started
    configure_observability(load_settings(_env_file=None))


for command in (
    *(all_measures, throughput, idle, hook, listener, slow, memory, imports, backlog, duplicates, stages),
    *(catalogue, hooks, restarts, hosts, fetch, fair, live, dashboard),
    report,
):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="scripts/bench")
