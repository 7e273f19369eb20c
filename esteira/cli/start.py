"""`esteira start`: runs Valkey, the web app and the workers on this machine."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from urllib.parse import urlsplit

import redis
import rich_click as click

from actors.doctor.redis_server import redis_address
from actors.redis_queue.server_program import choose_server
from esteira.cli.demo.launch import launch_demo
from esteira.cli.embedded_valkey import embedded_valkey, lock_folder
from esteira.cli.environment import settings_for_command
from esteira.cli.migrate import migrate_catalogue
from esteira.cli.output import examples, exit_with, print_message
from esteira.cli.process_manager import run_parts, stop_when_ended, web_command, worker_command
from pipeline.config.settings import Settings
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

    Updates the database tables first. Ctrl-C stops everything in order. If one part ends by itself, the others are
    stopped too, and the exit status is 1.
    """
    settings = settings_for_command()
    if demo:
        launch_demo(settings)
    commands = {
        "worker": worker_command(processes=workers or settings.web_concurrency, threads=settings.worker_threads)
    }
    if not no_web:
        _check_port(settings)
        commands["web"] = web_command()
    with lock_folder(settings.var_dir.absolute()), _redis(settings) as valkey:
        migrate_catalogue(settings)
        build_services(settings).close()  # reports wrong settings here and not only in the workers' log
        on_started = partial(_print_addresses, settings, with_web=not no_web)
        with stop_when_ended(valkey) if valkey else nullcontext() as valkey_ended:
            ended_part = run_parts(commands, environment=_environment(settings), on_started=on_started)
    if valkey_ended is not None and valkey_ended.is_set():
        ended_part = "valkey"
    if ended_part:
        print_message(f"esteira: {ended_part} ended by itself, so everything was stopped; see the lines above")
        exit_with(1)


@contextmanager
def _redis(settings: Settings) -> Iterator[subprocess.Popen[bytes] | None]:
    if settings.embedded:
        choice = choose_server(settings)
        for reason in choice.passed_over:
            print_message(f"server     passed over {reason}")
        print_message(f"server     {choice.program} (VALKEY_SERVER={settings.valkey_server})")
        with embedded_valkey(settings, choice.program) as process:
            yield process
        return
    timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    client = redis.Redis.from_url(settings.redis, **timeouts)
    client.ping()  # reports a wrong address here and not only in the workers' log
    client.close()
    yield None


def _environment(settings: Settings) -> dict[str, str]:
    environment = dict(os.environ)
    if settings.log_format == "auto" and sys.stdout.isatty():
        environment["LOG_FORMAT"] = "console"  # the parts write into a pipe and cannot see the terminal
    return environment


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


def _print_addresses(settings: Settings, *, with_web: bool) -> None:
    database = urlsplit(settings.database)
    location = database.path.removeprefix("/") if database.scheme == "sqlite" else database.hostname
    print_message(f"queue      {redis_address(settings)}{' (embedded)' if settings.embedded else ''}")
    print_message(f"database   {location}")
    print_message(f"storage    {settings.storage}")
    if with_web:
        closed = "" if settings.api_token else " (POST /hooks/media answers 401 until API_TOKEN is set)"
        print_message(f"web        http://{settings.web_host}:{settings.port}{closed}")
        if settings.has_dashboard:
            print_message(f"dashboard  http://{settings.web_host}:{settings.port}/")
    print_message("Press Ctrl-C to stop.")
