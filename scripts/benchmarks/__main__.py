"""What Esteira costs on this machine. Read the ratios within one run; single figures of two runs are not comparable.

\b
scripts/bench all         every measure in turn; with --short a minute's worth
scripts/bench throughput  files a second through the five stages
scripts/bench idle        from hand-over to announcement on an idle system
scripts/bench hook        how long process_media() holds its caller
scripts/bench listener    against a listener that processes synchronously
scripts/bench slow        servers that take a second for each file
scripts/bench memory      how far workers grow with a large file
scripts/bench backlog     the cost of a file with 100,000 waiting
scripts/bench duplicates  how often the same content is downloaded
scripts/bench stages      what each stage costs, in a single thread
scripts/bench catalogue   an attachment in a catalogue of ten million rows
scripts/bench hooks       how soon a gateway's webhooks are answered
scripts/bench hosts       workers on several hosts, and the death of one
scripts/bench fetch       a large file through fetch, plain and encrypted
scripts/bench fair        a quiet session's file beside another's backlog
scripts/bench live        how soon clients hear of a stored file
scripts/bench dashboard   how soon each page of the dashboard is painted
scripts/bench report      figures that were kept become tables and charts

Everything runs on loopback, in folders of its own that are gone afterwards; the load is kept in var/bench.
"""

from __future__ import annotations

import os
import signal
import sys

import rich_click as click

from actors.observability.logging import configure_observability
from pipeline.config.settings import load_settings
from scripts.benchmarks.backlog import backlog
from scripts.benchmarks.catalogue import catalogue
from scripts.benchmarks.dashboard import dashboard
from scripts.benchmarks.duplicates import duplicates
from scripts.benchmarks.everything import everything
from scripts.benchmarks.fair import fair
from scripts.benchmarks.fetch import fetch
from scripts.benchmarks.hook import hook
from scripts.benchmarks.hooks import hooks
from scripts.benchmarks.hosts import hosts
from scripts.benchmarks.idle import idle
from scripts.benchmarks.listener import listener
from scripts.benchmarks.live import live
from scripts.benchmarks.memory import memory
from scripts.benchmarks.report import report
from scripts.benchmarks.slow import slow
from scripts.benchmarks.stages import stages
from scripts.benchmarks.throughput import throughput


@click.group(help=__doc__)
def main() -> None:
    """One command a measure."""
    os.environ["LOG_LEVEL"] = "error"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    configure_observability(load_settings(_env_file=None))


for measure in (
    *(everything, throughput, idle, hook, listener, slow, memory, backlog, duplicates, stages),
    *(catalogue, hooks, hosts, fetch, fair, live, dashboard),
    report,
):
    main.add_command(measure)

if __name__ == "__main__":
    main(prog_name="scripts/bench")
