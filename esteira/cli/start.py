"""`esteira start`: everything on this machine."""

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
from esteira.cli.demo.launch import launch_demo
from esteira.cli.embedded_valkey import embedded_valkey, sole_use
from esteira.cli.environment import settings_for_command
from esteira.cli.migrate import migrate_catalogue
from esteira.cli.output import examples, leave, say
from esteira.cli.process_manager import ending_with, run_parts, web_command, worker_command
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.services import build_services


@click.command(
    epilog=examples(
        "esteira start",
        "esteira start --demo",
        "esteira start --no-web --workers 4",
        "REDIS_URL=redis://queue.internal/0 esteira start",
    )
)
@click.option("--demo", is_flag=True, help="Send one file of each type over a belt of its own under VAR_DIR, and end.")
@click.option("--no-web", is_flag=True, help="Without the web app.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes; default: WEB_CONCURRENCY.")
def start(demo: bool, no_web: bool, workers: int | None) -> None:
    """Starts everything on this machine and waits for work: Valkey (unless REDIS_* is set), web app, workers.

    Brings the catalogue up to date first. Ctrl-C ends all of it in order. If a part ends by itself, the
    others are ended too and the exit status is 1.
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
    with sole_use(settings.var_dir.absolute()), _redis(settings) as valkey:
        migrate_catalogue(settings)
        build_services(settings).close()  # a setting that only they can judge is told now, not in the workers' log
        greet = partial(_greet, settings, with_web=not no_web)
        with ending_with(valkey) if valkey else nullcontext() as valkey_ended:
            part = run_parts(commands, environment=_environment(settings), when_started=greet)
    if valkey_ended is not None and valkey_ended.is_set():
        part = "valkey"
    if part:
        say(f"esteira: {part} ended by itself, so everything was ended; the lines above say why")
        leave(1)


@contextmanager
def _redis(settings: Settings) -> Iterator[subprocess.Popen[bytes] | None]:
    if settings.embedded:
        with embedded_valkey(settings) as process:
            yield process
        return
    client = redis.Redis.from_url(settings.redis, socket_timeout=5, socket_connect_timeout=5)
    client.ping()  # a wrong REDIS_HOST is told now, not in the workers' log
    client.close()
    yield None


def _environment(settings: Settings) -> dict[str, str]:
    environment = dict(os.environ)
    if settings.log_format == "auto" and sys.stdout.isatty():
        environment["LOG_FORMAT"] = "console"  # the parts write into our pipe and cannot see the terminal
    return environment


def _check_port(settings: Settings) -> None:
    """Raises SettingsError if nobody can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.web_host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        place = f"{settings.web_host}:{settings.port}"
        name = "PORT" if error.errno in {errno.EADDRINUSE, errno.EACCES} else "WEB_HOST"
        raise SettingsError(
            f"{name}: cannot listen on {place}: {error.strerror}: choose another {name}, or --no-web"
        ) from None


def _greet(settings: Settings, *, with_web: bool) -> None:
    database = urlsplit(settings.database)
    catalogue = database.path.removeprefix("/") if database.scheme == "sqlite" else database.hostname
    say(f"queue      {redis_address(settings)}{' (embedded Valkey)' if settings.embedded else ''}")
    say(f"catalogue  {catalogue}")
    say(f"storage    {settings.storage}")
    if with_web:
        closed = "" if settings.api_token else " (POST /hooks/media answers 401 until API_TOKEN is set)"
        say(f"web        http://{settings.web_host}:{settings.port}{closed}")
        if settings.has_dashboard:
            say(f"dashboard  http://{settings.web_host}:{settings.port}/")
    say("Press Ctrl-C to stop.")
