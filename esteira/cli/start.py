"""`esteira start`: runs Valkey, the web app and the workers on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, TextIO

import rich_click as click

from actors.redis_queue.server_program import choose_server
from esteira.cli.demo.launch import launch_demo
from esteira.cli.embedded_valkey import launch_valkey, lock_folder, wait_until_ready
from esteira.cli.environment import settings_for_command
from esteira.cli.machine import check_limits
from esteira.cli.output import examples
from esteira.cli.preparation import check_redis, facts_of, prepare
from esteira.cli.start_output import announce, announce_addresses, line_format, part_environment, sayer
from esteira.cli.supervisor.commands import web_command, worker_command
from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.listen import listen
from esteira.cli.supervisor.part import Part, Running, command_part
from esteira.cli.supervisor.reloading import Reloading
from esteira.cli.supervisor.requests import taken_requests
from esteira.cli.supervisor.supervisor import Supervisor
from esteira.cli.supervisor.terminal import has_terminal
from pipeline.config.settings import Settings, current_settings
from pipeline.config.token_file import make_token
from pipeline.extras import require_extra
from pipeline.service_manager.notify import READY, STOPPING, ServiceManager
from pipeline.service_manager.sockets import inherited_sockets


@click.command(
    epilog=examples(
        "esteira start",
        "esteira start --demo",
        "esteira start --no-web --workers 4",
        "REDIS_URL=redis://queue.internal/0 esteira start",
    )
)
@click.option("--demo", is_flag=True, help="Process sample files in a separate system under VAR_DIR, and stop.")
@click.option("--no-web", is_flag=True, help="Do not start the web app.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes; default: WEB_CONCURRENCY.")
def start(demo: bool, no_web: bool, workers: int | None) -> None:
    """Starts everything on this machine: Valkey (unless REDIS_* is set), the web app and the workers.

    Updates the database tables first. Without API_TOKEN it makes a token in VAR_DIR/api-token. Ctrl-C or SIGTERM stops
    everything in order; a second Ctrl-C does not wait. A part that ends by itself is started again. `esteira reload`
    replaces web app and workers.
    """
    settings = settings_for_command()
    if demo:
        launch_demo(settings)
    if not no_web:
        require_extra("web", "`esteira start` without --no-web")
    check_limits(workers or settings.web_concurrency, partial(announce, settings, "memory"))
    manager, sockets = ServiceManager.of_environment(), inherited_sockets()
    folder = settings.var_dir.absolute()
    with lock_folder(folder) as lock:  # before the port, which the other `esteira start` uses too
        if not no_web:
            sockets = sockets or listen(settings.web_host, settings.port)
            settings = settings if settings.api_token else _with_token(settings)
        _run(settings, Start(lock, manager, workers, None if no_web else sockets))


class Start(NamedTuple):
    """What one `esteira start` runs with. `workers`: processes, or None for the setting; `sockets`: the web app's."""

    lock: TextIO
    manager: ServiceManager
    workers: int | None
    sockets: Sequence[socket.socket] | None


def _with_token(settings: Settings) -> Settings:
    """The settings with the API_TOKEN that is kept in VAR_DIR, which is made now if there is none."""
    make_token(settings.var_dir)
    current_settings.cache_clear()
    return settings_for_command()


def _run(settings: Settings, begun: Start) -> None:
    """Runs Valkey, if it is needed, and the other parts until a signal to stop."""
    printer = LinePrinter(line_format(settings))
    with Supervisor(printer, sayer(settings, printer)) as supervisor:
        _start_redis(settings, supervisor, begun.lock)
        prepare(settings)
        environment = part_environment(settings)
        reloading = Reloading(supervisor, environment, facts_of(settings), begun.manager)

        def workers() -> list[str]:
            processes = begun.workers or reloading.facts["WEB_CONCURRENCY"]
            return worker_command(processes=processes, threads=reloading.facts["WORKER_THREADS"])

        worker = command_part("worker", workers, environment)
        web = None
        if begun.sockets is not None:
            web = command_part("web", web_command, environment, sockets=begun.sockets)
        with _requests(settings, supervisor):
            supervisor.run(
                *(part for part in (worker, web) if part is not None),
                on_started=partial(announce_addresses, settings, with_web=web is not None),
                on_ready=partial(begun.manager.tell, READY),
                on_request=partial(reloading.reload, web=web, worker=worker),
                reloads_on_hangup=not has_terminal(),
            )
        begun.manager.tell(STOPPING)


@contextmanager
def _requests(settings: Settings, supervisor: Supervisor) -> Iterator[None]:
    """Takes requests from `esteira reload`; without them where the file system has no sockets."""
    with ExitStack() as stack:
        try:
            stack.enter_context(taken_requests(settings.var_dir.absolute(), supervisor.request))
        except OSError as error:
            supervisor.say(f"`esteira reload` will not work: no socket in VAR_DIR ({error.strerror})", "warning")
        yield


def _start_redis(settings: Settings, supervisor: Supervisor, lock: TextIO) -> None:
    """Starts Valkey and waits until it answers, or checks that the configured Redis does."""
    if settings.embedded:
        choice = choose_server(settings)
        for reason in choice.passed_over:
            announce(settings, "server", f"passed over {reason}")
        announce(settings, "server", f"{choice.program} (VALKEY_SERVER={settings.valkey_server})")
        valkey = Part("valkey", lambda: Running(launch_valkey(settings, choice.program, lock)))
        supervisor.start(valkey)
        assert valkey.running is not None
        wait_until_ready(settings, choice.program, valkey.running.process)
        return
    check_redis(settings)
