"""`esteira start`: runs Valkey, the web app and the workers on this machine."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TextIO

import redis
import rich_click as click

from actors.redis_queue.server_program import choose_server
from esteira.cli.demo.launch import launch_demo
from esteira.cli.embedded_valkey import launch_valkey, lock_folder, wait_until_ready
from esteira.cli.environment import settings_for_command
from esteira.cli.migrate import migrate_catalogue
from esteira.cli.output import examples
from esteira.cli.start_output import announce, announce_addresses, line_format, part_environment, sayer
from esteira.cli.supervisor.commands import web_command, worker_command
from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.part import Part, command_part
from esteira.cli.supervisor.supervisor import Supervisor
from pipeline.config.settings import Settings, current_settings
from pipeline.config.token_file import make_token
from pipeline.errors import SettingsError
from pipeline.services import build_services

REDIS_TIMEOUT_S = 5  # for the connection check before the start


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
    everything in order; a second Ctrl-C does not wait. A part that ends by itself is started again.
    """
    settings = settings_for_command()
    if demo:
        launch_demo(settings)
    commands = {
        "worker": worker_command(processes=workers or settings.web_concurrency, threads=settings.worker_threads)
    }
    if not no_web:
        commands["web"] = web_command()
    with lock_folder(settings.var_dir.absolute()) as lock:  # before the port, which the other `esteira start` uses too
        if not no_web:
            _check_port(settings)
            settings = settings if settings.api_token else _with_token(settings)
        _run(settings, commands, lock)


def _with_token(settings: Settings) -> Settings:
    """The settings with the API_TOKEN that is kept in VAR_DIR, which is made now if there is none."""
    make_token(settings.var_dir)
    current_settings.cache_clear()
    return settings_for_command()


def _run(settings: Settings, commands: Mapping[str, Sequence[str]], lock: TextIO) -> None:
    """Runs Valkey, if it is needed, and the commands until a signal to stop."""
    printer = LinePrinter(line_format(settings))
    with Supervisor(printer, sayer(settings, printer)) as supervisor:
        _start_redis(settings, supervisor, lock)
        migrate_catalogue(settings)
        build_services(settings).close()  # reports wrong settings here and not only in the workers' log
        environment = part_environment(settings)
        supervisor.run(
            *(command_part(name, command, environment) for name, command in commands.items()),
            on_started=partial(announce_addresses, settings, with_web="web" in commands),
        )


def _start_redis(settings: Settings, supervisor: Supervisor, lock: TextIO) -> None:
    """Starts Valkey and waits until it answers, or checks that the configured Redis does."""
    if settings.embedded:
        choice = choose_server(settings)
        for reason in choice.passed_over:
            announce(settings, "server", f"passed over {reason}")
        announce(settings, "server", f"{choice.program} (VALKEY_SERVER={settings.valkey_server})")
        valkey = Part("valkey", partial(launch_valkey, settings, choice.program, lock))
        supervisor.start(valkey)
        assert valkey.process is not None
        wait_until_ready(settings, choice.program, valkey.process)
        return
    timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    client = redis.Redis.from_url(settings.redis, **timeouts)
    client.ping()  # reports a wrong address here and not only in the workers' log
    client.close()


def _check_port(settings: Settings) -> None:
    """Raises SettingsError if the web app could not listen on its address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.web_host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        name = "PORT" if error.errno in {errno.EADDRINUSE, errno.EACCES} else "WEB_HOST"
        reason = f"cannot listen on {settings.web_host}:{settings.port}: {error.strerror}"
        raise SettingsError(f"{name}: {reason}: choose another {name}, or use --no-web") from None
