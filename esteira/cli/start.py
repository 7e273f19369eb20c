"""`esteira start`: runs Valkey, the web app and the workers on this machine."""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import redis
import rich_click as click

from actors.redis_queue.server_program import choose_server
from esteira.cli.demo.launch import launch_demo
from esteira.cli.embedded_valkey import embedded_valkey, lock_folder
from esteira.cli.environment import settings_for_command
from esteira.cli.migrate import migrate_catalogue
from esteira.cli.output import examples, exit_with
from esteira.cli.process_manager import run_parts, stop_when_ended, web_command, worker_command
from esteira.cli.start_output import announce, announce_addresses, line_format, part_environment, say
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

    Updates the database tables first. Without API_TOKEN it makes a token in VAR_DIR/api-token. Ctrl-C stops everything
    in order. If one part ends by itself, the others are stopped too, and the exit status is 1.
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
        if not (no_web or settings.api_token):
            make_token(settings.var_dir)
            current_settings.cache_clear()
            settings = settings_for_command()
        migrate_catalogue(settings)
        build_services(settings).close()  # reports wrong settings here and not only in the workers' log
        on_started = partial(announce_addresses, settings, with_web=not no_web)
        format_line, environment = line_format(settings), part_environment(settings)
        with stop_when_ended(valkey) if valkey else nullcontext() as valkey_ended:
            ended_part = run_parts(commands, environment=environment, on_started=on_started, format_line=format_line)
    if valkey_ended is not None and valkey_ended.is_set():
        ended_part = "valkey"
    if ended_part:
        message = f"esteira: {ended_part} ended by itself, so everything was stopped; see the lines above"
        say(settings, message, level="error")
        exit_with(1)


@contextmanager
def _redis(settings: Settings) -> Iterator[subprocess.Popen[bytes] | None]:
    if settings.embedded:
        choice = choose_server(settings)
        for reason in choice.passed_over:
            announce(settings, "server", f"passed over {reason}")
        announce(settings, "server", f"{choice.program} (VALKEY_SERVER={settings.valkey_server})")
        with embedded_valkey(settings, choice.program) as process:
            yield process
        return
    timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    client = redis.Redis.from_url(settings.redis, **timeouts)
    client.ping()  # reports a wrong address here and not only in the workers' log
    client.close()
    yield None


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
